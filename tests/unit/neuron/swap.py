"""Loads with victims as a test asks for them, on a node whose engines do what it says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.unit.neuron.fake_node import MODEL, FakeNode, a_node, a_request

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadAnswer, Victim
from cortex.neuron.harness.interface import Activity

LONG_AGO_S = 1000.0


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]], **more: object) -> None:
    async def run() -> None:
        async with a_node(tmp_path, **more) as node:  # type: ignore[arg-type]
            await scenario(node)

    asyncio.run(run())


async def settled(node: FakeNode, *model_ids: str, vram_mb: int = 600, **more: object) -> None:
    """Have models loaded, so long ago that nothing protects them any more."""
    for model_id in model_ids:
        await node.load(model_id, vram_mb=vram_mb, **more)
    node.clock.advance(LONG_AGO_S)


def evicting(node: FakeNode, *victims: str, model_id: str = MODEL, vram_mb: int = 900, **more: object) -> asyncio.Task:
    """Ask for a load with victims in the generations that they have."""
    generations = {report.id: report.generation for report in node.supervisor.reports()}
    evict = tuple(Victim(model_id=victim, generation=generations[victim]) for victim in victims)
    return asyncio.create_task(node.supervisor.load(a_request(model_id, vram_mb=vram_mb, evict=evict, **more)))


async def outcome(node: FakeNode, loading: asyncio.Task) -> LoadAnswer | CortexError:
    await node.let_pass(loading.done)
    error = loading.exception()
    assert error is None or isinstance(error, CortexError), error
    return loading.result() if error is None else error


def in_flight(node: FakeNode, count: int, engine: int = 0) -> None:
    """Have an engine say that it has so many requests."""
    node.harness.engines[engine].activity_now = Activity(in_flight=count, work=node.clock.now_s())


def history(node: FakeNode) -> list[tuple[str, str]]:
    """Note every change of a status from now on."""
    changes: list[tuple[str, str]] = []
    before = {report.id: report.status for report in node.supervisor.reports()}

    def note() -> None:
        for report in node.supervisor.reports():
            if before.get(report.id) != report.status:
                changes.append((report.id, report.status))
                before[report.id] = report.status

    node.events.watch(note)
    return changes
