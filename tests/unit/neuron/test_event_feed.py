"""Every change is told once and in order; whoever missed one gets it, or is told of the gap."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, a_node

from cortex.contract.instance import UnloadRequest
from cortex.neuron.event_feed import HEARTBEAT, EventFeed, Since
from cortex.neuron.harness.interface import ListedModel


class Told(NamedTuple):
    """One message of a stream."""

    kind: str
    id: str
    data: Any

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(model["id"], model["status"]) for model in self.data["models"]]


class Reader:
    """Reads one stream."""

    def __init__(self, feed: EventFeed, since: str | None = None, **how: Any) -> None:
        self._stream: AsyncIterator[bytes] = feed.stream(None if since is None else Since.parse(since), **how)

    async def raw(self) -> bytes:
        return await anext(self._stream)

    async def next(self) -> Told:
        lines = (await self.raw()).decode().splitlines()
        fields = dict(line.split(": ", 1) for line in lines if line)
        return Told(fields["event"], fields.get("id", ""), json.loads(fields["data"]))

    async def until(self, state: str) -> list[Told]:
        """Read until a model is in a state."""
        told = [await self.next()]
        while (MODEL, state) not in told[-1].states:
            told.append(await self.next())
        return told


def play(tmp_path: Path, scenario: Callable[[FakeNode, EventFeed], Awaitable[None]], *harnesses: FakeHarness) -> None:
    async def run() -> None:
        async with a_node(tmp_path, *harnesses) as node:
            await scenario(node, EventFeed(node.events, node.supervisor.reports, node.supervisor.health, kept=20))

    asyncio.run(run())


def test_a_stream_begins_with_everything_and_goes_on_with_every_change(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        reader = Reader(feed)
        first = await reader.next()
        assert (first.kind, first.id, first.data["models"]) == ("snapshot", f"start-1:{node.events.event}", [])
        assert [harness["name"] for harness in first.data["harnesses"]] == ["fake"]
        await node.load()
        told = await reader.until("loaded")
        assert {change.kind for change in told} == {"change"}
        assert [state for change in told for _, state in change.states] == ["loading", "loading", "loaded"]
        numbers = [change.data["event"] for change in told]
        assert numbers == list(range(first.data["event"] + 1, first.data["event"] + 1 + len(told)))

    play(tmp_path, scenario)


def test_a_change_is_told_at_once(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        reader = Reader(feed)
        await reader.next()
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        node.events.bump()
        assert (await waiting).data["event"] == node.events.event

    play(tmp_path, scenario)


@pytest.mark.parametrize("with_start_id", [True, False])
def test_a_reader_that_comes_back_gets_what_it_missed(tmp_path: Path, with_start_id: bool) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        seen = (await Reader(feed).next()).data["event"]
        await node.load()
        reader = Reader(feed, f"start-1:{seen}" if with_start_id else str(seen))
        told = await reader.until("loaded")
        assert (told[0].kind, told[0].data["event"]) == ("change", seen + 1)

    play(tmp_path, scenario)


@pytest.mark.parametrize("since", ["other:1", "start-1:999", "999", "0"])
def test_a_reader_that_missed_too_much_is_told_so_and_begins_again(tmp_path: Path, since: str) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        await node.load()
        for _ in range(30):
            node.events.bump()
        reader = Reader(feed, since)
        gap, snapshot = await reader.next(), await reader.next()
        assert (gap.kind, gap.data) == ("gap", {"start_id": "start-1", "event": node.events.event, "since": since})
        assert (snapshot.kind, snapshot.states) == ("snapshot", [(MODEL, "loaded")])
        node.events.bump()
        assert (await reader.next()).data["event"] == snapshot.data["event"] + 1

    play(tmp_path, scenario)


def test_a_slow_reader_is_told_of_its_gap(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        reader = Reader(feed)
        seen = (await reader.next()).data["event"]
        for _ in range(21):
            node.events.bump()
        gap, snapshot = await reader.next(), await reader.next()
        assert (gap.kind, gap.data["since"], snapshot.kind) == ("gap", f"start-1:{seen}", "snapshot")

    play(tmp_path, scenario)


def test_models_that_are_gone_and_harnesses_that_changed_are_named(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        await node.supervisor.look()
        reader = Reader(feed)
        await reader.next()
        theirs.models = ()
        await node.supervisor.look()
        change = await reader.next()
        assert (change.data["gone"], change.data["harnesses"]) == (["m"], [])
        theirs.models = None
        await node.supervisor.look()
        change = await reader.next()
        assert [(harness["name"], harness["healthy"]) for harness in change.data["harnesses"]] == [("fake", False)]

    theirs = FakeHarness(model="foreign")
    theirs.models = (ListedModel(id="m", url="http://127.0.0.1:1", engine_model="m"),)
    play(tmp_path, scenario, theirs)


def test_requests_that_come_and_go_are_no_changes(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        await node.load()
        await node.let_pass(lambda: not node.sampler.is_at_work())
        reader = Reader(feed)
        await reader.next()
        node.instances[MODEL].in_flight = 3
        node.events.bump()
        assert (await reader.next()).data["models"] == []

    play(tmp_path, scenario)


def test_a_quiet_stream_shows_that_it_is_alive(tmp_path: Path) -> None:
    async def scenario(_: FakeNode, feed: EventFeed) -> None:
        reader = Reader(feed, heartbeat_s=0)
        await reader.next()
        assert [await reader.raw(), await reader.raw()] == [HEARTBEAT, HEARTBEAT]

    play(tmp_path, scenario)


def test_streams_end_with_the_neuron(tmp_path: Path) -> None:
    async def scenario(_: FakeNode, feed: EventFeed) -> None:
        reader = Reader(feed)
        await reader.next()
        waiting = asyncio.ensure_future(reader.raw())
        await asyncio.sleep(0)
        feed.close()
        with pytest.raises(StopAsyncIteration):
            await waiting

    play(tmp_path, scenario)


def test_the_memory_of_an_unload_is_told_with_its_cycle(tmp_path: Path) -> None:
    async def scenario(node: FakeNode, feed: EventFeed) -> None:
        await node.load()
        reader = Reader(feed)
        await reader.next()
        unloading = asyncio.create_task(node.supervisor.unload(UnloadRequest(model_id=MODEL)))
        await node.let_pass(unloading.done)
        await node.let_pass(lambda: not node.supervisor._lives)
        told = await reader.until("unloaded")
        while not told[-1].data["harnesses"]:
            told.append(await reader.next())
        assert told[-1].data["harnesses"][0]["cycles"] == 1

    play(tmp_path, scenario)


@pytest.mark.parametrize("text", ["", "x", ":1", "a:", "a:-1", "²", "9" * 19])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of a change"):
        Since.parse(text)


def test_a_start_id_may_have_any_sign() -> None:
    assert Since.parse("a:b:7") == Since("a:b", 7)
