"""An engine sees the devices that it was given, in their order, and no other."""

import pytest

from cortex.contract.node import Device
from cortex.neuron.visible_device import device_environment

GPU = Device(index=0, name="gpu", vram_total_mb=24000, uuid="GPU-a")
GPU_B = Device(index=1, name="gpu", vram_total_mb=24000, uuid="GPU-b")
NAMELESS = Device(index=3, name="x", vram_total_mb=1)
SLICE = Device(index=0, name="x", vram_total_mb=1, kind="mig", uuid="MIG-1")
AMD = Device(index=1, name="x", vram_total_mb=1, kind="rocm", uuid="r")
INTEL = Device(index=0, name="x", vram_total_mb=1, kind="xpu")
CPU = Device(index=2, name="cpu", vram_total_mb=64000, kind="cpu")


@pytest.mark.parametrize(
    ("devices", "ordinals", "cuda", "hip", "oneapi"),
    [
        ((GPU_B, GPU), (1, 0), "GPU-b,GPU-a", "", None),
        ((NAMELESS,), (3,), "3", "", None),
        ((SLICE,), (0,), "MIG-1", "", None),
        ((AMD,), (0,), "", "0", None),
        ((AMD, AMD), (2, 1), "", "2,1", None),
        ((INTEL, INTEL), (1, 0), "", "", "level_zero:1,0"),
        ((CPU,), (0,), "", "-1", None),
        ((), (), "", "-1", None),
    ],
    ids=["NVIDIA's", "without UUID", "a part of a GPU", "AMD's", "two of AMD's", "Intel's", "the CPU", "none"],
)
def test_an_engine_sees_exactly_its_devices_in_the_order_of_the_request(
    devices: tuple[Device, ...], ordinals: tuple[int, ...], cuda: str, hip: str, oneapi: str | None
) -> None:
    found = device_environment(devices, ordinals)
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert (found["CUDA_VISIBLE_DEVICES"], found["HIP_VISIBLE_DEVICES"]) == (cuda, hip)
    assert found.get("ONEAPI_DEVICE_SELECTOR") == oneapi
