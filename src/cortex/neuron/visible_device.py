"""Shows an engine exactly the devices that it was given, by the variables that its GPU's driver goes by."""

from collections.abc import Sequence

from cortex.contract.node import Device


def device_environment(devices: Sequence[Device], ordinals: Sequence[int]) -> dict[str, str]:
    """Return the variables for devices in the order of the request; ``ordinals``: their places among their kind."""
    placed = tuple(zip(devices, ordinals, strict=True))
    cuda = [device.uuid or str(n) for device, n in placed if device.kind in ("cuda", "mig")]
    rocm = [str(n) for device, n in placed if device.kind == "rocm"]
    intel = [str(n) for device, n in placed if device.kind == "xpu"]
    variables = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # CUDA's own order is fastest first
        "CUDA_VISIBLE_DEVICES": ",".join(cuda),
        # An empty list means all of them to HIP, and -1 none.
        "HIP_VISIBLE_DEVICES": ",".join(rocm) if cuda or rocm or intel else "-1",
    }
    if intel:  # SYCL's runtime refuses an empty selector
        variables["ONEAPI_DEVICE_SELECTOR"] = "level_zero:" + ",".join(intel)
    return variables
