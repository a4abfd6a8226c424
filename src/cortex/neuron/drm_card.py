"""GPUs as the kernel's DRM subsystem shows them, whoever made them: their files, sensors, and the memory of processes.

Reads below a root that tests can set. Source: Documentation/gpu/drm-usage-stats.rst and Documentation/hwmon of Linux 6.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.discovery.interface import ProcessUse
from cortex.neuron.host_file import read_line, read_number, read_text
from cortex.neuron.process.family import family_of

MIB = 1 << 20
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}


class Card(NamedTuple):
    """One GPU: its own folder below ``/sys/class/drm``, and its PCI address."""

    folder: Path
    address: str

    @property
    def device(self) -> Path:
        """The folder of its device, where most of its files are."""
        return self.folder / "device"

    @property
    def numa(self) -> int | None:
        """The node of the host's memory that it is nearest to."""
        node = read_number(self.device / "numa_node")
        return node if node is not None and node >= 0 else None

    def sensor(self, *names: str) -> int | None:
        """Return the first of these hwmon files that holds a number."""
        for folder in sorted((self.device / "hwmon").glob("hwmon*")):
            for name in names:
                value = read_number(folder / name)
                if value is not None:
                    return value
        return None


def cards_of(vendor: str, root: Path) -> Iterator[Card]:
    """Yield the GPUs of a maker, by PCI address."""
    cards = [
        Card(folder, found[1])
        for folder in (root / "sys/class/drm").glob("card*")
        if re.fullmatch(r"card\d+", folder.name)  # the others are its outputs
        and read_line(folder / "device/vendor") == vendor
        and (found := re.search(r"^PCI_SLOT_NAME=(\S+)$", read_text(folder / "device/uevent"), re.MULTILINE))
    ]
    yield from sorted(cards, key=lambda card: card.address)


def uses_of(pids: Iterable[int], held_bytes: Callable[[int], int | None], root: Path) -> dict[int, ProcessUse] | None:
    """Return what engines use with all their processes; None when one of them hides it (``held_bytes`` says None)."""
    uses = {}
    for pid in pids:
        held = [held_bytes(member) for member in family_of(pid, root)]
        if None in held:
            return None
        total_mb = -(-sum(part or 0 for part in held) // MIB)
        if total_mb:
            uses[pid] = ProcessUse(total_mb, total_mb)
    return uses


def memory_of_process(pid: int, card: Card, region: str, root: Path) -> int | None:
    """Return the bytes that a process has in a card's memory; None when it hides that.

    ``region`` begins the names that a driver gives that memory: ``vram``, ``local``. A process may have a card open
    several times, and a descriptor several times over: each client of the driver counts once.
    """
    try:
        entries = sorted((root / f"proc/{pid}/fdinfo").iterdir())
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    clients: dict[str, int] = {}
    for number, entry in enumerate(entries):
        fields = dict(re.findall(r"^(drm-[\w-]+):\s*(.+)$", read_text(entry), re.MULTILINE))
        if fields.get("drm-pdev") == card.address:
            held = max(_region_bytes(fields, kind, region) for kind in ("drm-memory-", "drm-total-"))
            clients[fields.get("drm-client-id", f"entry {number}")] = held
    return sum(clients.values())


def _region_bytes(fields: dict[str, str], kind: str, region: str) -> int:
    """Return the sum of one kind of field, ``drm-total-vram0: 12 KiB``, over the regions of that name."""
    total = 0
    for name, value in fields.items():
        found = re.fullmatch(r"(\d+)(?: (KiB|MiB))?", value.strip())
        if found and re.fullmatch(rf"{kind}{region}\d*", name):
            total += int(found[1]) * _UNITS[found[2] or ""]
    return total
