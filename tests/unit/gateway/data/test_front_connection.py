"""What a client may send: every request is understood, or refused, the same however its bytes are cut."""

from typing import NamedTuple

import pytest
from tests.unit.gateway.data.desk import Desk, statuses
from tests.unit.gateway.data.wire import cuts

from cortex.gateway.data.front import FrontLimit

Seen = list[tuple[bytes, bytes, bytes, bytes]]

CHUNKED = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n\r\n"
SMALL = FrontLimit(max_header_bytes=1024)

GOOD: dict[str, tuple[bytes, Seen]] = {
    "get": (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", [(b"GET", b"/a", b"", b"")]),
    "query": (b"GET /a?b=c?d HTTP/1.1\r\n\r\n", [(b"GET", b"/a", b"b=c?d", b"")]),
    "body": (b"POST /a HTTP/1.1\r\nContent-Length: 3 \r\n\r\nabc", [(b"POST", b"/a", b"", b"abc")]),
    "empty body": (b"POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n", [(b"POST", b"/a", b"", b"")]),
    "chunks": (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", [(b"POST", b"/c", b"", b"abcde")]),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nTrailer: x\r\n\r\n", [(b"POST", b"/c", b"", b"a")]),
    "blank lines first": (b"\r\n\r\nGET /a HTTP/1.1\r\n\r\n", [(b"GET", b"/a", b"", b"")]),
    "absolute form": (b"GET http://h:80/a?b HTTP/1.1\r\nHost: h\r\n\r\n", [(b"GET", b"/a", b"b", b"")]),
    "absolute form without path": (b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", [(b"GET", b"/", b"", b"")]),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\n\r\n", [(b"OPTIONS", b"*", b"", b"")]),
    "strange headers": (b"GET /a HTTP/1.1\r\nE:\r\nX-U: \xc3\xa9\xff\r\n\r\n", [(b"GET", b"/a", b"", b"")]),
    "pipelined": (
        b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\nxy"
        + CHUNKED
        + b"1\r\nz\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n",
        [
            (b"GET", b"/a", b"", b""),
            (b"POST", b"/b", b"", b"xy"),
            (b"POST", b"/c", b"", b"z"),
            (b"GET", b"/d", b"", b""),
        ],
    ),
    "offer of h2c": (b"GET /a?q HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n", [(b"GET", b"/a", b"q", b"")]),
    "offer of h2c with a body": (
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n" + H2C + b"\r\nabcGET /b HTTP/1.1\r\n\r\n",
        [(b"POST", b"/a", b"", b"abc"), (b"GET", b"/b", b"", b"")],
    ),
    "offer of h2c with chunks": (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + H2C + b"\r\n3\r\nabc\r\n0\r\n\r\n",
        [(b"POST", b"/a", b"", b"abc")],
    ),
    "offers of h2c with every request": (
        2 * (b"GET /a HTTP/1.1\r\n" + H2C + b"\r\n"),
        2 * [(b"GET", b"/a", b"", b"")],
    ),
}

BAD: dict[str, tuple[bytes, int]] = {
    "length and chunks": (
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "chunks and length": (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "two lengths": (b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "negative length": (b"POST /a HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc", 400),
    "huge length": (b"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    "signed length": (b"POST /a HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", 400),
    "no length": (b"POST /a HTTP/1.1\r\nContent-Length: \r\n\r\nabc", 400),
    "folded header": (b"GET /a HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400),
    "bare line feeds": (b"GET /a HTTP/1.1\nX: a\n\n", 400),
    "bare carriage return": (b"GET /a HTTP/1.1\r\nX: a\rY: b\r\n\r\n", 400),
    "nul in a header": (b"GET /a HTTP/1.1\r\nX: a\x00b\r\n\r\n", 400),
    "blank before the colon": (b"POST /a HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400),
    "nameless header": (b"GET /a HTTP/1.1\r\n: b\r\n\r\n", 400),
    "unknown coding": (b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc", 400),
    "chunked twice": (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "bad chunk": (CHUNKED + b"3\r\nabc\r\nzz\r\n", 400),
    "connect": (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "unknown method": (b"FOO /a HTTP/1.1\r\n\r\n", 400),
    "unknown version": (b"GET /a HTTP/1.2\r\n\r\n", 400),
    "blank in the path": (b"GET /a b HTTP/1.1\r\n\r\n", 400),
    "raw utf-8 in the path": (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
    "words": (b"hello\r\n\r\n", 400),
    "large header": (b"GET /a HTTP/1.1\r\nX: " + b"x" * 2000 + b"\r\n\r\n", 431),
    "endless header": (b"GET /a HTTP/1.1\r\nX: " + b"x" * 2000, 431),
    "many headers": (b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * 400 + b"\r\n", 431),
    "large path": (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n", 431),
    "large header beside an offer of h2c": (b"GET /a HTTP/1.1\r\nX: " + b"x" * 2000 + b"\r\n" + H2C + b"\r\n", 431),
    "endless blank lines": (b"\r\n" * 1000, 431),
}


class Outcome(NamedTuple):
    written: bytes
    seen: Seen
    told: list[list[str]]
    is_closed: bool
    is_aborted: bool
    has_eof: bool
    is_deaf: bool


def outcome(pieces: list[bytes]) -> Outcome:
    desk = Desk(limit=SMALL)
    written = desk.send(*pieces)
    wire = desk.wire
    told = [clerk.told for clerk in desk.clerks]
    after = len(desk.clerks)
    if not wire.is_closing():
        desk.send(b"GET /after HTTP/1.1\r\n\r\n")
    is_deaf = len(desk.clerks) == after
    return Outcome(written, desk.seen()[:after], told, wire.is_closed, wire.is_aborted, wire.has_eof, is_deaf)


@pytest.mark.parametrize("case", GOOD)
def test_a_request_is_understood_however_its_bytes_are_cut(case: str) -> None:
    data, seen = GOOD[case]
    whole = outcome([data])
    assert whole.seen == seen
    assert statuses(whole.written) == [200] * len(seen)
    assert not whole.is_deaf
    for pieces in cuts(data):
        assert outcome(pieces) == whole


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_request_is_refused_however_its_bytes_are_cut(case: str) -> None:
    data, status = BAD[case]
    whole = outcome([data])
    assert statuses(whole.written)[-1:] == [status]
    assert b"connection: close" in whole.written
    assert whole.is_deaf
    assert whole.has_eof
    assert not whole.is_aborted
    assert b"/smuggled" not in [seen[1] for seen in whole.seen]
    for pieces in cuts(data):
        assert outcome(pieces) == whole


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_request_is_refused_after_the_requests_before_it_were_answered(case: str) -> None:
    data, status = BAD[case]
    before = b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\ncontent-length: 2\r\n\r\nxy"
    desk = Desk(is_slow=True, limit=SMALL)
    assert desk.send(before, data) == b""
    desk.clerks[0].answer()
    desk.clerks[1].answer()
    assert statuses(desk.wire.take()) == [200, 200, status]
    assert len(desk.clerks) == 2
    assert desk.wire.has_eof


def test_the_headers_reach_the_handler_with_names_in_lower_case() -> None:
    desk = Desk()
    desk.send(b"GET /a HTTP/1.1\r\nX-One: 1\r\nx-TWO:2\r\nEmpty:\r\nX-One: 3\r\n\r\n")
    exchange = desk.clerks[0].exchange
    assert exchange.headers == [(b"x-one", b"1"), (b"x-two", b"2"), (b"empty", b""), (b"x-one", b"3")]
    assert exchange.connection.peer == "192.0.2.7"


def test_trailers_are_not_headers() -> None:
    desk = Desk()
    desk.send(CHUNKED + b"1\r\na\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
    assert desk.clerks[0].exchange.header(b"x-forwarded-for") is None


def test_an_offer_of_another_protocol_is_not_seen_by_the_handler() -> None:
    desk = Desk()
    desk.send(b"GET /a HTTP/1.1\r\nHost: x\r\nAccept: y\r\n" + H2C + b"\r\n")
    assert desk.clerks[0].exchange.headers == [(b"host", b"x"), (b"accept", b"y")]


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /a HTTP/1.0\r\n",
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n",
        b"GET /a HTTP/1.1\r\nConnection: close\r\n",
        b"GET /a HTTP/1.0\r\n" + H2C,
        b"GET /a HTTP/2.0\r\n",
        b"GET /a\r\n",
    ],
    ids=["1.0", "1.0 keep-alive", "close", "1.0 with h2c", "2.0", "0.9"],
)
def test_a_client_that_cannot_go_on_is_answered_and_closed(request_head: bytes) -> None:
    for pieces in cuts(request_head + b"\r\n"):
        desk = Desk()
        written = desk.send(*pieces)
        assert statuses(written) == [200]
        assert b"connection: close\r\n" in written
        assert desk.wire.is_closed
        assert not desk.wire.is_aborted


def test_nothing_is_taken_after_a_request_that_closes() -> None:
    desk = Desk()
    written = desk.send(b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    assert desk.seen() == [(b"GET", b"/a", b"", b"")]
    assert statuses(written) == [200]


def test_an_old_client_on_a_used_connection_gets_no_chunks() -> None:
    desk = Desk(is_slow=True)
    desk.send(b"GET /a HTTP/1.1\r\n\r\n")
    desk.clerks[0].answer()
    desk.send(b"GET /b HTTP/1.0\r\n\r\n")
    assert desk.clerks[1].exchange.is_http10


def test_headers_are_measured_without_the_body_that_came_with_them() -> None:
    desk = Desk(limit=SMALL)
    written = desk.send(b"POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"b" * 5000)
    assert statuses(written) == [200]
    assert desk.clerks[0].body == b"b" * 5000


@pytest.mark.parametrize("offer", [b"", H2C], ids=["plain", "beside an offer of h2c"])
def test_headers_are_measured_though_their_end_comes_with_what_is_too_much(offer: bytes) -> None:
    head = b"GET /a HTTP/1.1\r\n" + offer + b"X: " + b"x" * 1200 + b"\r\n\r\n"
    assert statuses(Desk(limit=SMALL).send(head[:900], head[900:])) == [431]


def test_headers_are_measured_though_another_request_came_with_them() -> None:
    large = b"GET /b HTTP/1.1\r\nX: " + b"x" * 1200 + b"\r\n\r\n"
    assert statuses(Desk(limit=SMALL).send(b"GET /a HTTP/1.1\r\n\r\n" + large)) == [200, 431]


def test_headers_are_measured_for_each_request_anew() -> None:
    desk = Desk(limit=SMALL)
    for _ in range(5):
        assert statuses(desk.send(b"GET /a HTTP/1.1\r\nX: ", b"x" * 900, b"\r\n\r\n")) == [200]


def test_a_large_body_may_come_in_any_number_of_small_chunks() -> None:
    desk = Desk(limit=SMALL)
    written = desk.send(CHUNKED, *[b"1\r\na\r\n"] * 2000, b"0\r\n\r\n")
    assert statuses(written) == [200]
    assert desk.clerks[0].body == b"a" * 2000


@pytest.mark.parametrize("start", [b"1\r\na\r\n0\r\nT: ", b"1;"], ids=["trailer", "chunk extension"])
def test_what_is_no_body_does_not_pile_up_within_one(start: bytes) -> None:
    desk = Desk(limit=SMALL)
    written = desk.send(CHUNKED + start, *[b"x" * 300] * 4)
    assert statuses(written) == [431]
    assert desk.clerks[0].told == ["gone"]
