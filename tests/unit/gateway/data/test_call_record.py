"""What is put on record of a call: its place, its cost and its times."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import (
    DONE,
    EPOCH_S,
    ROLE,
    Rig,
    rig,
    token,
    usage,
    whole,
)

from cortex.contract.error import LoadFailed

UNSTREAMED = b'{"model":"short"}'
STREAMED = b'{"model":"short","stream":true}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def test_a_streams_record_has_everything(it: Rig) -> None:
    it.loop.advance(100)
    client = it.post(STREAMED, (b"x-request-id", b"mine"))
    it.loop.advance(2)
    it.leases.grant(it.place("beast", model="org/m"), is_cold=True)
    engine = it.upstream.accept()
    it.loop.advance(1)
    engine.stream(ROLE)
    it.loop.advance(0.5)
    engine.more(token())
    for _ in range(4):
        it.loop.advance(0.25)
        engine.more(token())
    it.loop.advance(0.25)
    engine.more(usage(7, 6), DONE, end=True)
    record = it.record
    assert (record.request_id, record.path, record.model, record.node) == ("mine", "chat", "org/m", "beast")
    assert (record.status, record.outcome, record.error) == (200, "ok", None)
    assert (record.is_stream, record.cold_start, record.attempts) == (True, True, 1)
    assert (record.prompt_tokens, record.completion_tokens, record.total_tokens) == (7, 6, 13)
    assert record.time_to_first_token_ms == pytest.approx(3500)
    assert record.total_latency_ms == pytest.approx(4750)
    assert record.tok_per_sec == pytest.approx(5 / 1.25)  # gaps between tokens, by the time of the last event
    assert record.started_s == pytest.approx(EPOCH_S + 100)
    assert record.peer == client.peer
    assert b"usage" not in client.answer.body, "the client had not asked for it"


def test_an_unstreamed_answers_record_has_its_usage_and_speed(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(UNSTREAMED)
    engine = it.upstream.accept()
    it.loop.advance(4)
    engine.say(whole(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":20,"total_tokens":23}}'))
    record = it.record
    assert (record.prompt_tokens, record.completion_tokens, record.total_tokens) == (3, 20, 23)
    assert record.tok_per_sec == pytest.approx(5)
    assert record.time_to_first_token_ms is None
    assert (record.is_stream, record.cold_start) == (False, False)


def test_tokens_that_an_engine_does_not_tell_are_unknown(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(b'{"model":"m","stream":true}', path=b"/v1/completions")
    engine = it.upstream.accept()
    engine.stream(b'data: {"choices":[{"text":"hi"}]}\n\n', DONE, end=True)
    record = it.record
    assert record.path == "text_completion"
    assert (record.prompt_tokens, record.completion_tokens, record.total_tokens) == (None, None, None)
    assert record.tok_per_sec is None
    assert record.time_to_first_token_ms is not None


def test_one_token_has_no_speed(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    it.loop.advance(1)
    engine.more(usage(1, 1), DONE, end=True)
    assert it.record.completion_tokens == 1
    assert it.record.tok_per_sec is None


def test_a_stream_that_came_in_one_read_has_no_speed(it: Rig) -> None:
    it.leases.next(it.place())
    it.post(STREAMED)
    it.upstream.accept().stream(token(), token(), usage(1, 2), DONE, end=True)
    assert it.record.completion_tokens == 2
    assert it.record.tok_per_sec is None


def test_a_refused_request_was_tried_nowhere(it: Rig) -> None:
    it.post(UNSTREAMED)
    it.loop.advance(3)
    it.leases.refuse(LoadFailed("out of memory"), model="org/m", node="beast")
    record = it.record
    assert (record.model, record.node, record.attempts) == ("org/m", "beast", 0)
    assert (record.status, record.outcome, record.error) == (503, "refused", "load_failed")
    assert record.total_latency_ms == pytest.approx(3000)
    assert record.tok_per_sec is None


def test_a_cold_start_stays_one_when_the_request_moves_on(it: Rig) -> None:
    it.leases.next(it.place("a"), is_cold=True)
    it.leases.next(it.place("b", "http://y:1"))
    it.post(STREAMED)
    it.upstream.accept().lose()
    it.upstream.accept().stream(token(), DONE, end=True)
    record = it.record
    assert (record.cold_start, record.attempts, record.node) == (True, 2, "b")


def test_what_a_lost_place_had_sent_counts_for_nothing(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"))
    it.post(STREAMED)
    first = it.upstream.accept()
    first.stream(ROLE, usage(9, 9))
    first.lose()
    it.upstream.accept().stream(token(), DONE, end=True)
    assert it.record.completion_tokens is None


def test_a_client_that_leaves_in_the_middle_is_recorded_with_what_is_known(it: Rig) -> None:
    it.leases.next(it.place("beast"))
    client = it.post(STREAMED)
    it.upstream.accept().stream(token())
    client.leave()
    record = it.record
    assert (record.outcome, record.status, record.node) == ("client_gone", 200, "beast")
    assert record.time_to_first_token_ms == 0.0


def test_a_client_that_leaves_before_any_answer_has_no_status(it: Rig) -> None:
    it.post(STREAMED).leave()
    record = it.record
    assert (record.outcome, record.status, record.model, record.node, record.attempts) == ("client_gone", 0, "", "", 0)


def test_ids_are_made_for_those_who_bring_none_or_an_odd_one(it: Rig) -> None:
    for headers in ((), ((b"x-request-id", b"with space"),), ((b"x-request-id", b"x" * 129),)):
        it.leases.next(it.place())
        client = it.post(UNSTREAMED, *headers)
        if it.upstream.connecting:
            engine = it.upstream.accept()
        assert b"x-request-id: req-" in engine.received()
        engine.say(whole(b"{}"))
        assert client.answer.headers["x-request-id"] == it.records[-1].request_id
    assert len({record.request_id for record in it.records}) == 3


@pytest.mark.parametrize(
    ("path", "operation"),
    [(b"/v1/embeddings", "embeddings"), (b"/v1/rerank", "rerank"), (b"/tokenize", "tokenize"), (b"/infill", "infill")],
)
def test_every_path_is_recorded_by_its_operation(it: Rig, path: bytes, operation: str) -> None:
    it.leases.next(it.place())
    it.post(UNSTREAMED, path=path)
    engine = it.upstream.accept()
    assert engine.received().startswith(b"POST " + path + b" ")
    engine.say(whole(b'{"usage":{"prompt_tokens":5,"total_tokens":5}}'))
    assert (it.record.path, it.record.prompt_tokens, it.record.completion_tokens) == (operation, 5, None)


def test_places_that_failed_before_are_on_record_with_why(it: Rig) -> None:
    it.leases.next(it.place("a"), it.place("b", "http://y:1"), it.place("c", "http://z:1"))
    it.post(UNSTREAMED)
    it.upstream.refuse()
    it.upstream.accept().lose()
    it.upstream.accept().say(whole(b"{}"))
    assert it.record.lost == (("a", "upstream_unreachable"), ("b", "upstream_broken"))
    assert (it.record.node, it.record.attempts) == ("c", 3)


@pytest.mark.parametrize(("node", "lost"), [("b", (("a", "upstream_broken"),)), ("a", ()), ("", ())])
def test_a_place_that_failed_is_on_record_also_when_the_request_is_refused_because_of_another(
    it: Rig, node: str, lost: tuple[tuple[str, str], ...]
) -> None:
    it.leases.next(it.place("a"), "wait")
    it.post(UNSTREAMED)
    it.upstream.accept().lose()
    it.leases.refuse(LoadFailed("no room", retry_in_s=1), node=node)
    assert (it.record.node, it.record.lost) == (node or "a", lost)
