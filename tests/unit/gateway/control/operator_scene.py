"""The operators' desk over a real dispatcher, with neurons that note what they are asked; for the tests of both."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.fleet.builder import Fleet, a_profile

from cortex.contract.admin import LoadCall, LoadOutcome
from cortex.contract.instance import PinAnswer, PinRequest, UnloadAnswer, UnloadRequest
from cortex.contract.node import MaintenanceAnswer, MaintenanceRequest
from cortex.fleet.event import Event
from cortex.gateway.control.admin_desk import AdminDesk


class Neuron:
    """Answers as a neuron's client does, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        """Answers to unloads wait for it."""
        self.gate.set()
        self.is_asked = asyncio.Event()
        self.is_left = asyncio.Event()
        """Somebody has given up an unload."""

    def _take(self, request: object) -> None:
        self.asked.append(request)
        if self.error is not None:
            raise self.error

    async def unload(self, request: UnloadRequest) -> UnloadAnswer:
        self._take(request)
        self.is_asked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_left.set()
            raise
        return UnloadAnswer(status="unloaded" if request.wait else "draining")

    async def pin(self, request: PinRequest) -> PinAnswer:
        self._take(request)
        return PinAnswer(pinned=bool(request.pinned))

    async def maintain(self, request: MaintenanceRequest) -> MaintenanceAnswer:
        self._take(request)
        return MaintenanceAnswer(maintenance=request.on)


class Scene:
    def __init__(self, nodes: tuple[str, ...] = ("a",)) -> None:
        profiles = [a_profile("org/m", aliases=("short",)), a_profile("org/huge", vram_mb=1_000_000)]
        self.fleet = Fleet(list(nodes), profiles)
        self.told: list[Event] = []
        self.neurons = {node: Neuron() for node in nodes}
        self.desk = AdminDesk(
            self.fleet.dispatcher,
            self.tell,
            self.neurons,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            load_timeout_s=60.0,
            sleep=self.sleep,
        )
        self.slept = 0

    def tell(self, event: Event) -> None:
        self.told.append(event)
        self.fleet.tell(event)

    async def sleep(self, _: float) -> None:
        self.slept += 1
        if self.slept == 3:
            self.fleet.sample("a")

    def now_s(self) -> float:
        return self.fleet.now_s

    def kinds(self) -> list[str]:
        return [decision.kind for decision in self.desk.log.since(0).decisions]

    async def waiting(self, call: LoadCall) -> "asyncio.Task[LoadOutcome]":
        """Begin to wait for a load."""
        task = asyncio.create_task(self.desk.load(call))
        await asyncio.sleep(0)
        assert not task.done()
        return task


def play(scene: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        it = Scene(**options)
        await scene(it)
        assert len(it.desk._wishes) == 0, "somebody still listens"

    asyncio.run(run())
