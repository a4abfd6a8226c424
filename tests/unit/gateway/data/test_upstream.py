"""What an engine may answer: taken or given up the same however it is cut; connections used again only when safe."""

import gc
import weakref
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
from tests.unit.gateway.data.desk import Hands
from tests.unit.gateway.data.engine import Caller, target
from tests.unit.gateway.data.wire import Wire, cuts

from cortex.gateway.data.upstream import MAX_HEADER_BYTES, Upstream, UpstreamConnection
from cortex.kit.task import TaskOwner

if TYPE_CHECKING:
    import asyncio

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def an_idle_upstream() -> Upstream:
    """An upstream whose clock is set by hand and whose loop is never used."""
    return Upstream(cast("asyncio.AbstractEventLoop", Hands()), TaskOwner(), connect_timeout_s=5, idle_limit_s=60)


class Line:
    """A connection to an engine on a wire, with one request sent."""

    def __init__(self, upstream: Upstream | None = None) -> None:
        self.upstream = upstream or an_idle_upstream()
        self.origin = self.upstream.origin(target("http://engine:8000/i/abc"))
        self.connection = UpstreamConnection(self.origin)
        self.wire = Wire(self.connection)
        self.caller = self.ask()

    def ask(self, *, finishes: bool = True) -> Caller:
        self.caller = Caller(finishes=finishes)
        self.connection.send(self.caller, b"POST / HTTP/1.1\r\n\r\n", b"")
        return self.caller

    def take(self, now_s: float = 1000.0) -> UpstreamConnection | None:
        return self.origin.take(now_s)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.is_closing():
                self.connection.data_received(piece)

    def end(self) -> None:
        self.wire.end()
        self.wire.lose()


