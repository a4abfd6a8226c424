"""What else a client may do to a connection: leave at any moment, read slowly, send slowly, stay silent."""

import gc
import weakref

import pytest
from tests.unit.gateway.data.desk import TEXT, Clerk, Desk, statuses
from tests.unit.gateway.data.wire import Wire

from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.front import FrontLimit
from cortex.gateway.data.front_connection import LINGER_S, LINGER_TOTAL_S, FrontConnection

GET = b"GET /a HTTP/1.1\r\n\r\n"
UPLOAD = b"POST /b HTTP/1.1\r\ncontent-length: 10\r\n\r\n"
LIMIT = FrontLimit(keep_alive_s=75, client_stall_s=300)

SCRIPT = GET + UPLOAD + b"0123456789" + GET + b"BAD \r\n\r\n"


@pytest.mark.parametrize("is_slow", [False, True], ids=["answered at once", "unanswered"])
def test_a_client_that_leaves_at_any_moment_leaves_nothing_behind(is_slow: bool) -> None:
    for length in range(len(SCRIPT) + 1):
        desk = Desk(is_slow=is_slow)
        if length:
            desk.send(SCRIPT[:length])
        desk.wire.lose()
        assert desk.connection.current is None
        assert desk.front.connections == set()
        for clerk in desk.clerks:
            assert clerk.told in ([["gone"], ["end", "gone"]] if is_slow else [["gone"], ["end"]])
            assert clerk.exchange.is_ended
            assert clerk.exchange.handler is None


def test_a_handler_may_still_write_to_a_client_that_has_left() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET)
    exchange = desk.clerks[0].exchange
    exchange.begin(200, TEXT, None)
    desk.wire.lose()
    exchange.write(b"late")
    exchange.finish(b"later")
    assert desk.wire.take() == b""


class Referable(FrontConnection):
    """The same without slots, so that it can be referred to weakly."""


def test_what_is_over_is_freed_at_once_without_the_collector() -> None:
    desk = Desk()
    connection = Referable(desk.front)
    wire = Wire(connection)
    gc.disable()
    try:
        wire.read(GET + UPLOAD + b"0123456789")
        desk.clerks.pop(0)
        clerk = weakref.ref(desk.clerks.pop())
        assert clerk() is None
        desk.is_slow = True
        wire.read(GET + GET + UPLOAD)
        wire.lose()
        wire.protocol = None  # type: ignore[assignment]  # as the loops do
        desk.clerks.clear()
        gone = weakref.ref(connection)
        del connection, wire
        assert gone() is None
    finally:
        gc.enable()


def test_a_client_that_half_closes_while_it_is_answered_counts_as_gone() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET)
    desk.wire.end()
    assert desk.wire.is_aborted
    desk.wire.lose()
    assert desk.clerks[0].told == ["end", "gone"]


def test_a_client_that_half_closes_in_the_middle_of_its_request_counts_as_gone() -> None:
    desk = Desk(is_slow=True)
    desk.send(UPLOAD + b"01")
    desk.wire.end()
    assert desk.wire.is_aborted


@pytest.mark.parametrize("before", [b"", GET, b"GET /a HT"], ids=["new", "answered", "half a head"])
def test_a_client_that_closes_between_requests_is_closed_in_peace(before: bytes) -> None:
    desk = Desk()
    if before:
        desk.send(before)
    desk.wire.end()
    assert desk.wire.is_closed
    assert not desk.wire.is_aborted


def test_an_aborted_exchange_is_not_told_that_its_client_is_gone() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET)
    desk.clerks[0].exchange.abort()
    assert desk.wire.is_aborted
    desk.wire.lose()
    assert desk.clerks[0].told == ["end"]


def test_a_handler_hears_of_a_client_that_reads_slowly() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET)
    desk.connection.pause_writing()
    desk.connection.resume_writing()
    assert desk.clerks[0].told == ["end", "pause", "resume"]


def test_the_next_request_waits_while_the_client_does_not_read_the_last_answer() -> None:
    desk = Desk()
    desk.send(GET)
    desk.connection.pause_writing()
    assert desk.send(GET, UPLOAD + b"0123456789") == b""
    assert len(desk.clerks) == 1
    desk.connection.resume_writing()
    assert statuses(desk.wire.take()) == [200, 200]
    assert [clerk.told for clerk in desk.clerks] == [["end"]] * 3


