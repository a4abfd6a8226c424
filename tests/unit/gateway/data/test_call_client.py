"""The client's side of a call: it leaves, reads slowly, or the gateway stops. Everything is given back, once."""

from collections.abc import Callable, Iterator

import pytest
from tests.unit.gateway.data.rig import DONE, ROLE, Client, Engine, Rig, rig, token, whole

from cortex.dialects.openai_stream import StreamTap

UNSTREAMED = b'{"model":"m"}'
STREAMED = b'{"model":"m","stream":true}'
REPLY = b'{"model":"m","choices":[]}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(heartbeat_after_s=10, first_token_timeout_s=60) as one:
        yield one


def waiting(it: Rig) -> Client:
    return it.post(STREAMED)


def waiting_with_heartbeats(it: Rig) -> Client:
    client = it.post(STREAMED)
    it.loop.advance(11)
    assert client.transport.written
    return client


def connecting(it: Rig) -> Client:
    it.leases.next(it.place())
    return it.post(STREAMED)


def sent(it: Rig) -> Client:
    client = connecting(it)
    it.upstream.accept()
    return client


def begun(it: Rig) -> Client:
    client = connecting(it)
    it.upstream.accept().stream(ROLE)
    return client


def committed(it: Rig) -> Client:
    client = connecting(it)
    it.upstream.accept().stream(ROLE, token())
    return client


def unstreamed(it: Rig) -> Client:
    it.leases.next(it.place())
    client = it.post(UNSTREAMED)
    it.upstream.accept().say(whole(REPLY)[:-5])
    return client


def waiting_again(it: Rig) -> Client:
    client = connecting(it)
    it.upstream.accept().lose()
    return client


State = Callable[[Rig], Client]

STATES: list[State] = [
    waiting,
    waiting_with_heartbeats,
    connecting,
    sent,
    begun,
    committed,
    unstreamed,
    waiting_again,
]


def name(state: State) -> str:
    return state.__name__


@pytest.mark.parametrize("state", STATES, ids=name)
def test_a_client_that_leaves_takes_everything_with_it(it: Rig, state: State) -> None:
    engines = kept_engines(it)
    client = state(it)
    client.leave()
    it.assert_nothing_left()
    assert sorted(it.leases.released) == list(range(1, len(it.leases.asked) + 1))
    assert all(engine.is_dropped for engine in engines[-1:] if not engine.transport.is_closed)
    assert it.record.outcome == "client_gone"
    while it.upstream.connecting:
        assert it.upstream.accept().is_dropped


def kept_engines(it: Rig) -> list[Engine]:
    """Return a list into which every engine comes that the rig accepts from now on."""
    engines: list[Engine] = []
    accept = it.upstream.accept

    def keeping() -> Engine:
        engines.append(accept())
        return engines[-1]

    it.upstream.accept = keeping  # type: ignore[method-assign, assignment]
    return engines


@pytest.mark.parametrize("state", [sent, begun, committed, unstreamed], ids=name)
def test_the_engine_of_a_client_that_left_is_cut_at_once(it: Rig, state: State) -> None:
    engines = kept_engines(it)
    state(it).leave()
    (engine,) = engines
    assert engine.is_dropped


@pytest.mark.parametrize("state", STATES, ids=name)
def test_what_a_client_that_left_still_gets_goes_nowhere(it: Rig, state: State) -> None:
    """The engine's last words and a loss cross with the client's leaving."""
    engines = kept_engines(it)
    client = state(it)
    client.leave()
    written = bytes(client.transport.written)
    for engine in engines:
        engine.connection.data_received(b"more")
        engine.connection.connection_lost(None)
    it.loop.advance(1000)
    assert client.transport.written == written
    assert len(it.records) == 1
    it.upstream.connecting.clear()


def test_a_client_that_leaves_when_it_has_read_done_has_had_its_answer(it: Rig) -> None:
    """As OpenAI's SDK does, before the engine has ended its message."""
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token(), DONE)
    client.leave()
    assert it.record.outcome == "ok"
    assert engine.transport.is_closed


@pytest.mark.parametrize("state", STATES, ids=name)
def test_a_gateway_that_stops_says_so(it: Rig, state: State) -> None:
    engines = kept_engines(it)
    client = state(it)
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    it.assert_nothing_left()
    assert client.is_over
    if state is unstreamed:
        assert client.is_aborted
    else:
        assert client.answer.is_whole
        assert client.answer.error["code"] == "shutting_down"
    if state in (waiting, connecting, sent, waiting_again):
        assert client.answer.status == 503
    assert all(engine.transport.is_closed for engine in engines)
    assert (it.record.outcome, it.record.error) == ("failed", "shutting_down")
    it.upstream.connecting.clear()


def test_stopping_the_plane_ends_every_call(it: Rig) -> None:
    clients = [state(it) for state in STATES]
    it.upstream.connecting.clear()
    it.plane.stop()
    assert all(client.is_over for client in clients)
    assert len(it.records) == len(STATES)
    assert it.loop.live() == []


