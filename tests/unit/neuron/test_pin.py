"""What operators have pinned, over loads and restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, a_node, a_request

from cortex.contract.error import CortexError, ModelNotFound
from cortex.contract.instance import PinRequest, UnloadRequest, Victim
from cortex.neuron.harness.interface import ListedModel
from cortex.neuron.instance import Instance
from cortex.neuron.pin import FILE, PinBook
from cortex.neuron.refusal import NotManaged, Stale
from cortex.neuron.state_dir import StateDir


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]], *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses) as node:
            await scenario(node)

    asyncio.run(run())


def pin(node: FakeNode, pinned: bool | None, model_id: str = MODEL) -> bool:
    return node.supervisor.pin(PinRequest(model_id=model_id, pinned=pinned)).pinned


def is_pinned(node: FakeNode, model_id: str = MODEL) -> bool:
    return next(report.pinned for report in node.supervisor.reports() if report.id == model_id)


def pins(state: StateDir) -> dict[str, bool | None]:
    """Return the pins that a neuron finds when it starts."""
    instances: dict[str, Instance] = {}
    PinBook(state, instances)
    return {key: instance.pin for key, instance in instances.items()}


def test_pins_are_kept_by_the_next_book_and_forgotten_when_taken_back(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    book = PinBook(state, {})
    for model_id, pinned in (("a", True), ("b", False), ("c", True), ("c", None)):
        book.put(Instance(model_id), pinned)
    assert pins(state) == {"a": True, "b": False}
    state.close()


def test_a_file_that_cannot_be_read_pins_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_file(FILE, b"{broken")
    assert pins(state) == {}
    state.close()


def test_a_pin_that_cannot_be_written_down_is_refused_and_not_set(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (tmp_path / f".{FILE}.new").mkdir()
    instance = Instance("a")
    with pytest.raises(CortexError, match="state directory cannot be written"):
        PinBook(state, {}).put(instance, True)
    assert instance.pin is None
    state.close()


def test_an_operators_word_is_stronger_than_the_loads(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(pinned=True)
        before = node.events.event
        assert not pin(node, False)
        assert not is_pinned(node)
        assert node.events.event > before
        assert pin(node, None)
        assert is_pinned(node)

    play(tmp_path, scenario)


def test_a_pinned_model_is_not_unloaded_for_being_idle(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load(idle_unload_s=10)
        pin(node, True)
        node.clock.advance(1000)
        await node.supervisor.look()
        assert node.status() == "loaded"

    play(tmp_path, scenario)


def test_a_pinned_model_is_not_evicted(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load("v", vram_mb=600)
        pin(node, True, "v")
        node.clock.advance(1000)
        with pytest.raises(Stale, match="v is pinned"):
            await node.supervisor.load(a_request(vram_mb=600, evict=(Victim(model_id="v", generation=1),)))
        pin(node, None, "v")
        await node.load(vram_mb=600, evict=(Victim(model_id="v", generation=1),))
        assert (node.status(), node.status("v")) == ("loaded", "unloaded")

    play(tmp_path, scenario)


def test_a_pin_outlives_the_unload_and_the_neuron(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        pin(node, True)
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        assert is_pinned(node)

    async def next_scenario(node: FakeNode) -> None:
        (report,) = node.supervisor.reports()
        assert (report.id, report.status, report.pinned) == (MODEL, "unloaded", True)
        await node.load()
        assert is_pinned(node)

    play(tmp_path, scenario)
    play(tmp_path, next_scenario)


def test_what_is_not_known_or_not_ours_is_not_pinned(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.models = (ListedModel(id="theirs", url="http://127.0.0.1:1", engine_model="theirs"),)
        await node.supervisor.look()
        with pytest.raises(ModelNotFound):
            pin(node, True, "what")
        with pytest.raises(NotManaged):
            pin(node, True, "theirs")
        assert node.state.read_file(FILE) is None

    play(tmp_path, scenario, FakeHarness(model="foreign"))