class Outcome(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    last_told: str
    why: str | None
    is_untouched: bool
    is_reusable: bool


def outcome(pieces: list[bytes], *, ends: bool) -> Outcome:
    line = Line()
    line.feed(*pieces)
    is_reusable = line.take() is line.connection
    if ends:
        line.end()
    caller = line.caller
    assert caller.told.count("whole") + caller.told.count("lost") == 1
    why = caller.error.message if caller.error else None
    return Outcome(caller.status, caller.headers, caller.body, caller.told[-1], why, caller.is_untouched, is_reusable)


# bytes, status, body, can the connection be used again
ANSWERS: dict[str, tuple[bytes, int, bytes, bool]] = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", 200, b"abc", True),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "chunks": (CHUNKED + b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n", 200, b"abcd", True),
    "blank behind the coding": (OK + b"Transfer-Encoding: chunked \r\n\r\n1\r\na\r\n0\r\n\r\n", 200, b"a", True),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"a", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", 200, b"a", True),
    "103 first": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", 200, b"a", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", 200, b"a", True),
    "error": (b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\na", 503, b"a", True),
    "strange status": (b"HTTP/1.1 799 What\r\nContent-Length: 1\r\n\r\na", 799, b"a", True),
    "offer of an upgrade": (OK + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na", 200, b"a", True),
    "length, closing": (OK + b"Content-Length: 1\r\nConnection: close\r\n\r\na", 200, b"a", False),
    "chunks, closing": (OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", False),
    "http/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, b"a", False),
    "http/1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
        200,
        b"a",
        True,
    ),
}

UNTIL_CLOSE: dict[str, tuple[bytes, bytes]] = {
    "http/1.1": (OK + b"Content-Type: x\r\n\r\nabc", b"abc"),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    "other coding": (OK + b"Transfer-Encoding: gzip\r\n\r\nabc", b"abc"),
    "nothing": (OK + b"\r\n", b""),
}

BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "garbage": b"hello\r\n\r\n",
    "half a status line": b"HTTP/1.1 2",
    "half a head": OK + b"Content-Le",
    "length too long": OK + b"Content-Length: 5\r\n\r\nabc",
    "half a chunk": CHUNKED + b"5\r\nabc",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "half a trailer": CHUNKED + b"0\r\nX: ",
    "only 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "only 100s": 4000 * b"HTTP/1.1 100 Continue\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabc",
    "status 000": b"HTTP/1.1 000 \r\nContent-Length: 1\r\n\r\na" + OK + b"Content-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 x\r\nContent-Length: 1\r\n\r\na",
    "length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "bad chunk": CHUNKED + b"zz\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded header": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "injected header": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "nul": OK + b"X: a\x00\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_taken_however_its_bytes_are_cut(case: str) -> None:
    data, status, body, is_reusable = ANSWERS[case]
    whole = outcome([data], ends=False)
    assert (whole.status, whole.body, whole.last_told, whole.is_reusable) == (status, body, "whole", is_reusable)
    for pieces in cuts(data):
        assert outcome(pieces, ends=False) == whole


@pytest.mark.parametrize("case", UNTIL_CLOSE)
def test_an_answer_without_length_ends_with_its_connection_which_is_not_used_again(case: str) -> None:
    data, body = UNTIL_CLOSE[case]
    for pieces in cuts(data):
        found = outcome(pieces, ends=True)
        assert (found.status, found.body, found.last_told, found.is_reusable) == (200, body, "whole", False)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_answer_is_lost_once_however_its_bytes_are_cut(case: str) -> None:
    data = BROKEN[case]
    whole = outcome([data], ends=True) if data else outcome([], ends=True)
    assert whole.last_told == "lost"
    assert not whole.is_untouched
    assert not whole.is_reusable
    for pieces in cuts(data) if len(data) < 5000 else ():
        found = outcome([piece for piece in pieces if piece], ends=True)
        assert found[3:] == whole[3:]


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", CHUNKED + b"zz\r\n", OK + b"X: " + b"y" * 70_000])
def test_an_engine_that_is_not_understood_is_left_at_once(data: bytes) -> None:
    line = Line()
    line.feed(data)
    assert line.wire.is_aborted
    assert line.caller.told[-1] == "lost"


def test_a_reset_in_an_answer_without_length_is_a_loss() -> None:
    line = Line()
    line.feed(OK + b"\r\nabc")
    line.connection.connection_lost(ConnectionResetError("reset"))
    assert line.caller.told == ["part", "lost"]
    assert line.caller.error is not None
    assert "in the middle of its answer: reset" in line.caller.error.message


@pytest.mark.parametrize("extra", [b"x", OK, b"\r\n\r\nxx", OK + b"Content-Length: 1\r\n\r\nb"])
def test_what_follows_an_answer_is_not_taken_and_the_connection_not_used_again(extra: bytes) -> None:
    data = OK + b"Content-Length: 1\r\n\r\na"
    for pieces in cuts(data + extra):
        line = Line()
        line.feed(*pieces)
        assert line.caller.told.count("whole") == 1
        assert line.caller.body == b"a"
        assert line.wire.is_closing()
        assert line.take() is None


def test_one_read_is_one_call_with_all_it_held() -> None:
    line = Line()
    line.feed(CHUNKED + b"1\r\na\r\n2\r\nbc\r\n3\r\nd", b"ef\r\n1\r\ng\r\n0\r\n\r\n")
    assert line.caller.pieces == [b"abcd", b"efg"]


def test_the_head_is_told_before_any_body_has_come() -> None:
    line = Line()
    line.feed(CHUNKED)
    assert line.caller.told == ["part"]
    assert line.caller.status == 200


def test_pieces_are_copies_of_their_own() -> None:
    line = Line()
    data = bytearray(CHUNKED + b"3\r\nabc\r\n")
    line.connection.data_received(data)  # type: ignore[arg-type]
    data[:] = b"x" * len(data)
    assert line.caller.pieces == [b"abc"]


def test_headers_have_lower_case_names_and_no_trailers() -> None:
    line = Line()
    line.feed(OK + b"X-One: 1\r\nEmpty:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Two: 2\r\n\r\n")
    assert line.caller.headers == [(b"x-one", b"1"), (b"empty", b""), (b"transfer-encoding", b"chunked")]


def test_headers_before_the_final_status_are_not_its_own() -> None:
    line = Line()
    line.feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")
    assert line.caller.headers == [(b"content-length", b"0")]


def test_giant_headers_are_given_up() -> None:
    line = Line()
    for _ in range(MAX_HEADER_BYTES // 1024 + 1):
        line.feed(b"X: y\r\n" * 171 if line.connection._read_bytes else OK)
    assert line.caller.told == ["lost"]
    assert line.caller.error is not None
    assert "headers are larger than 65536 bytes" in line.caller.error.message


def test_giant_headers_in_one_read_are_given_up_too() -> None:
    line = Line()
    line.feed(OK + b"X: " + b"y" * (MAX_HEADER_BYTES + 1) + b"\r\nContent-Length: 0\r\n\r\n")
    assert line.caller.told == ["lost"]
    assert line.caller.error is not None
    assert "headers larger than 65536 bytes" in line.caller.error.message


def test_a_large_body_beside_small_headers_is_no_giant_header() -> None:
    line = Line()
    line.feed(OK + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000)
    assert line.caller.told == ["whole"]


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"1;"], ids=["trailer", "chunk extension"])
def test_what_is_no_body_does_not_pile_up(start: bytes) -> None:
    line = Line()
    line.feed(CHUNKED + start)
    for _ in range(3):
        line.feed(b"x" * MAX_HEADER_BYTES)
    assert line.caller.told[-1] == "lost"
    assert line.wire.is_aborted


