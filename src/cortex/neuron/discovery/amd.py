"""AMD's GPUs as the kernel's driver (``amdgpu``) shows them in sysfs; needs no ROCm.

An APU has a small part of the RAM to itself and may use much more of it (GTT): its memory is both, and is the host's.
One with few compute units draws desktops and is left out. Source: Documentation/gpu/amdgpu and the driver's KFD
topology, Linux 6; not tried on a machine of ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.discovery.interface import FoundDevice, Reading, Scan
from cortex.neuron.drm_card import MIB, Card, cards_of, memory_of_process, uses_of
from cortex.neuron.host_file import read_line, read_number, read_text
from cortex.neuron.host_memory import ram_mb

VENDOR = "0x1002"
APU_LIMIT_MB = 2048
"""An own memory that small is a carve-out of the RAM; cards that compute have more."""
MIN_APU_SIMDS = 16


class _Gpu(NamedTuple):
    """One found GPU. ``kfd_id`` names it to the compute driver, where that knows it."""

    card: Card
    found: FoundDevice
    kfd_id: str | None


class AmdProbe:
    """All GPUs of AMD that can compute, in the compute driver's order."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._gpus: tuple[_Gpu, ...] = ()

    def scan(self) -> Scan:
        nodes = self._compute_nodes()
        found = []
        for place, card in enumerate(cards_of(VENDOR, self._root)):
            minors = [path.name.removeprefix("renderD") for path in (card.device / "drm").glob("renderD*")]
            number, node = next((nodes[minor] for minor in minors if minor in nodes), (len(nodes) + place, {}))
            gpu = self._gpu(card, node)
            if gpu is not None:
                found.append((number, gpu))
        self._gpus = tuple(gpu for _, gpu in sorted(found, key=lambda pair: pair[0]))
        version = read_line(self._root / "sys/module/amdgpu/version") or None
        return Scan(devices=tuple(gpu.found for gpu in self._gpus), driver_version=version if self._gpus else None)

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        return tuple(self._reading(gpu, pids) for gpu in self._gpus)

    def _gpu(self, card: Card, node: Mapping[str, str]) -> _Gpu | None:
        total_mb, _ = self._memory(card, unified=False)
        if total_mb is None:
            return None
        unified = total_mb <= APU_LIMIT_MB and (_mb(card, "mem_info_gtt_total") or 0) > total_mb
        if unified:
            if int(node.get("simd_count", 0)) < MIN_APU_SIMDS:
                return None
            total_mb, _ = self._memory(card, unified=True)
        target = _target(int(node.get("gfx_target_version", 0)))
        serial = read_line(card.device / "unique_id")
        found = FoundDevice(
            name=read_line(card.device / "product_name") or f"AMD GPU {target or read_line(card.device / 'device')}",
            kind="rocm",
            vram_total_mb=total_mb or 0,
            compute_capability=target,
            uuid=f"GPU-{serial}" if serial.strip("0") else card.address,
            numa=card.numa,
            unified=unified,
        )
        return _Gpu(card, found, node.get("gpu_id"))

    def _reading(self, gpu: _Gpu, pids: frozenset[int]) -> Reading:
        card = gpu.card
        total_mb, free_mb = self._memory(card, unified=gpu.found.unified)
        busy, temp, power = (
            read_number(card.device / "gpu_busy_percent"),
            card.sensor("temp1_input"),
            card.sensor("power1_average", "power1_input"),
        )
        limit = card.sensor("power1_cap")
        return Reading(
            vram_used_mb=None if total_mb is None or free_mb is None else total_mb - free_mb,
            vram_free_mb=free_mb,
            utilization_pct=None if busy is None else float(busy),
            temp_c=None if temp is None else temp / 1000,
            power_w=None if power is None else power / 1_000_000,
            power_limit_w=None if limit is None else limit / 1_000_000,
            processes=uses_of(pids, lambda pid: self._held_bytes(pid, gpu), self._root),
            trouble=None if total_mb is not None else "the kernel does not show it any more",
        )

    def _memory(self, card: Card, *, unified: bool) -> tuple[int | None, int | None]:
        """Return total and free MiB."""
        total, used = _mb(card, "mem_info_vram_total"), _mb(card, "mem_info_vram_used")
        if total is None or not unified:
            return total, None if total is None or used is None else total - used
        shared, shared_used = _mb(card, "mem_info_gtt_total"), _mb(card, "mem_info_gtt_used")
        _, available = ram_mb(self._root)
        if shared is None:
            return total, None
        if used is None or shared_used is None or available is None:
            return total + shared, None
        return total + shared, total - used + min(shared - shared_used, available)

    def _held_bytes(self, pid: int, gpu: _Gpu) -> int | None:
        computing = read_number(self._root / f"sys/class/kfd/kfd/proc/{pid}/vram_{gpu.kfd_id}")
        return memory_of_process(pid, gpu.card, "vram", self._root) if computing is None else computing

    def _compute_nodes(self) -> dict[str, tuple[int, dict[str, str]]]:
        """Return number and properties of every node of the compute driver that is a GPU, by its render minor."""
        nodes = {}
        for folder in (self._root / "sys/class/kfd/kfd/topology/nodes").glob("[0-9]*"):
            lines = read_text(folder / "properties").splitlines()
            properties = dict(line.split(maxsplit=1) for line in lines if len(line.split()) == 2)
            if properties.get("simd_count", "0") != "0":
                node = {**properties, "gpu_id": read_line(folder / "gpu_id")}
                nodes[properties.get("drm_render_minor", "")] = (int(folder.name), node)
        return nodes


def _mb(card: Card, name: str) -> int | None:
    value = read_number(card.device / name)
    return None if value is None else value // MIB


def _target(version: int) -> str | None:
    """Return how compilers name what it runs: 90402 is gfx942, 90010 gfx90a."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}" if version else None
