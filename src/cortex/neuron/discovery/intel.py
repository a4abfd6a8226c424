"""Intel's GPUs that have memory of their own, as the kernel's drivers (``i915``, ``xe``) show them in sysfs.

Those within a CPU are none: they are slower than it, or about as fast, and use its RAM. Names and UUIDs come from
``xpu-smi`` where it is installed. Source: the drivers' sysfs documentation, Linux 6; not tried on a machine of ours.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.drm_card import MIB, Card, cards_of, memory_of_process, uses_of
from cortex.neuron.host_file import read_line, read_number
from cortex.neuron.process.program import Program

log = logging.getLogger(__name__)

VENDOR = "0x8086"
REGIONS = "(?:local|vram)"
"""What i915 and xe call their own memory."""


class IntelProbe:
    """All cards of Intel, by PCI address."""

    def __init__(self, root: Path, command: str = "xpu-smi") -> None:
        self._root = root
        self._command = command
        self._program = Program(command)
        self._cards: tuple[Card, ...] = ()

    def scan(self) -> Scan:
        self._cards = tuple(card for card in cards_of(VENDOR, self._root) if _total_bytes(card))
        told = self._told() if self._cards else {}
        return Scan(devices=tuple(_device(card, told.get(card.address, {})) for card in self._cards))

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        return tuple(self._reading(card, pids) for card in self._cards)

    def _reading(self, card: Card, pids: frozenset[int]) -> Reading:
        total, free = _total_bytes(card), read_number(card.folder / "lmem_avail_bytes")
        temp = card.sensor("temp2_input", "temp1_input")  # xe has its package second
        return Reading(
            vram_used_mb=None if free is None else (total - free) // MIB,
            vram_free_mb=None if free is None else free // MIB,
            temp_c=None if temp is None else temp / 1000,
            processes=uses_of(pids, lambda pid: memory_of_process(pid, card, REGIONS, self._root), self._root),
            trouble=None if total else "the kernel does not show it any more",
        )

    def _told(self) -> Mapping[str, Mapping[str, object]]:
        """Return what ``xpu-smi`` tells of each GPU, by PCI address; nothing where it is not, or fails."""
        if shutil.which(self._command) is None:
            return {}
        try:
            said = self._program.run("discovery", "-j")
            devices = json.loads(said.out)["device_list"] if said.code == 0 else []
            return {str(device["pci_bdf_address"]): device for device in devices}
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s does not tell the GPUs: %s", self._command, error)
            return {}


def _device(card: Card, told: Mapping[str, object]) -> FoundDevice:
    name, uuid = told.get("device_name"), told.get("uuid")
    return FoundDevice(
        name=str(name) if name else f"Intel GPU {read_line(card.device / 'device')}",
        kind="xpu",
        vram_total_mb=_total_bytes(card) // MIB,
        uuid=str(uuid) if uuid else card.address,
        numa=card.numa,
    )


def _total_bytes(card: Card) -> int:
    """Return a card's own memory: i915 tells one sum, xe one of each tile; 0 where there is none."""
    tiles = [read_number(tile / "physical_vram_size_bytes") for tile in sorted(card.device.glob("tile*"))]
    return read_number(card.folder / "lmem_total_bytes") or sum(size for size in tiles if size)