def test_many_small_chunks_are_no_pile() -> None:
    line = Line()
    line.feed(CHUNKED, *[b"1\r\n", b"a\r\n"] * 45_000, b"0\r\n\r\n")
    assert line.caller.told[-1] == "whole"


def test_an_early_complete_answer_is_taken_but_the_connection_is_not_used_again() -> None:
    line = Line()
    line.wire.unflushed_bytes = 100
    line.feed(b"HTTP/1.1 400 Bad\r\nContent-Length: 1\r\n\r\na")
    assert line.caller.told == ["whole"]
    assert line.wire.is_aborted
    assert line.take() is None


def test_a_connection_whose_request_was_not_sent_whole_is_not_used_again() -> None:
    line = Line()
    caller = line.ask(finishes=False)
    line.feed(OK + b"Content-Length: 0\r\n\r\n")
    assert caller.told == ["whole"]
    line.connection.finish(is_request_sent=False)
    assert line.take() is None


def test_a_reused_connection_that_closes_before_it_answers_is_untouched() -> None:
    line = Line()
    line.feed(OK + b"Content-Length: 0\r\n\r\n")
    assert line.take() is line.connection
    caller = line.ask()
    line.end()
    assert caller.told == ["lost"]
    assert caller.is_untouched


def test_a_reused_connection_that_closes_after_one_byte_is_not_untouched() -> None:
    line = Line()
    line.feed(OK + b"Content-Length: 0\r\n\r\n")
    line.take()
    caller = line.ask()
    line.feed(b"H")
    line.end()
    assert caller.told == ["lost"]
    assert not caller.is_untouched


def test_a_reused_connection_answers_anew() -> None:
    line = Line()
    for body in (b"a", b"b", b"c"):
        caller = line.ask()
        line.feed(OK + b"Content-Length: 1\r\n\r\n" + body)
        assert caller.told == ["whole"]
        assert caller.body == body
        assert line.take() is line.connection


def test_an_engine_that_speaks_unasked_is_left() -> None:
    line = Line()
    line.feed(OK + b"Content-Length: 0\r\n\r\n")
    line.feed(b"HTTP/1.1 408 Too slow\r\n\r\n")
    assert line.wire.is_aborted
    assert line.take() is None


def test_a_dropped_connection_closes_at_once_and_tells_nothing_more() -> None:
    line = Line()
    line.feed(CHUNKED + b"1\r\na\r\n")
    line.connection.drop()
    assert line.wire.is_aborted
    line.wire.lose()
    assert line.caller.told == ["part"]


def test_the_owner_hears_of_an_engine_that_reads_slowly() -> None:
    line = Line()
    line.connection.pause_writing()
    line.connection.resume_writing()
    assert line.caller.told == ["pause", "resume"]
    line.feed(OK + b"Content-Length: 0\r\n\r\n")
    line.connection.pause_writing()
    line.connection.resume_writing()


class Referable(UpstreamConnection):
    """The same without slots, so that it can be referred to weakly."""


def test_a_connection_that_is_gone_is_freed_at_once_without_the_collector() -> None:
    upstream = an_idle_upstream()
    connection = Referable(upstream.origin(target("http://engine")))
    wire = Wire(connection)
    gc.disable()
    try:
        connection.send(Caller(), b"POST / HTTP/1.1\r\n\r\n", b"")
        wire.read(OK + b"Content-Length: 0\r\n\r\n")
        wire.lose()
        wire.protocol = None  # type: ignore[assignment]  # as the loops do
        gone = weakref.ref(connection)
        del connection, wire
        assert gone() is None
    finally:
        gc.enable()


def test_a_large_body_is_not_copied_behind_its_head() -> None:
    line = Line()
    line.wire.take()
    written: list[bytes] = []
    line.wire.write = written.append  # type: ignore[method-assign]
    large = b"x" * 20_000
    line.connection.send(line.caller, b"HEAD", large)
    line.connection.send(line.caller, b"HEAD", b"small")
    assert written == [b"HEAD", large, b"HEADsmall"]
    assert written[1] is large
