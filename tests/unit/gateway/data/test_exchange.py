"""How an answer is framed for every kind of request, and when its connection can go on."""

import pytest
from tests.unit.gateway.data.desk import TEXT, Desk

from cortex.gateway.data.exchange import Exchange, status_line

HEADS = {
    "get": b"GET /a HTTP/1.1\r\n\r\n",
    "head": b"HEAD /a HTTP/1.1\r\n\r\n",
    "old": b"GET /a HTTP/1.0\r\n\r\n",
    "last": b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n",
    "unfinished": b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
}
HEAD_200 = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
TWO_CHUNKS = b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def taken(head: bytes) -> tuple[Desk, Exchange]:
    desk = Desk(is_slow=True)
    desk.send(head)
    return desk, desk.clerks[0].exchange


@pytest.mark.parametrize(
    ("kind", "expected", "goes_on"),
    [
        ("get", HEAD_200 + b"content-length: 5\r\n\r\nhello", True),
        ("head", HEAD_200 + b"content-length: 5\r\n\r\n", True),
        ("old", HEAD_200 + b"content-length: 5\r\n" + CLOSE + b"\r\nhello", False),
        ("last", HEAD_200 + b"content-length: 5\r\n" + CLOSE + b"\r\nhello", False),
        ("unfinished", HEAD_200 + b"content-length: 5\r\n" + CLOSE + b"\r\nhello", False),
    ],
)
def test_a_whole_answer_has_its_length(kind: str, expected: bytes, goes_on: bool) -> None:
    desk, exchange = taken(HEADS[kind])
    exchange.reply(200, TEXT, b"hello")
    assert desk.wire.take() == expected
    assert (desk.wire.is_closed or desk.wire.has_eof) is not goes_on


@pytest.mark.parametrize(
    ("kind", "expected", "goes_on"),
    [
        ("get", HEAD_200 + CHUNKED + b"\r\n" + TWO_CHUNKS, True),
        ("head", HEAD_200 + CHUNKED + b"\r\n", True),
        ("old", HEAD_200 + CLOSE + b"\r\nonetwo", False),
        ("last", HEAD_200 + CHUNKED + CLOSE + b"\r\n" + TWO_CHUNKS, False),
        ("unfinished", HEAD_200 + CHUNKED + CLOSE + b"\r\n" + TWO_CHUNKS, False),
    ],
)
def test_an_answer_of_unknown_length_is_chunked_where_the_client_can_read_that(
    kind: str, expected: bytes, goes_on: bool
) -> None:
    desk, exchange = taken(HEADS[kind])
    exchange.begin(200, TEXT, None)
    exchange.write(b"one")
    exchange.finish(b"two")
    assert desk.wire.take() == expected
    assert (desk.wire.is_closed or desk.wire.has_eof) is not goes_on


def test_an_answer_of_known_length_is_passed_on_as_it_comes() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(200, TEXT, 6)
    exchange.write(b"one")
    assert desk.wire.take() == HEAD_200 + b"content-length: 6\r\n\r\none"
    exchange.write(b"two")
    assert desk.wire.take() == b"two"
    exchange.finish()
    assert desk.wire.take() == b""
    assert not desk.wire.is_closed


def test_the_head_waits_for_the_first_part_of_the_body() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(200, TEXT, None)
    assert desk.wire.take() == b""
    exchange.write(b"one")
    assert desk.wire.take() == HEAD_200 + CHUNKED + b"\r\n3\r\none\r\n"


def test_an_empty_part_sends_the_head_and_ends_nothing() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(200, TEXT, None)
    exchange.write(b"")
    assert desk.wire.take() == HEAD_200 + CHUNKED + b"\r\n"
    exchange.write(b"")
    assert desk.wire.take() == b""
    exchange.finish()
    assert desk.wire.take() == b"0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [None, 0, 5])
def test_an_answer_that_can_have_no_body_has_neither_length_nor_body(status: int, length: int | None) -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(status, b"", length)
    exchange.write(b"oops")
    exchange.finish(b"oops")
    written = desk.wire.take()
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert written.endswith(b"\r\n\r\n")
    assert b"content-length" not in written
    assert b"transfer-encoding" not in written
    assert not desk.wire.is_closed


def test_nothing_is_written_once_the_answer_has_ended() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.reply(200, TEXT, b"hello")
    desk.wire.take()
    exchange.write(b"more")
    exchange.finish(b"more")
    assert desk.wire.take() == b""
    assert not desk.wire.is_closed


def test_an_answer_broken_off_cannot_be_taken_for_whole() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(200, TEXT, None)
    exchange.write(b"one")
    desk.wire.take()
    exchange.abort()
    exchange.finish(b"two")
    assert desk.wire.take() == b""
    assert desk.wire.is_aborted


def test_an_answer_may_decide_late_to_be_the_last() -> None:
    desk, exchange = taken(HEADS["get"])
    exchange.begin(200, TEXT, None)
    exchange.write(b"one")
    exchange.is_keep_alive = False
    exchange.finish()
    assert desk.wire.is_closed


def test_a_handler_is_let_go_with_its_answer() -> None:
    _, exchange = taken(HEADS["get"])
    assert exchange.handler is not None
    exchange.reply(200, TEXT, b"")
    assert exchange.handler is None
    _, exchange = taken(HEADS["get"])
    exchange.abort()
    assert exchange.handler is None


def test_the_first_of_several_headers_counts() -> None:
    _, exchange = taken(b"GET / HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n")
    assert exchange.header(b"a") == b"1"
    assert exchange.header(b"b") is None


@pytest.mark.parametrize(
    ("names", "value"),
    [((b"c", b"b", b"a"), b"2"), ((b"a", b"b"), b"1"), ((b"c", b"x"), None), ((), None)],
    ids=["an empty one is passed over", "the first", "none", "nothing asked for"],
)
def test_of_several_names_the_first_counts_that_says_something(names: tuple[bytes, ...], value: bytes | None) -> None:
    _, exchange = taken(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC:\r\n\r\n")
    assert exchange.first_header(names) == value


@pytest.mark.parametrize(
    ("header", "length"),
    [(b"Content-Length: 5", 5), (b"Content-Length: 007 ", 7), (b"Transfer-Encoding: chunked", None), (b"X: y", None)],
)
def test_the_declared_length_of_a_body(header: bytes, length: int | None) -> None:
    _, exchange = taken(b"POST / HTTP/1.1\r\n" + header + b"\r\n\r\n")
    assert exchange.content_length == length


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"HTTP/1.1 200 OK\r\n"), (503, b"HTTP/1.1 503 Service Unavailable\r\n"), (799, b"HTTP/1.1 799 \r\n")],
)
def test_every_status_has_a_line(status: int, line: bytes) -> None:
    assert status_line(status) == line


def test_leave_to_send_is_not_given_twice_over() -> None:
    desk, exchange = taken(b"POST / HTTP/1.1\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n")
    exchange.begin(200, TEXT, None)
    exchange.accept_body()
    assert desk.wire.take() == b""
    for head in (
        b"GET / HTTP/1.1\r\nexpect: 100-continue\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\nexpect: a miracle\r\n\r\n",
    ):
        desk, exchange = taken(head)
        exchange.accept_body()
        assert desk.wire.take() == b""
