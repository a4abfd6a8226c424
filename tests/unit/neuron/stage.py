"""A stage for one life of an instance, with an engine that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.unit.neuron.fake_node import MODEL, FakeEngine, FakeHarness, FakeNode, a_node, a_request

from cortex.neuron.harness.interface import Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.life import Life


class Stage:
    """A node, one life on it with 100 MiB reserved, and what was told of unloads."""

    def __init__(self, node: FakeNode, engine: FakeEngine | None) -> None:
        self.node = node
        self.harness = node.harness
        self.engine = engine
        self.unloads: list[tuple[str, bool]] = []
        self.instance = Instance(MODEL)
        node.instances[MODEL] = self.instance
        self.launch = Launch(
            request=a_request(),
            prepared=Prepared(need_mb=100, is_estimate=False, parallel=4),
            generation=node.state.next_generation(),
            nonce="nonce",
            devices=node.inventory.devices[:1],
            ordinals=(0,),
            log=node.state.log_path(MODEL, 1),
        )
        support = node.support._replace(unloaded=lambda *what: self.unloads.append(what))
        self.life = Life(self.instance, node.harness, self.launch, support)
        self.statuses: list[str] = []
        self.task: asyncio.Task[None]

    def begin(self, found: FakeEngine | None = None) -> None:
        if found is None:
            self.node.admission.admit(MODEL, 100, (0,))
        else:
            self.node.admission.book.adopt(MODEL, 100, (0,))
        self.instance.begin(self.harness, self.launch)
        self.task = asyncio.create_task(self.life.run(found))

    async def loaded(self) -> FakeEngine:
        """Go on until the engine serves."""
        assert self.engine is not None
        self.engine.serves.set()
        await self.until("loaded")
        return self.engine

    async def until(self, status: str) -> None:
        while self.instance.status != status:
            assert not self.task.done(), self.instance.status
            await asyncio.sleep(0)

    async def over(self) -> None:
        """Let time pass until the life has ended."""
        await self.node.let_pass(self.task.done)
        await self.task

    def is_clean(self) -> bool:
        """Tell whether nothing is left: no memory, no record, no engine."""
        return (
            self.node.booked() == ([], [])
            and self.node.state.records() == ()
            and self.instance.engine is None
            and self.life.ended.is_set()
        )


Scenario = Callable[[Stage], Awaitable[None]]


def play(tmp_path: Path, scenario: Scenario, *, with_engine: bool = True, **more: object) -> None:
    async def run() -> None:
        async with a_stage(tmp_path, with_engine=with_engine, **more) as stage:
            await scenario(stage)

    asyncio.run(run())


@asynccontextmanager
async def a_stage(tmp_path: Path, *, with_engine: bool = True, **more: object) -> AsyncIterator[Stage]:
    harness = FakeHarness(reports_in_flight=bool(more.pop("reports_in_flight", True)))
    async with a_node(tmp_path, harness, **more) as node:
        engine = FakeEngine() if with_engine else None
        if engine is not None:
            harness.starts.append(engine)
        stage = Stage(node, engine)
        yield stage
        if not stage.task.done():
            stage.task.cancel()
            await asyncio.wait((stage.task,))