def test_a_request_that_waits_does_so_until_the_answer_before_it_is_read() -> None:
    desk = Desk(is_slow=True)
    desk.send(GET, GET)
    desk.connection.pause_writing()
    desk.clerks[0].answer()
    assert len(desk.clerks) == 1
    desk.connection.resume_writing()
    assert len(desk.clerks) == 2


def test_a_pause_with_nothing_to_answer_is_harmless() -> None:
    desk = Desk()
    desk.connection.pause_writing()
    desk.connection.resume_writing()
    assert statuses(desk.send(GET)) == [200]


def test_a_handler_can_slow_the_client_down() -> None:
    desk = Desk(is_slow=True)
    desk.send(UPLOAD)
    desk.connection.pause_reading()
    assert desk.wire.is_paused
    desk.connection.resume_reading()
    desk.send(b"0123456789")
    assert desk.clerks[0].body == b"0123456789"


def test_pausing_and_resuming_a_closed_connection_is_harmless() -> None:
    desk = Desk(is_slow=True)
    desk.send(UPLOAD)
    desk.wire.abort()
    desk.connection.pause_reading()
    desk.connection.resume_reading()
    desk.wire.lose()
    desk.connection.resume_reading()


# time


def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    desk = Desk(limit=LIMIT)
    desk.pass_s(75)
    assert not desk.wire.is_closing()
    desk.pass_s(0.1)
    assert desk.wire.is_closed
    assert not desk.wire.is_aborted


def test_the_idle_time_counts_from_the_last_answer_not_from_its_request() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(GET)
    desk.pass_s(1000)
    desk.clerks[0].answer()
    desk.pass_s(74)
    assert not desk.wire.is_closing()
    desk.pass_s(2)
    assert desk.wire.is_closed


def test_a_head_that_comes_drop_by_drop_has_its_time_from_the_first_drop() -> None:
    desk = Desk(limit=LIMIT)
    desk.pass_s(60)
    for byte in b"GET /abcdefgh":
        assert not desk.wire.is_closed
        desk.send(bytes([byte]))
        desk.pass_s(2.4)
    assert desk.wire.is_closed
    assert desk.clerks == []


def test_a_head_has_its_whole_time_however_long_the_connection_was_idle() -> None:
    desk = Desk(limit=LIMIT)
    desk.pass_s(70)
    desk.send(GET[:5])
    desk.pass_s(29)
    assert statuses(desk.send(GET[5:])) == [200]


def test_an_answer_may_take_any_time() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(GET)
    desk.pass_s(100_000)
    assert not desk.wire.is_closing()


def test_a_body_that_stops_coming_ends_the_connection() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(UPLOAD + b"0")
    desk.pass_s(299)
    desk.send(b"1")
    desk.pass_s(299)
    assert not desk.wire.is_closing()
    desk.pass_s(2)
    assert desk.wire.is_aborted


def trickle(desk: Desk, piece: bytes, every_s: float, for_s: float) -> None:
    """Let a client send a body slowly, until the connection ends."""
    passed_s = 0.0
    while passed_s < for_s and not desk.wire.is_closed:
        desk.send(piece)
        desk.pass_s(every_s)
        passed_s += every_s


LARGE = b"POST /a HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n"


def test_a_body_that_comes_drop_by_drop_is_not_waited_for_forever() -> None:
    desk = Desk(limit=LIMIT)
    desk.send(LARGE)
    desk.pass_s(1)
    trickle(desk, b"x", every_s=10, for_s=290)
    assert not desk.wire.is_closed
    trickle(desk, b"x", every_s=10, for_s=30)
    assert desk.wire.is_aborted


def test_a_body_that_comes_slowly_enough_to_be_one_is_taken() -> None:
    desk = Desk(limit=LIMIT)
    desk.send(LARGE)
    trickle(desk, bytes(5100), every_s=10, for_s=3600)
    assert not desk.wire.is_closed


def test_a_body_may_pause_within_what_its_size_gives_it() -> None:
    desk = Desk(limit=LIMIT)
    desk.send(LARGE)
    desk.pass_s(1)
    desk.send(bytes(500 * 250))
    desk.pass_s(290)
    desk.send(b"x")
    desk.pass_s(250)
    assert not desk.wire.is_closed
    desk.send(b"x")
    desk.pass_s(20)
    assert desk.wire.is_aborted