def test_stopping_twice_is_stopping_once(it: Rig) -> None:
    client = committed(it)
    call = client.exchange.handler
    assert call is not None
    call.on_shutdown()
    call.on_shutdown()
    assert client.ended == 1
    assert len(it.records) == 1


# back-pressure


def test_a_slow_client_slows_its_engine_down(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    client.slow_down()
    client.slow_down()
    assert engine.transport.is_paused
    client.catch_up()
    assert not engine.transport.is_paused
    engine.more(DONE, end=True)
    assert client.answer.is_whole


def test_a_slow_client_without_an_engine_slows_nobody_down(it: Rig) -> None:
    client = waiting_with_heartbeats(it)
    client.slow_down()
    client.catch_up()
    it.leases.grant(it.place())
    engine = it.upstream.accept()
    assert not engine.transport.is_paused
    engine.stream(token(), DONE, end=True)
    assert client.answer.is_whole


def test_a_connection_that_a_slow_client_had_paused_is_read_again_by_the_next_request(it: Rig) -> None:
    place = it.place()
    it.leases.next(place, place)
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    engine.stream(token())
    client.slow_down()
    engine.more(DONE, end=True)  # was in the buffer already
    assert client.answer.is_whole
    second = it.post(UNSTREAMED)
    assert not it.upstream.connecting
    assert not engine.transport.is_paused
    engine.say(whole(REPLY))
    assert second.answer.is_whole


def test_a_client_whose_request_is_complete_is_read_on_though_the_engine_reads_slowly(it: Rig) -> None:
    """Otherwise nobody would notice that it left."""
    it.leases.next(it.place())
    client = it.post(UNSTREAMED)
    engine = it.upstream.accept()
    engine.connection.pause_writing()
    assert not client.is_held
    engine.connection.resume_writing()
    engine.say(whole(REPLY))
    assert client.answer.is_whole


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_defect_of_ours_ends_the_request_with_an_error_and_does_not_hang(
    it: Rig, is_begun: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    engine = it.upstream.accept()
    if is_begun:
        engine.stream(token())

    def fail(*_: object) -> bytes:
        raise ValueError("a defect")

    monkeypatch.setattr(StreamTap, "feed", fail)
    if is_begun:
        engine.more(token())
        assert b'"code":"internal_error"' in client.answer.body
    else:
        engine.stream(token())
        assert b'"code":"internal_error"' in client.answer.body
    assert engine.transport.is_aborted
    (told,) = [record for record in caplog.records if record.getMessage() == "relaying an answer"]
    assert vars(told)["request_id"].startswith("req-")


def test_a_mistake_that_is_found_as_a_request_is_written_is_its_callers(
    it: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m","input":[{"type":"spell","spell":"x"}]}', path=b"/v1/responses")
    engine = it.upstream.accept()
    assert client.answer.status == 400
    assert client.answer.error["message"].startswith("input: ")
    assert engine.transport.is_aborted
    assert (it.record.outcome, it.record.status) == ("refused", 400)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_engine_that_answers_while_the_client_is_slow_is_not_read_until_it_caught_up(it: Rig) -> None:
    client = waiting_with_heartbeats(it)
    client.slow_down()
    it.leases.grant(it.place())
    engine = it.upstream.accept()
    assert engine.transport.is_paused
    client.catch_up()
    assert not engine.transport.is_paused
    engine.stream(token(), DONE, end=True)
    assert client.answer.is_whole


@pytest.mark.parametrize("state", [sent, begun, committed, unstreamed])
def test_who_leaves_in_the_middle_leaves_an_engine_that_may_be_at_it_still(it: Rig, state: State) -> None:
    state(it).leave()
    assert it.leases.released == it.leases.cancelled == [1]


@pytest.mark.parametrize("state", [waiting, waiting_with_heartbeats, connecting])
def test_who_leaves_before_anything_was_sent_leaves_nothing_behind(it: Rig, state: State) -> None:
    state(it).leave()
    assert it.leases.released == [1]
    assert it.leases.cancelled == []


def test_an_engine_that_has_said_all_is_not_at_it_whoever_leaves(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(STREAMED)
    it.upstream.accept().stream(token(), DONE)
    client.leave()
    assert (it.leases.released, it.leases.cancelled) == ([1], [])


def test_an_engine_that_died_is_not_at_it(it: Rig) -> None:
    it.leases.next(it.place(), it.place("b", "http://y:1"))
    it.post(STREAMED)
    it.upstream.accept().lose()
    it.upstream.accept().stream(token(), DONE, end=True)
    assert (it.leases.released, it.leases.cancelled) == ([1, 2], [])


def test_a_thousand_that_leave_while_they_wait_leave_nothing(it: Rig) -> None:
    clients = [it.post(STREAMED) for _ in range(1000)]
    it.loop.advance(11)
    for client in clients:
        client.leave()
    assert sorted(it.leases.released) == list(range(1, 1001))
    assert it.leases.cancelled == []
    assert {record.outcome for record in it.records} == {"client_gone"}
