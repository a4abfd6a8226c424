"""Leases by HTTP: what is answered to a gateway, to one that errs, and to one that asks for an endpoint."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.neuron.fake_node import MODEL, FakeHarness, a_node
from tests.unit.neuron.test_api import Desk, at_desk

from cortex.neuron.harness.interface import ListedModel

LEASE = {"model_id": MODEL, "generation": 1, "in_flight": 0}
POST = {"gateway_id": "a", "seq": 1, "start_id": "start-1", "seen_event": 1, "leases": [LEASE]}


def test_a_post_is_answered_with_everything_at_first_and_little_afterwards(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        first = (await desk.ask("POST", "/leases", POST)).json
        assert [(model["id"], model["status"]) for model in first["models"]] == [(MODEL, "loaded")]
        assert first["slots"] == [{"model_id": MODEL, "generation": 1, "slots": 4}]
        assert (first["ttl_s"], first["health"]["devices"][0]["index"]) == (40.0, 0)
        desk.node.clock.advance(39)
        reply = await desk.ask("POST", "/leases", {**POST, "seq": 2, "seen_event": first["event"]})
        assert not {"models", "gone", "harnesses", "slots", "snapshot"} & set(reply.json)
        assert reply.headers["x-cortex-event"] == str(reply.json["event"])
        assert len(reply.body) < 600

    at_desk(tmp_path, scenario)


def test_who_waits_in_any_gateway_shows_to_all_of_them_and_is_no_change(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        await desk.ask("POST", "/leases", POST)
        before = desk.node.events.event
        await desk.ask("POST", "/leases", {**POST, "seq": 2, "leases": [{**LEASE, "in_flight": 4, "waiting": 3}]})
        desk.node.clock.advance(39)
        told = (await desk.ask("POST", "/leases", {**POST, "gateway_id": "b", "leases": []})).json
        assert [(use["model_id"], use["waiting"]) for use in told["in_use"]] == [(MODEL, 3)]
        assert [report["waiting"] for report in (await desk.ask("GET", "/models")).json] == [3]
        assert desk.node.events.event == before
        await desk.ask("POST", "/leases", {**POST, "seq": 3, "leases": []})
        assert (await desk.ask("GET", "/models")).json[0]["waiting"] == 0

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    "post",
    [
        pytest.param({**POST, "mood": 1, "leases": [{**LEASE, "zeal": None}]}, id="that says more than is known"),
        pytest.param({"gateway_id": "a", "seq": 1, "leases": [LEASE]}, id="of the first shape"),
        pytest.param({**POST, "gateway_version": "99.1.0"}, id="that is many versions away"),
    ],
)
def test_a_gateway_of_another_version_is_answered(
    tmp_path: Path, post: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        assert (await desk.ask("POST", "/leases", post)).json["slots"][0]["slots"] == 4

    at_desk(tmp_path, scenario)
    assert any("99.1.0" in line for line in caplog.messages) == ("gateway_version" in post)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        pytest.param({"seq": 1}, "gateway_id", id="from nobody"),
        pytest.param({"gateway_id": "a"}, "seq", id="without a number"),
        pytest.param({**POST, "leases": [LEASE, LEASE]}, "twice", id="with a generation twice"),
        pytest.param({**POST, "leases": [{**LEASE, "in_flight": "3"}]}, "in_flight", id="with words for numbers"),
        pytest.param({**POST, "leases": [LEASE] * 300}, "leases", id="with too many leases"),
        pytest.param(b"{", "JSON", id="that breaks off"),
        pytest.param(b"[]", "object", id="of another shape"),
    ],
)
def test_a_bad_post_is_refused_with_what_is_wrong(tmp_path: Path, body: object, word: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        reply = await desk.ask("POST", "/leases", body, headers={"content-type": "application/json"})
        assert reply.error == (400, "malformed_request")
        assert word in reply.json["error"]["message"]
        assert desk.node.leases.book.holders(MODEL) == ()

    at_desk(tmp_path, scenario)


def test_an_older_post_is_stale(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        await desk.ask("POST", "/leases", {**POST, "seq": 9})
        reply = await desk.ask("POST", "/leases", {**POST, "seq": 8})
        assert reply.error == (409, "stale")
        assert reply.json["error"]["details"] == {"seq": 9}

    at_desk(tmp_path, scenario)


def test_a_page_of_the_web_reports_nothing(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        reply = await desk.ask("POST", "/leases", POST, headers={"origin": "http://evil.example"})
        assert reply.error == (403, "forbidden")
        assert (await desk.ask("GET", "/leases")).error == (405, "method_not_allowed")

    at_desk(tmp_path, scenario)


def test_who_asks_for_an_endpoint_by_name_holds_it_and_gets_slots(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        assert (await desk.ask("GET", f"/models/{MODEL}/endpoint")).json["slots"] is None
        assert desk.node.leases.book.holders(MODEL) == ()
        await desk.ask("POST", "/leases", {**POST, "leases": []})
        reply = await desk.ask("GET", f"/models/{MODEL}/endpoint?gateway=a")
        assert (reply.json["slots"], desk.node.leases.book.holders(MODEL)) == (4, ("a",))
        assert reply.headers["x-cortex-event"] == str(desk.node.events.event)

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize("name", ["", "a%0Ab", "g" * 129])
def test_an_endpoint_is_given_to_nobody_with_an_impossible_name(tmp_path: Path, name: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        reply = await desk.ask("GET", f"/models/{MODEL}/endpoint?gateway={name}")
        assert reply.error == (400, "malformed_request")
        assert reply.json["error"]["details"] == {"field": "gateway"}

    at_desk(tmp_path, scenario)


def test_nobody_holds_what_is_not_loaded(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", f"/models/{MODEL}/endpoint?gateway=a")).status == 404
        await desk.loaded()
        await desk.ask("POST", "/models/unload", {"model_id": MODEL, "wait": False})
        await desk.node.until(MODEL, "unloaded")
        assert (await desk.ask("GET", f"/models/{MODEL}/endpoint?gateway=a")).error == (409, "not_loaded")
        assert desk.node.leases.book.holders(MODEL) == ()

    at_desk(tmp_path, scenario)


def test_nobody_holds_what_runs_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        theirs = FakeHarness(model="foreign")
        theirs.models = (ListedModel(id="far", url="http://far:1", engine_model="far"),)
        async with a_node(tmp_path, theirs) as node:
            await node.supervisor.adopt(())
            desk = Desk(node, None, None, ())
            desk.open()
            reply = await desk.ask("GET", "/models/far/endpoint?gateway=a")
            assert (reply.json["generation"], reply.json["slots"]) == (0, None)
            assert node.leases.book.holders("far") == ()

    asyncio.run(run())