def test_the_time_that_a_body_was_held_up_by_us_is_not_counted() -> None:
    desk = Desk(limit=LIMIT)
    desk.send(LARGE)
    desk.pass_s(200)
    desk.connection.pause_reading()
    desk.pass_s(1000)
    desk.connection.resume_reading()
    desk.send(b"x")
    desk.pass_s(250)
    assert not desk.wire.is_closed


def test_without_a_least_rate_only_silence_counts() -> None:
    desk = Desk(limit=FrontLimit(client_stall_s=300, min_body_bytes_per_s=0))
    desk.send(LARGE)
    trickle(desk, b"x", every_s=200, for_s=20_000)
    assert not desk.wire.is_closed


def test_a_body_that_we_do_not_take_is_not_the_clients_fault() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(UPLOAD + b"0")
    desk.connection.pause_reading()
    desk.pass_s(1000)
    assert not desk.wire.is_closing()


def test_a_client_that_does_not_read_its_answer_is_dropped() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(GET)
    desk.connection.pause_writing()
    desk.pass_s(300)
    assert not desk.wire.is_closing()
    desk.pass_s(1)
    assert desk.wire.is_aborted


def test_a_client_that_does_not_read_its_last_answer_is_dropped_too() -> None:
    desk = Desk(limit=LIMIT)
    desk.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert desk.wire.is_closed
    desk.pass_s(300)
    assert not desk.wire.is_aborted
    desk.pass_s(1)
    assert desk.wire.is_aborted


def refused_early() -> Desk:
    def take(exchange: Exchange) -> Clerk:
        exchange.reply(413, TEXT, b"too large")
        return Clerk(exchange, is_slow=True)

    desk = Desk(take=take, limit=LIMIT)
    desk.send(UPLOAD)
    return desk


def test_a_refused_upload_that_goes_silent_is_dropped_soon() -> None:
    desk = refused_early()
    desk.pass_s(LINGER_S)
    assert not desk.wire.is_closing()
    desk.pass_s(0.1)
    assert desk.wire.is_aborted


def test_the_silence_of_a_refused_upload_counts_from_its_refusal() -> None:
    desk = Desk(is_slow=True, limit=LIMIT)
    desk.send(UPLOAD)
    desk.pass_s(10)
    desk.clerks[0].exchange.reply(408, TEXT, b"too slow")
    desk.pass_s(LINGER_S)
    assert not desk.wire.is_closing()


def test_a_refused_upload_that_never_ends_is_dropped_in_the_end() -> None:
    desk = refused_early()
    for _ in range(int(LINGER_TOTAL_S)):
        desk.pass_s(1)
        desk.send(b"more")
    assert not desk.wire.is_closing()
    desk.pass_s(1)
    assert desk.wire.is_aborted


def test_a_client_that_resets_as_it_is_answered_early_is_no_defect() -> None:
    def take(exchange: Exchange) -> Clerk:
        exchange.reply(413, TEXT, b"too large")
        return Clerk(exchange, is_slow=True)

    desk = Desk(take=take)
    desk.wire.is_reset = True
    assert statuses(desk.send(b"POST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\n")) == [413]
    assert not desk.wire.is_closed, "taken for a defect of ours"


# 100-continue


def taking(exchange: Exchange) -> Clerk:
    exchange.accept_body()
    return Clerk(exchange, is_slow=False)


EXPECTING = b"POST /b HTTP/1.1\r\ncontent-length: 2\r\nExpect: 100-Continue\r\n\r\n"


def test_a_client_that_asks_for_leave_to_send_gets_it() -> None:
    desk = Desk(take=taking)
    assert desk.send(EXPECTING) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(desk.send(b"ab")) == [200]
    assert not desk.wire.is_closing()


def test_leave_to_send_is_given_only_in_its_turn() -> None:
    desk = Desk(is_slow=True)
    assert desk.send(GET, EXPECTING) == b""
    desk._take = taking
    desk.clerks[0].answer()
    assert statuses(desk.wire.take()) == [200, 100]


def test_leave_to_send_may_be_refused_before_a_byte_is_sent() -> None:
    def take(exchange: Exchange) -> Clerk:
        exchange.reply(413, TEXT, b"too large")
        exchange.accept_body()
        return Clerk(exchange, is_slow=True)

    assert statuses(Desk(take=take).send(EXPECTING)) == [413]


def test_an_old_client_is_not_given_leave_it_cannot_understand() -> None:
    desk = Desk(take=taking)
    assert desk.send(EXPECTING.replace(b"1.1", b"1.0")) == b""
