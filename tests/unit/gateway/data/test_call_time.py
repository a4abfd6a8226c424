"""What a call does as time passes: heartbeats while it waits, and an end to engines that say nothing."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import COMMENT, DONE, ROLE, SSE_HEAD, Client, Engine, Rig, chunked, rig, token, whole

from cortex.contract.error import LoadFailed
from cortex.fleet.outlook import Outlook
from cortex.gateway.data.call import Call

UNSTREAMED = b'{"model":"m"}'
STREAMED = b'{"model":"m","stream":true}'
REPLY = b'{"model":"m","choices":[]}'
HEARTBEAT = b": waiting for the model\n\n"


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(heartbeat_after_s=10, heartbeat_every_s=4, first_token_timeout_s=60, stall_timeout_s=30) as one:
        yield one


def served_late(it: Rig) -> tuple[Client, Engine]:
    """Be a stream that got a heartbeat before its place."""
    client = it.post(STREAMED)
    it.loop.advance(11)
    it.leases.grant(it.place())
    return client, it.upstream.accept()


# heartbeats


def test_a_stream_that_waits_long_gets_heartbeats(it: Rig) -> None:
    client = it.post(STREAMED, (b"x-request-id", b"mine"))
    it.loop.advance(9.5)
    assert not client.transport.written
    it.loop.advance(1)
    answer = client.answer
    assert (answer.status, answer.body) == (200, HEARTBEAT)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-request-id"] == "mine"
    it.loop.advance(4)
    assert client.answer.body == HEARTBEAT * 2
    it.leases.grant(it.place())
    it.upstream.accept().stream(ROLE, token("hi"), DONE, end=True)
    assert client.answer.body == HEARTBEAT * 2 + ROLE + token("hi") + DONE
    assert client.answer.is_whole
    assert (it.record.outcome, it.record.status) == ("ok", 200)


def test_heartbeats_say_what_is_known_of_the_wait(it: Rig) -> None:
    client = it.post(STREAMED)
    it.loop.advance(10.5)
    it.leases.outlooks[1] = Outlook(state="queued", position=2)
    it.loop.advance(4)
    it.leases.outlooks[1] = Outlook(state="loading", node="beast", progress=0.4)
    it.loop.advance(4)
    assert client.answer.body == HEARTBEAT + b": queued, 2 before it\n\n" + b": loading on beast, 40 %\n\n"
    client.leave()


def test_an_unstreamed_request_is_as_patient_as_the_gateway_says_and_a_stream_is_not_asked(it: Rig) -> None:
    streamed, unstreamed = it.post(STREAMED), it.post(UNSTREAMED)
    assert [about["patience_s"] for about in it.leases.about] == [None, 300.0]
    streamed.leave()
    unstreamed.leave()


def test_what_it_has_waited_is_part_of_its_patience_while_nothing_was_sent(it: Rig) -> None:
    client = it.post(UNSTREAMED)
    it.loop.advance(100)
    it.leases.grant(it.place())
    it.upstream.refuse()
    it.loop.advance(150)
    it.leases.grant(it.place())
    it.upstream.refuse()
    assert [about["patience_s"] for about in it.leases.about] == [300.0, 200.0, 50.0]
    it.leases.grant(it.place())
    it.upstream.accept().lose()
    assert it.leases.about[3]["patience_s"] == 300.0, "an engine was at work meanwhile"
    client.leave()


def test_an_unstreamed_request_waits_in_silence(it: Rig) -> None:
    client = it.post(UNSTREAMED)
    it.loop.advance(500)
    assert not client.transport.written
    it.leases.grant(it.place())
    it.upstream.accept().say(whole(REPLY))
    assert client.answer.status == 200


def test_an_engine_that_works_gives_no_heartbeats(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.loop.advance(1)
    engine = it.upstream.accept()
    it.loop.advance(50)
    assert not client.transport.written
    engine.stream(token(), DONE, end=True)
    assert client.answer.is_whole


def test_a_refusal_after_heartbeats_is_the_streams_last_event(it: Rig) -> None:
    client = it.post(STREAMED)
    it.loop.advance(11)
    it.leases.refuse(LoadFailed("'m' could not be loaded on a: out of memory"), node="a")
    answer = client.answer
    assert (answer.status, answer.is_whole, client.ended) == (200, True, 1)
    assert answer.body.startswith(HEARTBEAT)
    assert answer.error["code"] == "load_failed"
    assert client.exchange.is_keep_alive
    assert (it.record.outcome, it.record.status, it.record.node) == ("refused", 503, "a")


def test_an_engines_refusal_after_heartbeats_is_the_streams_last_event(it: Rig) -> None:
    client, engine = served_late(it)
    said = whole(b'{"error":{"message":"context too long","code":400}}', 400)
    engine.say(said[:-9], said[-9:])
    assert client.answer.body == HEARTBEAT + b'data: {"error":{"message":"context too long","code":400}}\n\n'
    assert client.answer.is_whole
    assert (it.record.outcome, it.record.status) == ("engine_error", 400)


def test_an_answer_without_a_stream_after_heartbeats_is_told_of(it: Rig) -> None:
    client, engine = served_late(it)
    engine.say(whole(b"<html>proxy</html>", 200, b"text/html"))
    assert "<html>proxy</html>" in client.answer.error["message"]
    assert it.record.outcome == "engine_error"


def test_a_stream_with_an_error_status_after_heartbeats_is_told_of(it: Rig) -> None:
    client, engine = served_late(it)
    engine.say(SSE_HEAD.replace(b"200 OK", b"500 X") + chunked(b"data: oh\n\n", end=True))
    assert "status 500" in client.answer.error["message"]
    assert it.record.outcome == "engine_error"


def test_a_late_answer_that_breaks_off_is_a_failure(it: Rig) -> None:
    client, engine = served_late(it)
    engine.say(whole(b'{"error":{"message":"context too long"}}', 400)[:-4])
    engine.lose()
    assert client.answer.error["code"] == "upstream_broken"
    assert client.answer.is_whole


def test_a_stream_that_goes_elsewhere_after_heartbeats_goes_on(it: Rig) -> None:
    client = it.post(STREAMED)
    it.loop.advance(11)
    it.leases.next("wait")
    it.leases.grant(it.place("a"))
    it.upstream.accept().lose()
    it.loop.advance(4.5)
    assert client.answer.body == HEARTBEAT * 2
    it.leases.grant(it.place("b", "http://y:1"))
    it.upstream.accept().stream(token(), DONE, end=True)
    assert client.answer.body == HEARTBEAT * 2 + token() + DONE


def test_a_request_that_goes_elsewhere_still_gets_a_clear_status_if_that_fails_soon(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    it.loop.advance(50)
    engine.lose()
    it.loop.advance(5)
    assert not client.transport.written
    it.leases.refuse(LoadFailed("out of memory"))
    assert client.answer.status == 503


# deadlines


def test_an_engine_has_so_long_for_its_first_token(it: Rig) -> None:
    it.loop.advance(0.25)
    client = it.post(STREAMED)
    it.loop.advance(9)  # waiting for a place does not count
    it.leases.grant(it.place())
    engine = it.upstream.accept()
    it.loop.advance(60)
    assert not client.is_over
    it.loop.advance(0.5)
    assert engine.is_dropped
    assert client.answer.status == 504
    assert client.answer.error["code"] == "upstream_timeout"
    assert "60 s" in client.answer.error["message"]
    assert (it.record.outcome, it.record.status, it.record.node) == ("failed", 504, "a")
    assert it.leases.suspicions() == [("a", "silent")]
    assert it.leases.cancelled == [1], "it may be at it still"


@pytest.mark.parametrize("piece", [COMMENT, ROLE, b"data: \n\n"], ids=["comment", "role", "empty"])
def test_what_is_no_content_is_no_first_token(it: Rig, piece: bytes) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.say(SSE_HEAD)
    for _ in range(5):
        it.loop.advance(10)
        engine.more(piece)
    assert not client.is_over
    it.loop.advance(11)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"
    assert client.answer.is_whole


def test_a_stream_may_be_silent_for_so_long(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    for _ in range(10):
        it.loop.advance(29)
        engine.more(token())
    assert not client.is_over  # 290 s: there is no limit on the whole
    it.loop.advance(31)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"
    assert "30 s in the middle" in client.answer.error["message"]
    assert it.leases.suspicions() == [("a", "silent")]
    assert (it.record.outcome, it.record.status) == ("failed", 200)


@pytest.mark.parametrize("piece", [COMMENT, ROLE, token("")], ids=["comment", "role", "empty"])
def test_what_is_no_content_does_not_keep_a_stalled_stream_alive(it: Rig, piece: bytes) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    it.loop.advance(0.5)
    engine.more(piece)  # the first one may have followed a word that nobody looked at
    for _ in range(4):
        it.loop.advance(7)
        engine.more(piece)
    assert not client.is_over
    it.loop.advance(3)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"


@pytest.mark.parametrize("said", [(token(), DONE), (DONE,)], ids=["after content", "without content"])
def test_a_stream_that_has_said_done_and_does_not_end_its_message_is_whole(it: Rig, said: tuple[bytes, ...]) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(*said)
    assert not client.is_over
    it.loop.advance(61)
    assert engine.is_dropped
    assert client.answer.body == b"".join(said)
    assert client.answer.is_whole
    assert (it.record.outcome, it.record.status, it.record.error) == ("ok", 200, None)


def test_an_unstreamed_answer_that_stalls_is_broken_off(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(UNSTREAMED)
    engine = it.upstream.accept()
    it.loop.advance(50)
    engine.say(whole(REPLY)[:-5])
    it.loop.advance(29)
    assert not client.is_over
    it.loop.advance(2)
    assert engine.is_dropped
    assert client.is_aborted
    assert (it.record.outcome, it.record.error) == ("failed", "upstream_timeout")


def test_a_late_answer_that_stalls_ends_the_stream(it: Rig) -> None:
    client, engine = served_late(it)
    engine.say(whole(b'{"error":{"message":"no"}}', 500)[:-4])
    it.loop.advance(31)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"


def test_a_client_that_is_slow_is_no_stalled_engine(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    client.slow_down()
    it.loop.advance(200)
    assert not client.is_over
    client.catch_up()
    it.loop.advance(29)
    assert not client.is_over
    engine.more(token(), DONE, end=True)
    assert client.answer.is_whole
    assert it.record.outcome == "ok"


def test_an_engine_that_stalls_after_a_slow_client_has_caught_up_is_ended(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    client.slow_down()
    it.loop.advance(200)
    client.catch_up()
    it.loop.advance(31)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"


# the sweep itself


def test_a_request_that_ends_in_the_sweep_lets_the_others_be_looked_after(it: Rig) -> None:
    it.leases.next(it.place(), it.place())
    clients = [it.post(STREAMED) for _ in range(2)]
    engines = [it.upstream.accept() for _ in range(2)]
    it.loop.advance(61)
    assert [client.answer.status for client in clients] == [504, 504]
    assert all(engine.is_dropped for engine in engines)


def test_chunks_of_one_event_in_many_reads_are_one_event(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    said = SSE_HEAD + chunked(ROLE, token("hi"), DONE, end=True)
    for at in range(len(said)):
        engine.say(said[at : at + 1])
    assert client.answer.body == ROLE + token("hi") + DONE
    assert it.record.outcome == "ok"


# memory


def is_held(it: Rig) -> bool:
    (call,) = it.plane.running
    assert isinstance(call, Call)
    return call._outgoing.can_send()


def test_a_prompt_is_held_until_its_stream_has_content_and_no_longer(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(ROLE)
    it.loop.advance(1)
    assert is_held(it)
    engine.more(token("hi"))
    it.loop.advance(1)
    assert not is_held(it)
    engine.more(DONE, end=True)
    assert client.answer.body == ROLE + token("hi") + DONE


def test_a_prompt_is_not_held_once_its_answer_has_begun(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(UNSTREAMED)
    engine = it.upstream.accept()
    it.loop.advance(1)
    assert is_held(it)
    engine.say(whole(REPLY)[:-4])
    it.loop.advance(1)
    assert not is_held(it)
    engine.say(REPLY[-4:])
    assert client.answer.body == REPLY


def test_a_prompt_that_goes_elsewhere_is_held_for_the_next_place(it: Rig) -> None:
    it.leases.next(it.place("a"), "wait")
    it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(ROLE)
    engine.lose()
    it.loop.advance(1)
    assert is_held(it)
    it.leases.grant(it.place("b", "http://y:1"))
    engine = it.upstream.accept()
    assert engine.received().endswith(b"}")
    engine.stream(token("hi"), DONE, end=True)
