"""The stream of events: what readers get, at their own pace, and what is left of them when they leave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_node, a_report, a_view

from cortex.contract.admin import NodeEntry
from cortex.contract.error import CapacityError
from cortex.fleet.view import NodeView
from cortex.gateway.admin import feed as module
from cortex.gateway.admin.entry import node_entry
from cortex.gateway.admin.feed import FleetFeed
from cortex.kit.event_stream import HEARTBEAT, Since
from cortex.kit.task import TaskOwner


class Scene:
    def __init__(self, **options: Any) -> None:
        self.fleet = FakeFleet()
        self.tasks = TaskOwner()
        clock = self.fleet.clock
        self.feed = FleetFeed(self.fleet, clock, self.tasks, start_id="s", sleep=clock.sleep, **options)

    def note(self, reason: str = "r") -> None:
        self.fleet.log.note("placement", reason, now_s=0.0, model="m", node="n")

    def reader(self, since: str | None = None, heartbeat_s: float = 60.0) -> AsyncIterator[bytes]:
        return self.feed.stream(Since.parse(since) if since else None, heartbeat_s)

    async def pass_s(self, seconds: float) -> None:
        await self.fleet.clock.until_asleep()
        self.fleet.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)


def play(scene: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        it = Scene(**options)
        await scene(it)
        it.feed.close()
        await it.tasks.stop()
        assert it.feed.readers == 0, "a reader is still counted"

    asyncio.run(run())


def told(piece: bytes) -> tuple[str, str, Any]:
    """Kind, id and body of one message."""
    lines = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
    return lines["event"], lines.get("id", ""), msgspec.json.decode(lines["data"])


def test_a_reader_begins_with_everything_and_then_hears_decisions_at_once() -> None:
    async def scene(it: Scene) -> None:
        it.note("before")
        reader = it.reader()
        kind, place, body = told(await anext(reader))
        assert (kind, place) == ("snapshot", "s:1")
        assert [node["name"] for node in body["nodes"]] == ["beast", "benjy"]
        assert sorted(entry["model"] for entry in body["instances"]) == ["old", "org/big"]
        it.note("after")
        kind, place, body = told(await anext(reader))
        assert (kind, place, body["reason"], body["number"]) == ("decision", "s:2", "after", 2)
        await reader.aclose()

    play(scene)


def test_a_change_of_the_fleet_is_told_and_nothing_else() -> None:
    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        before = it.fleet.now
        busier = a_node("beast", (32_000, 32_000), free_mb=(1, 2), models=[a_report("org/big", generation=3, idle_s=9)])
        health = busier.health
        assert health is not None
        warmer = tuple(
            msgspec.structs.replace(reading, utilization_pct=9.0, temp_c=61.0, power_w=80.5)
            for reading in health.devices
        )
        busier = msgspec.structs.replace(busier, health=msgspec.structs.replace(health, devices=warmer))
        it.fleet.now = a_view([busier, before.nodes[1]])
        await it.pass_s(1.0)
        it.fleet.now = a_view([a_node("beast", (32_000, 32_000), is_healthy=False, why="gone"), before.nodes[1]])
        await it.pass_s(1.0)
        kind, _, body = told(await anext(reader))
        assert (kind, [node["why"] for node in body["nodes"]]) == ("change", ["gone"])
        await reader.aclose()

    play(scene)


def test_a_node_of_which_nothing_was_heard_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def noted(node: NodeView, in_flight: int) -> NodeEntry:
        looked_at.append(node.name)
        return node_entry(node, in_flight)

    monkeypatch.setattr(module, "node_entry", noted)

    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        looked_at.clear()
        await it.pass_s(1.0)
        it.fleet.now = a_view([it.fleet.now.nodes[0], a_node("benjy")])
        await it.pass_s(1.0)
        it.fleet.now = a_view(it.fleet.now.nodes, [a_model(replicas=())])
        await it.pass_s(1.0)
        assert looked_at == ["benjy", "beast"]
        await reader.aclose()

    play(scene)


def test_an_instance_that_is_gone_is_told_by_its_name() -> None:
    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        it.fleet.now = a_view([it.fleet.now.nodes[0], a_node("benjy", is_healthy=False, why="connection refused")])
        await it.pass_s(1.0)
        assert told(await anext(reader))[2]["gone"] == [["old", "benjy"]]
        await reader.aclose()

    play(scene)


def test_nobody_looks_at_the_fleet_while_nobody_listens() -> None:
    async def scene(it: Scene) -> None:
        it.note()
        assert it.fleet.clock.sleepers() == 0
        first, second = it.reader(), it.reader()
        await anext(first)
        await anext(second)
        await it.fleet.clock.until_asleep()
        assert it.fleet.clock.sleepers() == 1
        await first.aclose()
        await second.aclose()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(it.tasks) == 0

    play(scene)


def test_one_who_comes_while_the_last_one_leaves_is_told_of_changes() -> None:
    async def scene(it: Scene) -> None:
        first = it.reader()
        await anext(first)
        await it.fleet.clock.until_asleep()
        leaving = asyncio.create_task(first.aclose())  # type: ignore[attr-defined]
        second = it.reader()
        await anext(second)
        await leaving
        third = it.reader()
        await anext(third)
        await second.aclose()
        it.fleet.now = a_view([a_node("beast", is_healthy=False, why="gone")])
        await it.pass_s(1.0)
        assert told(await anext(third))[0] == "change"
        await third.aclose()

    play(scene)


def test_the_fleet_is_looked_at_again_right_after_the_last_reader_has_left() -> None:
    async def scene(it: Scene) -> None:
        first = it.reader()
        await anext(first)
        await it.fleet.clock.until_asleep()
        await first.aclose()
        second = it.reader()
        await anext(second)
        it.fleet.now = a_view([a_node("beast", is_healthy=False, why="gone")])
        await it.pass_s(1.0)
        assert told(await anext(second))[0] == "change"
        await second.aclose()

    play(scene)


@pytest.mark.parametrize("since", ["s:1", "1"])
def test_who_comes_back_gets_what_it_missed_and_no_snapshot(since: str) -> None:
    async def scene(it: Scene) -> None:
        for number in range(3):
            it.note(f"r{number}")
        reader = it.reader(since)
        assert [told(await anext(reader))[2]["reason"] for _ in range(2)] == ["r1", "r2"]
        await reader.aclose()

    play(scene)


@pytest.mark.parametrize("since", ["other:1", "s:1", "s:99"], ids=["another life", "too old", "never was"])
def test_who_cannot_be_given_what_it_missed_is_told_so(since: str) -> None:
    async def scene(it: Scene) -> None:
        for _ in range(10):
            it.note()
        reader = it.reader(since)
        assert told(await anext(reader)) == ("gap", "", {"since": since})
        assert told(await anext(reader))[:2] == ("snapshot", "s:10")
        await reader.aclose()

    play(scene, kept=5)


def test_a_slow_reader_is_told_of_the_gap_and_holds_up_nobody() -> None:
    async def scene(it: Scene) -> None:
        slow, quick = it.reader(), it.reader()
        await anext(slow)
        await anext(quick)
        for number in range(20):
            it.note(f"r{number}")
            assert told(await anext(quick))[2]["reason"] == f"r{number}"
        assert told(await anext(slow)) == ("gap", "", {"since": "s:0"})
        assert told(await anext(slow))[:2] == ("snapshot", "s:20")
        await slow.aclose()
        await quick.aclose()

    play(scene, kept=5)


def test_a_silent_fleet_sends_comments() -> None:
    async def scene(it: Scene) -> None:
        reader = it.reader(heartbeat_s=0.0)
        await anext(reader)
        assert await anext(reader) == HEARTBEAT
        await reader.aclose()

    play(scene)


def test_decisions_that_are_only_counted_are_not_told() -> None:
    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        for _ in range(3):
            it.fleet.log.note("refusal", "full", now_s=0.0, model="m", code="x")
        it.note("next")
        assert [told(await anext(reader))[2]["kind"] for _ in range(2)] == ["refusal", "placement"]
        await reader.aclose()

    play(scene)


def test_a_gateway_that_stops_ends_every_stream() -> None:
    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        waiting = asyncio.create_task(anext(reader, b"the end"))
        await asyncio.sleep(0)
        it.feed.close()
        assert await waiting == b"the end"

    play(scene)


def test_there_is_a_bound_on_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READERS", 1)

    async def scene(it: Scene) -> None:
        reader = it.reader()
        await anext(reader)
        with pytest.raises(CapacityError):
            it.reader()
        await reader.aclose()
        again = it.reader()
        await anext(again)
        await again.aclose()

    play(scene)
