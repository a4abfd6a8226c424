"""A JSON request on its way in: read whole, refused as soon as that is sure, made a call when it is complete."""

import tracemalloc
from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import Client, Rig, rig, whole

from cortex.contract.error import BodyTooLarge
from cortex.gateway.data.framing import too_large

JSON = (b"content-type", b"application/json")
PATH = b"/v1/chat/completions"
BODY = b'{"model":"m","messages":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(max_body_bytes=1000) as one:
        yield one


def begin(it: Rig, *pieces: bytes) -> Client:
    client = it.request(b"POST", PATH, JSON)
    for piece in pieces:
        client.body(piece)
    return client


def test_a_body_in_pieces_becomes_one_request(it: Rig) -> None:
    it.leases.next(it.place())
    client = begin(it, *(BODY[at : at + 1] for at in range(len(BODY))))
    assert it.leases.asked == []
    client.end()
    engine = it.upstream.accept()
    assert engine.received().endswith(b"\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY))
    engine.say(whole(b"{}"))
    assert client.answer.status == 200


def test_a_body_in_very_many_pieces_takes_little_more_memory_than_its_size() -> None:
    body = b'{"model":"m","messages":[' + b"1," * 300_000 + b"1]}"
    with rig(max_body_bytes=len(body)) as it:
        it.leases.next(it.place())
        client = it.request(b"POST", PATH, JSON)
        tracemalloc.start()
        for at in range(0, len(body), 2):
            client.body(body[at : at + 2])
        held_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        client.end()
        assert held_bytes < 2 * len(body)
        engine = it.upstream.accept()
        assert engine.received().endswith(body)
        engine.say(whole(b"{}"))


def test_the_time_of_a_request_begins_with_its_head(it: Rig) -> None:
    client = begin(it, BODY[:5])
    it.loop.advance(2)
    client.body(BODY[5:])
    client.end()
    client.leave()
    assert it.record.total_latency_ms == pytest.approx(2000)


MALFORMED = {
    "no body": (b"", "malformed_request", "no body"),
    "blank": (b" \n", "malformed_request", "no body"),
    "not JSON": (b"model=m", "malformed_request", "not valid JSON"),
    "cut": (BODY[:-1], "malformed_request", "not valid JSON"),
    "no text": (b'{"model":"\xff"}', "malformed_request", "not valid JSON"),
    "a list": (b'["m"]', "malformed_request", "must be a JSON object"),
    "no model": (b'{"messages":[]}', "model_missing", "names no model"),
    "an empty model": (b'{"model":""}', "model_missing", "names no model"),
    "a number as model": (b'{"model":4}', "malformed_request", "must be a string, not a number"),
    "null as model": (b'{"model":null}', "malformed_request", "must be a string, not null"),
}


@pytest.mark.parametrize(("body", "code", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_request_that_cannot_be_read_is_told_why(it: Rig, body: bytes, code: str, words: str) -> None:
    client = begin(it, *((body,) if body else ()))
    client.end()
    answer = client.answer
    assert answer.status == 400
    assert (answer.error["type"], answer.error["code"]) == ("invalid_request_error", code)
    assert words in answer.error["message"]
    assert "retry-after" not in answer.headers
    assert it.leases.asked == []
    assert client.exchange.is_keep_alive
    assert client.ended == 1
    record = it.record
    assert (record.outcome, record.status, record.error, record.path) == ("refused", 400, code, "chat")
    assert (record.model, record.node, record.attempts) == ("", "", 0)


def test_a_body_that_grows_too_large_is_refused_at_once(it: Rig) -> None:
    client = begin(it, b'{"model":"m","x":"', b"x" * 900)
    assert not client.ended
    client.body(b"x" * 100)
    assert client.answer.status == 413
    assert "max_body_mb" in client.answer.error["message"]
    assert not client.exchange.is_keep_alive
    client.body(b"x" * 100)
    assert client.ended == 1
    assert (it.record.outcome, it.record.status) == ("refused", 413)


def test_a_body_of_just_the_limit_is_taken(it: Rig) -> None:
    body = b'{"model":"m","x":"%b"}' % (b"x" * (1000 - 20))
    assert len(body) == 1000
    client = begin(it, body)
    client.end()
    assert it.leases.asked == [("m", ())]
    client.leave()


def test_a_client_that_leaves_before_its_request_is_whole_leaves_nothing(it: Rig) -> None:
    begin(it, BODY[:5]).leave()
    assert it.records == []


def test_a_gateway_that_stops_does_not_wait_for_a_body(it: Rig) -> None:
    client = begin(it, BODY[:5])
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    assert client.is_aborted


@pytest.mark.parametrize(("limit_bytes", "shown"), [(64 << 20, "64 MiB"), (1 << 19, "0.5 MiB")])
def test_the_limit_is_told_in_the_units_of_its_setting(limit_bytes: int, shown: str) -> None:
    error = too_large(limit_bytes)
    assert isinstance(error, BodyTooLarge)
    assert shown in error.message
    assert error.details == {"limit_bytes": limit_bytes}
