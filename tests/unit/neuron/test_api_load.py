"""What a refused load is answered with, and pins, over the API."""

from pathlib import Path

from tests.unit.neuron.fake_node import MODEL
from tests.unit.neuron.test_api import LOAD, Desk, at_desk

from cortex.contract.instance import EVENT_HEADER, START_ID_HEADER


def test_a_refused_load_carries_the_whole_picture(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded("v")
        evict = [{"model_id": "v", "generation": 9}]
        for body, code in (
            ({**LOAD, "vram_mb": 1000}, "no_room"),
            ({**LOAD, "evict": evict}, "stale"),
            ({**LOAD, "basis_event": 1}, "stale"),
        ):
            reply = await desk.ask("POST", "/models/load", body)
            assert reply.error == (409, code)
            snapshot = reply.json["error"]["details"]["snapshot"]
            assert snapshot["models"] == (await desk.ask("GET", "/models")).json
            assert snapshot["health"] == (await desk.ask("GET", "/health")).json
            assert (snapshot["start_id"], str(snapshot["event"])) == (
                reply.headers[START_ID_HEADER],
                reply.headers[EVENT_HEADER],
            )

    at_desk(tmp_path, scenario)


def test_what_is_the_callers_mistake_carries_no_picture(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        reply = await desk.ask("POST", "/models/load", {**LOAD, "devices": [9]})
        assert reply.error == (400, "no_such_device")
        assert "snapshot" not in reply.json["error"]["details"]

    at_desk(tmp_path, scenario)


def test_a_model_is_pinned_and_freed(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        for pinned, is_pinned in ((True, True), (None, False), (False, False)):
            reply = await desk.ask("POST", "/models/pin", {"model_id": MODEL, "pinned": pinned})
            assert (reply.status, reply.json) == (200, {"pinned": is_pinned})
            assert (await desk.ask("GET", "/models")).json[0]["pinned"] is is_pinned
        assert (await desk.ask("POST", "/models/pin", {"model_id": "what", "pinned": True})).error == (
            404,
            "model_not_found",
        )
        for body in ({"model_id": MODEL}, {"pinned": True}, {"model_id": MODEL, "pinned": "yes"}):
            assert (await desk.ask("POST", "/models/pin", body)).error == (400, "malformed_request")

    at_desk(tmp_path, scenario)
