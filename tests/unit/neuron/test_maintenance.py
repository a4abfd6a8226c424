"""A node in maintenance loads nothing, keeps what it has, and remembers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeNode, a_node, a_request
from tests.unit.neuron.swap import evicting, outcome, settled
from tests.unit.neuron.test_api import LOAD, Desk, at_desk

from cortex.contract.error import CortexError
from cortex.contract.node import MaintenanceRequest
from cortex.neuron.maintenance import FILE, MaintenanceSwitch
from cortex.neuron.refusal import Maintenance, Stale
from cortex.neuron.state_dir import StateDir


def play(tmp_path: Path, scenario: Callable[[FakeNode], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_node(tmp_path) as node:
            await scenario(node)

    asyncio.run(run())


def maintain(node: FakeNode, on: bool, steward: int | None = None) -> bool:
    return node.supervisor.maintain(MaintenanceRequest(on=on, steward=steward)).maintenance


def test_nothing_new_is_loaded_and_what_is_loaded_serves_on(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.load()
        assert maintain(node, True)
        with pytest.raises(Maintenance, match="POST /maintenance"):
            await node.supervisor.load(a_request("other"))
        assert (await node.supervisor.load(a_request())).status == "loaded"
        assert node.booked() == ([], [MODEL])
        assert not maintain(node, False)
        await node.load("other")
        assert node.status("other") == "loaded"

    play(tmp_path, scenario)


def test_a_load_that_is_still_being_checked_is_not_begun(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        node.harness.prepare_gate.clear()
        loading = asyncio.create_task(node.supervisor.load(a_request()))
        await node.harness.is_preparing.wait()
        maintain(node, True)
        node.harness.prepare_gate.set()
        assert isinstance(await outcome(node, loading), Maintenance)
        assert (node.booked(), node.harness.launches) == (([], []), [])

    play(tmp_path, scenario)


def test_victims_stay_when_maintenance_begins_while_they_drain(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        await settled(node, "v")
        node.holders.deaf.add("v")
        loading = evicting(node, "v")
        await node.until("v", "draining")
        maintain(node, True)
        node.holders.deaf.clear()
        assert isinstance(await outcome(node, loading), Maintenance)
        await node.until("v", "loaded")
        assert node.booked() == ([], ["v"])

    play(tmp_path, scenario)


def test_it_is_news_once_and_a_former_steward_has_no_say(tmp_path: Path) -> None:
    async def scenario(node: FakeNode) -> None:
        before = node.events.event
        maintain(node, True, steward=4)
        maintain(node, True, steward=4)
        assert node.events.event == before + 1
        with pytest.raises(Stale):
            maintain(node, False, steward=3)
        assert node.supervisor.is_in_maintenance()

    play(tmp_path, scenario)


def test_it_outlives_the_neuron(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert not MaintenanceSwitch(state).is_on
    MaintenanceSwitch(state).put(True)
    assert MaintenanceSwitch(state).is_on
    MaintenanceSwitch(state).put(False)
    assert not MaintenanceSwitch(state).is_on
    state.close()


def test_what_cannot_be_written_down_is_refused_and_what_cannot_be_read_is_on(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (tmp_path / f".{FILE}.new").mkdir()
    switch = MaintenanceSwitch(state)
    with pytest.raises(CortexError, match="cannot be written"):
        switch.put(True)
    assert not switch.is_on
    (tmp_path / f".{FILE}.new").rmdir()
    state.write_file(FILE, b"{broken")
    assert MaintenanceSwitch(state).is_on
    state.close()


def test_it_is_told_by_health_leases_and_events(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        node = desk.api.node
        assert node is not None
        posts = iter(range(1, 9))

        async def told() -> list[bool]:
            post = {"gateway_id": "g", "seq": next(posts)}
            lease = (await desk.ask("POST", "/leases", post)).json
            health = (await desk.ask("GET", "/health")).json
            return [lease.get("maintenance", False), health["maintenance"], node.feed.whole().maintenance]

        assert await told() == [False] * 3
        for on in (True, False):
            before = node.feed.whole().event
            reply = await desk.ask("POST", "/maintenance", {"on": on})
            assert (reply.status, reply.json) == (200, {"maintenance": on})
            assert await told() == [on] * 3
            assert [change.maintenance for change in node.feed.after(before)] == [on]
        assert (await desk.ask("POST", "/maintenance", {})).error == (400, "malformed_request")

    at_desk(tmp_path, scenario)


def test_a_refused_load_says_so_with_the_picture_of_the_node(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.ask("POST", "/maintenance", {"on": True})
        reply = await desk.ask("POST", "/models/load", LOAD)
        assert reply.error == (409, "maintenance")
        assert reply.json["error"]["details"]["snapshot"]["health"]["maintenance"]

    at_desk(tmp_path, scenario)
