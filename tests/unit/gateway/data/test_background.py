"""Responses in the background: answered at once, kept at their end, stopped by their id."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.rig import Answer, Client, Rig, Transport, rig, whole
from tests.unit.kit.test_tracer import Kept, a_tracer

from cortex.contract.error import QueueFull
from cortex.dialects.interface import Keep
from cortex.dialects.responses_record import read_record, with_status
from cortex.gateway.data.response_page import STALE_S
from cortex.kit.tracer import Tracer

ASKED = b'{"model":"m","input":"hi","background":true}'
REPLY = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


def play(
    test: Callable[[Rig, Client, str], Awaitable[None]],
    plan: Any = "wait",
    *,
    is_shared: bool = False,
    tracer: Tracer | None = None,
) -> None:
    async def run() -> None:
        with rig() as it:
            it.shelf.is_shared = is_shared
            it.plane.tracer = tracer
            it.plane.keep = it.background.keep
            it.leases.next(plan if plan != "place" else it.place())
            client = it.post(ASKED, path=b"/v1/responses")
            answer = msgspec.json.decode(client.answer.body)
            assert (client.answer.status, answer["status"], answer["background"]) == (200, "queued", True)
            await rest()
            await test(it, client, answer["id"])
            assert not it.background
            await it.tasks.stop()

    asyncio.run(run())


async def rest() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def ask(it: Rig, method: bytes, path: str) -> Answer:
    client = it.request(method, path.encode())
    client.end()
    await rest()
    return client.answer


async def status_of(it: Rig, response_id: str) -> str:
    return str(msgspec.json.decode((await ask(it, b"GET", f"/v1/responses/{response_id}")).body)["status"])


def test_it_runs_on_without_its_client_and_is_kept() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        assert await status_of(it, response_id) == "queued"
        engine = it.upstream.accept()
        await rest()
        assert await status_of(it, response_id) == "in_progress"
        engine.say(whole(REPLY))
        await rest()
        assert await status_of(it, response_id) == "completed"
        assert [record.outcome for record in it.records] == ["ok", "ok"]

    play(test, "place")


@pytest.mark.parametrize(("tls", "scheme"), [(None, "http"), (object(), "https")])
def test_one_that_is_traced_is_told_with_the_door_it_came_through(
    monkeypatch: pytest.MonkeyPatch, tls: object, scheme: str
) -> None:
    monkeypatch.setattr(Transport, "get_extra_info", lambda _, name: tls if name == "ssl_object" else None)
    kept = Kept()

    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.upstream.accept().say(whole(REPLY))
        await rest()
        assert await status_of(it, response_id) == "completed"
        schemes = [span.attributes.get("url.scheme") for source in kept.sources for span in source.spans()]
        assert [one for one in schemes if one] == [scheme, scheme]

    play(test, "place", tracer=a_tracer(kept))


def test_one_that_fails_is_kept_with_its_error() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        answer = await ask(it, b"GET", f"/v1/responses/{response_id}")
        told = msgspec.json.decode(answer.body)
        assert (told["status"], "wait" in told["error"]["message"]) == ("failed", True)

    play(test, QueueFull())


@pytest.mark.parametrize("is_sent", [False, True])
def test_one_that_is_cancelled_is_stopped_and_stays_so(is_sent: bool) -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        engine = None
        if is_sent:
            it.leases.grant(it.place())
            engine = it.upstream.accept()
        answer = await ask(it, b"POST", f"/v1/responses/{response_id}/cancel")
        assert msgspec.json.decode(answer.body)["status"] == "cancelled"
        assert engine is None or engine.is_dropped
        assert it.leases.open == {}
        assert await status_of(it, response_id) == "cancelled"

    play(test)


def test_a_gateway_that_stops_keeps_that_it_failed() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.plane.stop()
        it.plane.start()
        await rest()
        assert await status_of(it, response_id) == "failed"

    play(test)


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
def test_one_that_was_ended_at_another_gateway_is_stopped_here(how: str) -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        await rest()
        if how == "deleted":
            await it.shelf.delete(response_id)
        else:
            record, _ = read_record(await it.shelf.get(response_id) or b"")
            await it.shelf.put(Keep(id=response_id, record=msgspec.json.encode(with_status(record, "cancelled"))))
        await rest()
        assert engine.is_dropped
        assert it.leases.open == {}

    play(test, is_shared=True)


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
def test_one_that_was_ended_elsewhere_at_its_very_end_stays_so(how: str) -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        record, _ = read_record(await it.shelf.get(response_id) or b"")
        if how == "deleted":
            await it.shelf.delete(response_id)
        else:
            await it.shelf.put(Keep(id=response_id, record=msgspec.json.encode(with_status(record, "cancelled"))))
        engine.say(whole(REPLY))
        await rest()
        kept = await it.shelf.get(response_id)
        assert kept is None if how == "deleted" else b"cancelled" in (kept or b"")

    play(test, is_shared=True)


def test_one_that_is_deleted_while_it_runs_is_stopped_and_gone() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        assert (await ask(it, b"DELETE", f"/v1/responses/{response_id}")).status == 200
        assert engine.is_dropped
        assert (await ask(it, b"GET", f"/v1/responses/{response_id}")).status == 404

    play(test)


def test_one_whose_gateway_is_gone_has_failed() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        kept = await it.shelf.get(response_id)
        it.background.stop(response_id)
        await it.shelf.put(Keep(id="resp_other", record=(kept or b"").replace(response_id.encode(), b"resp_other")))
        await rest()
        assert await status_of(it, "resp_other") == "queued"
        it.loop.advance(STALE_S + 1)
        answer = msgspec.json.decode((await ask(it, b"GET", "/v1/responses/resp_other")).body)
        assert answer["status"] == "failed"
        assert "gone" in answer["error"]["message"]
        assert await status_of(it, "resp_other") == "failed"

    play(test)


def test_a_gateway_that_stops_waits_for_them() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        stopping = asyncio.get_running_loop().create_task(it.background.finish(60))
        await rest()
        assert not stopping.done()
        engine.say(whole(REPLY))
        await rest()
        assert stopping.done()
        assert await status_of(it, response_id) == "completed"

    play(test)


def test_a_gateway_that_stops_does_not_wait_for_ever() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        await it.background.finish(0.01)
        assert it.background
        it.background.stop(response_id)

    play(test)


def test_one_that_fell_off_the_shelf_is_told_of_ended_and_kept_all_the_same() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        await rest()
        await it.shelf.delete(response_id)
        await rest()
        assert not engine.is_dropped
        assert await status_of(it, response_id) == "in_progress"
        answer = await ask(it, b"POST", f"/v1/responses/{response_id}/cancel")
        assert msgspec.json.decode(answer.body)["status"] == "cancelled"
        assert engine.is_dropped

    play(test)


def test_one_that_fell_off_the_shelf_is_kept_at_its_end() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        it.leases.grant(it.place())
        engine = it.upstream.accept()
        await it.shelf.delete(response_id)
        engine.say(whole(REPLY))
        await rest()
        assert await status_of(it, response_id) == "completed"

    play(test)


def test_one_has_all_the_time_that_its_model_takes_to_load() -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        assert it.leases.about[0]["patience_s"] is None
        it.background.stop(response_id)

    play(test)


@pytest.mark.parametrize("how", ["completed", "failed", "stopped"])
def test_nothing_of_one_that_is_over_is_left_for_the_collector(how: str) -> None:
    async def test(it: Rig, client: Client, response_id: str) -> None:
        gone = weakref.ref(it.background._running[response_id][1])
        if how == "stopped":
            it.background.stop(response_id)
        else:
            it.leases.grant(it.place())
            it.upstream.accept().say(whole(REPLY if how == "completed" else b"{", 200))
        await rest()
        assert gone() is None

    gc.disable()
    try:
        play(test)
    finally:
        gc.enable()
