"""Pipelined requests: answered in order, one at a time, within bounds; early answers; handlers that fail."""

import inspect
import logging
from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.desk import TEXT, Clerk, Desk, statuses
from tests.unit.gateway.data.wire import cuts

from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.front import FrontLimit
from cortex.gateway.data.front_connection import MAX_PIPELINED, QUEUED_BYTES

GET = b"GET /%d HTTP/1.1\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\ncontent-length: %d\r\n\r\n"


@pytest.fixture(autouse=True)
def no_defects(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which a handler failed, unless that is what it is about."""
    yield
    assert "defect" in request.node.name or caplog.records == []


def paths(desk: Desk) -> list[bytes]:
    return [clerk.exchange.path for clerk in desk.clerks]


def test_a_pipelined_request_waits_until_the_one_before_it_is_answered() -> None:
    desk = Desk(is_slow=True)
    data = POST % (0, 2) + b"ab" + POST % (1, 3) + b"cde" + GET % 2
    for pieces in cuts(data):
        desk = Desk(is_slow=True)
        assert desk.send(*pieces) == b""
        assert paths(desk) == [b"/0"]
        desk.clerks[0].answer()
        assert desk.wire.take().endswith(b"POST /0  ab")
        assert paths(desk) == [b"/0", b"/1"]
        desk.clerks[1].answer()
        assert desk.wire.take().endswith(b"POST /1  cde")
        desk.clerks[2].answer()
        assert desk.wire.take().endswith(b"GET /2  ")
        assert [clerk.told for clerk in desk.clerks] == [["end"]] * 3
        assert not desk.wire.is_closing()


def test_a_body_still_coming_reaches_the_request_that_waited() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, POST % (1, 6) + b"ab")
    desk.clerks[0].answer()
    assert desk.clerks[1].body == b"ab"
    desk.send(b"cd", b"ef")
    assert desk.clerks[1].body == b"abcdef"
    assert desk.clerks[1].told == ["end"]


def test_many_waiting_requests_are_answered_without_recursion() -> None:
    depths: list[int] = []

    def take(exchange: Exchange) -> Clerk:
        depths.append(len(inspect.stack(0)))
        return Clerk(exchange, is_slow=False)

    desk = Desk(is_slow=True)
    desk.send(*[GET % number for number in range(20)])
    desk._take = take
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200] * 20
    assert len(set(depths)) == 1


def test_nothing_is_taken_behind_what_was_refused_while_its_turn_is_awaited() -> None:
    desk = Desk(is_slow=True, limit=FrontLimit(max_header_bytes=100))
    desk.send(GET % 0, b"GET /1 HTTP/1.1\r\nX: " + b"x" * 100, b"\r\n\r\n" + GET % 2)
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200, 431]
    assert paths(desk) == [b"/0"]


def test_a_refusal_waits_for_requests_that_wait_for_the_client_to_read() -> None:
    desk = Desk()
    desk.send(GET % 0)
    desk.connection.pause_writing()
    assert desk.send(GET % 1, b"garbage\r\n\r\n") == b""
    desk.connection.resume_writing()
    assert statuses(desk.wire.take()) == [200, 400]


def test_nothing_is_started_once_the_connection_is_ending() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, GET % 1, POST % (2, QUEUED_BYTES) + b"x" * QUEUED_BYTES)
    desk.connection.pause_writing()
    desk.clerks[0].exchange.is_keep_alive = False
    desk.clerks[0].answer()
    desk.connection.resume_writing()
    assert paths(desk) == [b"/0"]
    assert not desk.wire.is_paused


def test_a_body_that_is_being_taken_does_not_wait() -> None:
    desk = Desk(is_slow=True)
    desk.send(POST % (0, 3 * QUEUED_BYTES), *[b"x" * QUEUED_BYTES] * 3)
    assert desk.clerks[0].told == ["end"]


def test_too_many_waiting_requests_are_refused_in_their_turn() -> None:
    desk = Desk(is_slow=True)
    desk.send(*[GET % number for number in range(MAX_PIPELINED + 2)])
    desk.is_slow = False
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200] * (MAX_PIPELINED + 1) + [400]
    assert desk.wire.has_eof


def test_reading_rests_while_waiting_requests_take_too_much() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, POST % (1, QUEUED_BYTES) + b"x" * QUEUED_BYTES)
    assert desk.wire.is_paused
    desk.clerks[0].answer()
    assert not desk.wire.is_paused
    assert len(desk.clerks[1].body) == QUEUED_BYTES


def test_large_headers_of_waiting_requests_count_too() -> None:
    desk = Desk(is_slow=True)
    large = b"GET /1 HTTP/1.1\r\nX: " + b"x" * 30000 + b"\r\n\r\n"
    desk.send(GET % 0, large, large, large)
    assert desk.wire.is_paused
    for number in range(4):
        desk.clerks[number].answer()
    assert not desk.wire.is_paused
    assert not desk.wire.is_closing()


def test_a_handlers_own_pause_outlives_the_queue() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, POST % (1, 2 * QUEUED_BYTES) + b"x" * (QUEUED_BYTES + 1))

    def on_body(piece: bytes) -> None:
        desk.connection.pause_reading()

    desk._take = lambda exchange: with_on_body(Clerk(exchange, is_slow=True), on_body)
    desk.clerks[0].answer()
    assert desk.wire.is_paused
    desk.connection.resume_reading()
    assert not desk.wire.is_paused


def with_on_body(clerk: Clerk, on_body: object) -> Clerk:
    clerk.on_body = on_body  # type: ignore[method-assign, assignment]
    return clerk


def test_a_handlers_pause_ends_with_its_exchange() -> None:
    desk = Desk(is_slow=True)
    desk.send(POST % (0, 2) + b"ab")
    desk.connection.pause_reading()
    assert desk.wire.is_paused
    desk.clerks[0].answer()
    assert not desk.wire.is_paused


def test_a_handler_does_not_make_the_queue_overflow_by_resuming() -> None:
    desk = Desk(is_slow=True)
    desk.send(POST % (0, 2) + b"ab", POST % (1, QUEUED_BYTES) + b"x" * QUEUED_BYTES)
    desk.connection.pause_reading()
    desk.connection.resume_reading()
    assert desk.wire.is_paused


@pytest.mark.parametrize("at_once", [0, 5, 100], ids=["in the head", "in the body", "late"])
def test_an_answer_before_the_request_is_whole_reaches_the_client_and_the_rest_is_dropped(at_once: int) -> None:
    desk = Desk(is_slow=True)
    desk.send(POST % (0, 1000) + b"x" * at_once)
    clerk = desk.clerks[0]
    clerk.exchange.reply(413, TEXT, b"too large")
    written = desk.send(b"x" * 200, b"x" * (800 - at_once), GET % 1, b"garbage")
    assert statuses(written) == [413]
    assert b"connection: close" in written
    assert desk.wire.has_eof
    assert not desk.wire.is_closing()
    assert len(desk.clerks) == 1
    assert clerk.told == []
    desk.wire.end()
    assert desk.wire.is_closed
    assert not desk.wire.is_aborted


def test_an_answer_given_by_the_router_itself_takes_no_more_of_the_request() -> None:
    def take(exchange: Exchange) -> Clerk:
        exchange.reply(413, TEXT, b"too large")
        return Clerk(exchange, is_slow=True)

    for pieces in cuts(POST % (0, 20) + b"x" * 20 + GET % 1):
        desk = Desk(take=take)
        assert statuses(desk.send(*pieces)) == [413]
        assert len(desk.clerks) == 1
        assert desk.clerks[0].body == b""
        assert desk.clerks[0].told == []
        assert desk.clerks[0].exchange.handler is None


def test_an_early_answer_ends_the_pause_of_its_body() -> None:
    desk = Desk(is_slow=True)
    desk.send(POST % (0, 1000))
    desk.connection.pause_reading()
    desk.clerks[0].exchange.reply(413, TEXT, b"too large")
    assert not desk.wire.is_paused


def test_a_request_that_waited_may_be_answered_at_the_first_of_its_body() -> None:
    def take(exchange: Exchange) -> Clerk:
        return with_on_body(Clerk(exchange, is_slow=True), lambda piece: exchange.reply(413, TEXT, b"too large"))

    desk = Desk(is_slow=True)
    desk.send(GET % 0, POST % (1, 4) + b"ab", b"cd", GET % 2)
    desk._take = take
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200, 413]
    assert paths(desk) == [b"/0", b"/1", b"/2"]
    assert desk.clerks[1].told == []


def test_garbage_behind_an_early_answer_is_not_answered() -> None:
    def take(exchange: Exchange) -> Clerk:
        exchange.reply(413, TEXT, b"too large")
        return Clerk(exchange, is_slow=True)

    desk = Desk(take=take)
    written = desk.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n\r\n")
    assert statuses(written) == [413]


def test_more_requests_behind_the_last_one_do_not_reset_the_connection() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, GET % 1)
    desk.clerks[0].exchange.is_keep_alive = False
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200]
    assert desk.wire.has_eof
    assert not desk.wire.is_closing()
    assert len(desk.clerks) == 1


def test_half_a_request_behind_the_last_one_does_not_reset_the_connection() -> None:
    desk = Desk(is_slow=True)
    desk.send(b"GET / HTTP/1.0\r\n\r\n")
    desk.clerks[0].answer()
    assert desk.wire.is_closed
    desk = Desk(is_slow=True)
    desk.send(GET % 0, b"GET /1 HT")
    desk.clerks[0].exchange.is_keep_alive = False
    desk.clerks[0].answer()
    assert desk.wire.has_eof
    assert not desk.wire.is_closing()


def test_a_request_that_breaks_off_into_garbage_ends_its_handler() -> None:
    desk = Desk(is_slow=True)
    written = desk.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", b"zz\r\n")
    assert statuses(written) == [400]
    assert desk.clerks[0].told == ["gone"]
    assert desk.clerks[0].exchange.is_ended
    assert desk.connection.current is None


def test_garbage_after_an_answer_has_begun_breaks_it_off() -> None:
    desk = Desk(is_slow=True)
    desk.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    exchange = desk.clerks[0].exchange
    exchange.begin(200, TEXT, None)
    exchange.write(b"half")
    assert statuses(desk.send(b"zz\r\n")) == [200]
    assert desk.wire.is_aborted
    assert desk.clerks[0].told == ["gone"]


def fails(*args: object) -> None:
    raise ZeroDivisionError("a defect")


@pytest.mark.parametrize("where", ["on_body", "on_end"])
def test_a_defect_in_a_handler_is_logged_and_answered(where: str, caplog: pytest.LogCaptureFixture) -> None:
    def take(exchange: Exchange) -> Clerk:
        clerk = Clerk(exchange, is_slow=True)
        setattr(clerk, where, fails)
        return clerk

    desk = Desk(take=take)
    written = desk.send(POST % (0, 2) + b"ab" + GET % 1)
    assert statuses(written) == [500]
    assert b'"code":"internal_error"' in written
    assert desk.clerks[0].told[-1] == "gone"
    assert len(desk.clerks) == 1
    assert desk.wire.has_eof
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_a_defect_in_the_router_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(take=fails)  # type: ignore[arg-type]
    assert statuses(desk.send(GET % 0)) == [500]
    assert desk.wire.has_eof
    assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.usefixtures("caplog")
def test_a_defect_in_a_handler_that_waited_does_not_hurt_whoever_was_answered_before() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET % 0, GET % 1, GET % 2)
    desk._take = fails  # type: ignore[assignment]
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200, 500]
    assert desk.wire.has_eof


@pytest.mark.usefixtures("caplog")
def test_a_defect_after_the_answer_only_closes() -> None:
    def take(exchange: Exchange) -> Clerk:
        clerk = Clerk(exchange, is_slow=False)
        answer = clerk.on_end
        clerk.on_end = lambda: (answer(), fails())[0]  # type: ignore[method-assign]
        return clerk

    desk = Desk(take=take)
    assert statuses(desk.send(GET % 0 + GET % 1)) == [200]
    assert desk.wire.is_closed


@pytest.mark.usefixtures("caplog")
def test_a_defect_in_the_middle_of_an_answer_breaks_it_off() -> None:
    def take(exchange: Exchange) -> Clerk:
        clerk = Clerk(exchange, is_slow=True)

        def on_end() -> None:
            exchange.begin(200, TEXT, None)
            exchange.write(b"half")
            fails()

        clerk.on_end = on_end  # type: ignore[method-assign]
        return clerk

    desk = Desk(take=take)
    assert statuses(desk.send(GET % 0)) == [200]
    assert desk.wire.is_aborted
    assert desk.clerks[0].told == ["gone"]
