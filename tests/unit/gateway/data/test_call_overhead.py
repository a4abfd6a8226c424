"""How much of a request's time is the gateway's own, and how many bytes went through it."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import DONE, ROLE, Engine, Rig, rig, token, whole

BODY = b'{"model":"m"}'
STREAMED = b'{"model":"m","stream":true}'
ANSWER = b'{"choices":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def slow(it: Rig, seconds: float) -> "dict[str, object]":
    """Let every write to an engine take so long."""

    def on_write(_: Engine) -> None:
        it.loop.advance(seconds)

    return {"on_write": on_write}


def test_the_request_half_is_what_it_took_to_send_it_on(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(BODY)
    it.upstream.accept(**slow(it, 0.25)).say(whole(ANSWER))  # type: ignore[arg-type]
    assert it.record.request_overhead_ms == pytest.approx(250)


def test_what_a_request_waits_for_a_place_is_no_overhead(it: Rig) -> None:
    it.post(BODY)
    it.loop.advance(30)
    it.leases.grant(it.place())
    it.loop.advance(0.5)  # until the engine is connected to
    it.upstream.accept().say(whole(ANSWER))
    assert it.record.request_overhead_ms == pytest.approx(500)


def test_of_a_request_that_was_tried_again_the_request_half_is_not_known(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    it.post(BODY)
    it.upstream.refuse()
    it.upstream.accept().say(whole(ANSWER))
    assert it.record.request_overhead_ms is None


@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["whole", "stream"])
def test_the_response_half_is_what_it_took_to_begin_the_clients_answer(it: Rig, body: bytes) -> None:
    it.leases.next(it.place())
    client = it.post(body)
    engine = it.upstream.accept()
    it.loop.advance(7)  # the engine's own time
    client.transport.on_write = lambda: it.loop.advance(0.125)
    if body is BODY:
        engine.say(whole(ANSWER))
    else:
        engine.stream(ROLE)
        client.transport.on_write = lambda: None
        it.loop.advance(3)
        engine.more(token(), DONE, end=True)
    assert it.record.response_overhead_ms == pytest.approx(125)


def test_a_request_that_got_no_answer_from_an_engine_has_no_response_half(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(BODY)
    it.upstream.accept()
    client.leave()
    assert it.record.response_overhead_ms is None
    assert it.record.request_overhead_ms == 0.0


def test_the_bytes_of_both_bodies_are_counted(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(ROLE)
    engine.more(token())
    engine.more(DONE, end=True)
    record = it.record
    assert record.request_bytes == len(STREAMED)
    assert record.response_bytes == len(client.answer.body)
    assert record.response_bytes > 0


def test_the_bytes_of_an_answer_that_came_whole_are_counted(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(BODY)
    it.upstream.accept().say(whole(ANSWER))
    assert (it.record.request_bytes, it.record.response_bytes) == (len(BODY), len(ANSWER))
