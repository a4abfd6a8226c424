"""The ComfyUI of one entry, as its harness knows it: does it answer, which process is it, where does it compute.

It runs by itself or below a systemd unit, may be started after the neuron, and may be restarted at any time.
"""

import asyncio

from cortex.contract.error import UpstreamError
from cortex.contract.node import Device, DeviceKind
from cortex.neuron.harness.interface import Site
from cortex.neuron.images.answer import Stats
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.device import KINDS, device_of
from cortex.neuron.local_server import listener_at
from cortex.neuron.process.child import identity, may_run
from cortex.neuron.process.systemd import SystemdUnit
from cortex.neuron.server_unit import ServerUnit
from cortex.neuron.settings import HarnessEntry

UP_LIMIT_S = 600.0
"""How long it may take from its start until it answers: it reads the nodes of its users before."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


class ComfyServer:
    """One ComfyUI. What was last seen of it stays until it answers again."""

    def __init__(self, entry: HarnessEntry, url: str, site: Site) -> None:
        self.comfy = Comfy(url, site.http)
        self.unit: ServerUnit | None = None
        """What starts it, where the entry says."""
        if entry.systemd_unit is not None:
            self.unit = ServerUnit(SystemdUnit(entry.systemd_unit, site.env), url, self._is_up, UP_LIMIT_S)
        self.stats: Stats | None = None
        """Its newest answer."""
        self.device: Device | None = None
        """Where it computes; None while that is unknown, or is no device of this node."""
        self._told_visible = entry.env.get(VISIBLE)
        self._visible = self._told_visible
        self._site = site
        self._process = (0, 0)
        self._has_looked = False

    @property
    def pid(self) -> int:
        """Its process; 0 while that is unknown, or hidden."""
        return self._process[0]

    @property
    def kinds(self) -> frozenset[DeviceKind]:
        """The kinds of devices that it may use."""
        known = KINDS.get(self.stats.memory.type) if self.stats else None
        return known or self._site.gpu_kinds or frozenset({"cpu"})

    async def look(self) -> Stats | None:
        """Ask it how it is; None when it does not answer."""
        try:
            stats = await self.comfy.stats()
        except UpstreamError:
            self._has_looked = False  # it may be another process when it comes back
            return None
        if not self._has_looked or not may_run(self._process):
            self._has_looked = True
            await self._look_at_process()
        self.stats = stats
        self.device = device_of(stats, self._visible, self._site.devices)
        return stats

    async def _is_up(self) -> bool:
        return await self.look() is not None

    async def _look_at_process(self) -> None:
        state = await self.unit.unit.state() if self.unit else None
        self._visible = self._told_visible or (state.environment.get(VISIBLE) if state else None)
        self._process = identity(state.main_pid) if state else (0, 0)
        if not self.pid:
            self._process = await asyncio.to_thread(listener_at, self.comfy.url)
