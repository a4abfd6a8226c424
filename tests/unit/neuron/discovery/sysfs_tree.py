"""Plants GPUs as the kernel shows them in sysfs: what the probes of AMD's and Intel's read there."""

from collections.abc import Mapping
from pathlib import Path

from tests.unit.neuron.file_tree import plant

MIB = 1 << 20


def plant_card(
    root: Path, number: int, vendor: str, address: str, files: Mapping[str, object], device_id: str = "0x744c"
) -> None:
    """Plant one card; ``files`` by path below its device, values as the kernel writes them."""
    card = f"sys/class/drm/card{number}"
    plant(root, {f"{card}/device/{name}": f"{value}\n" for name, value in files.items()})
    plant(
        root,
        {
            f"{card}/device/vendor": f"{vendor}\n",
            f"{card}/device/device": f"{device_id}\n",
            f"{card}/device/uevent": f"DRIVER=x\nPCI_CLASS=30000\nPCI_SLOT_NAME={address}\n",
            f"{card}/device/drm/renderD{128 + number}/dev": "226:128\n",
            # An output of the same card, which is none itself.
            f"sys/class/drm/card{number}-DP-1/device/vendor": f"{vendor}\n",
        },
    )


def plant_node(root: Path, number: int, gpu_id: int, **properties: int) -> None:
    """Plant a node of AMD's compute driver."""
    folder = f"sys/class/kfd/kfd/topology/nodes/{number}"
    lines = "".join(f"{name} {value}\n" for name, value in properties.items())
    plant(root, {f"{folder}/properties": lines, f"{folder}/gpu_id": f"{gpu_id}\n"})


def plant_client(root: Path, pid: int, descriptor: int, address: str, client: int | None, **memory: str) -> None:
    """Plant an open descriptor of a card: memory by region, as ``vram="12 KiB"``."""
    lines = [f"pos:\t0\ndrm-driver:\tamdgpu\ndrm-pdev:\t{address}\n"]
    lines += [f"drm-client-id:\t{client}\n"] if client is not None else []
    lines += [f"drm-memory-{region}:\t{value}\n" for region, value in memory.items()]
    plant(root, {f"proc/{pid}/fdinfo/{descriptor}": "".join(lines)})
