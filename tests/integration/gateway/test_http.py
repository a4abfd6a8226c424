"""HTTP/1.1 as clients really speak it, and as they should not: one connection, byte for byte."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chat_body, event, good
from tests.integration.gateway.raw_client import request
from tests.integration.gateway.scene import ASK, ASK_STREAM, Scene, scene, until

PAGE = request(b"", path="/livez", method="GET")
OK = b'{"status":"ok"}'


class Stuck:
    """An engine that begins a stream and goes on only when it may."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def script(self, turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("first"))
        await self.go_on.wait()
        await turn.events(event("second"), DONE)
        await turn.finish()


@pytest.mark.parametrize("body", [ASK, ASK_STREAM], ids=["whole", "stream"])
@scene()
async def test_a_request_may_come_byte_by_byte(it: Scene, body: dict) -> None:
    async with it.client() as client:
        for byte in request(body, "x-some: header"):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200
    assert it.turns[0].json()["messages"] == ASK["messages"]


@scene()
async def test_a_chunked_request_may_come_byte_by_byte(it: Scene) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nTransfer-Encoding: Chunked\r\n\r\n"
    body = b'5;ext="1"\r\n{"mod\r\n00b\r\nel":"org/m"\r\n1\r\n}\r\n0\r\ntrailer: x\r\n\r\n'
    async with it.client() as client:
        for byte in head + body + PAGE:
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200
        assert (await client.answer()).body == OK
    assert it.turns[0].text == b'{"model":"org/m"}'
    assert "transfer-encoding" not in it.turns[0].headers


@scene()
async def test_pipelined_requests_are_answered_in_order_also_behind_a_stream(it: Scene) -> None:
    stuck = Stuck()
    it.engine.scripts = [stuck.script, good]
    async with it.client() as client:
        await client.send(request(ASK_STREAM) + PAGE + request(ASK) + request(b"{}") + PAGE + request(ASK_STREAM))
        assert (await client.head()).header("content-type") == "text/event-stream"
        assert await client.piece() == event("first")
        assert len(it.turns) == 1, "the second engine request waits for the first answer"
        stuck.go_on.set()
        assert await client.body() == event("second") + DONE
        assert (await client.answer()).body == OK
        assert (await client.answer()).body == chat_body()
        assert (await client.answer()).status == 400
        assert (await client.answer()).body == OK
        assert (await client.answer()).body.endswith(DONE)
    assert len(it.turns) == 3


@scene()
async def test_large_requests_wait_behind_a_stream_without_being_read_all(it: Scene) -> None:
    stuck = Stuck()
    it.engine.scripts = [stuck.script, good]
    large = {**ASK, "x": "y" * 4_000_000}
    async with it.client() as client, asyncio.TaskGroup() as group:
        await client.send(request(ASK_STREAM))
        await client.head()
        assert await client.piece() == event("first")
        sending = group.create_task(client.send(request(large) * 4))
        door = it.gateway._door
        await until(lambda: any(not taken.transport.is_reading() for taken in door.connections))
        assert not sending.done(), "16 MB behind a stream were taken in"
        stuck.go_on.set()
        await client.body()
        for _ in range(4):
            assert (await client.answer()).status == 200
    assert [len(turn.text) for turn in it.turns[1:]] == [len(request(large).partition(b"\r\n\r\n")[2])] * 4


@scene()
async def test_too_many_pipelined_requests_are_400_after_the_answers_to_those_before(it: Scene) -> None:
    stuck = Stuck()
    it.engine.scripts = [stuck.script, good]
    async with it.client() as client:
        await client.send(request(ASK_STREAM) + PAGE * 200)
        await client.head()
        assert await client.piece() == event("first")
        stuck.go_on.set()
        assert (await client.body()).endswith(DONE)
        statuses = [(await client.answer()).status]
        while statuses[-1] == 200:
            statuses.append((await client.answer()).status)
        assert await client.rest() == b""
    assert 100 < len(statuses) < 200
    assert statuses[-1] == 400


@scene()
async def test_a_thousand_pipelined_pages_are_answered(it: Scene) -> None:
    async with it.client() as client, asyncio.TaskGroup() as group:
        sending = group.create_task(client.send(PAGE * 1000))
        for _ in range(1000):
            assert (await client.answer()).body == OK
        await sending


@scene()
async def test_garbage_behind_a_running_request_does_not_touch_its_answer(it: Scene) -> None:
    stuck = Stuck()
    it.engine.scripts = [stuck.script]
    async with it.client() as client:
        await client.send(request(ASK_STREAM))
        await client.head()
        assert await client.piece() == event("first")
        await client.send(b"\x16\x03\x01 garbage\r\n\r\n")
        await it.get("/livez")
        stuck.go_on.set()
        assert await client.body() == event("second") + DONE
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


@scene()
async def test_a_client_that_half_closes_before_its_answer_counts_as_gone(it: Scene) -> None:
    """A full close looks the same from here, and an engine must not generate for nobody."""
    stuck = Stuck()
    it.engine.scripts = [stuck.script]
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        await client.head()
        assert await client.piece() == event("first")
        client.half_close()
        await it.turns[0].until_lost()
        assert b"second" not in await client.rest()


@scene()
async def test_a_client_that_half_closes_after_its_answer_is_let_go_in_good_order(it: Scene) -> None:
    async with it.client() as client:
        await client.send(PAGE)
        client.half_close()
        assert (await client.answer()).body == OK
        assert await client.rest() == b""


@pytest.mark.parametrize("at", [10, 40, 90], ids=["in-the-path", "in-a-header", "in-the-body"])
@pytest.mark.parametrize("how", ["half_close", "vanish"])
@scene()
async def test_a_request_that_is_never_finished_reaches_no_engine(it: Scene, at: int, how: str) -> None:
    async with it.client() as client:
        await client.send(request(ASK)[:at])
        await until(lambda: bool(it.gateway._door.connections))
        getattr(client, how)()
        await until(lambda: not it.gateway._door.connections)
        if how == "half_close":
            assert await client.rest() == b""
    assert it.turns == []


@scene()
async def test_expect_100_continue_is_answered_before_the_body_comes(it: Scene) -> None:
    head, _, body = request(ASK, "Expect: 100-Continue").partition(b"\r\n\r\n")
    async with it.client() as client:
        await client.send(head + b"\r\n\r\n")
        assert await client.line() == b"HTTP/1.1 100 Continue\r\n"
        assert await client.line() == b"\r\n"
        assert it.turns == []
        await client.send(body)
        assert (await client.answer()).body == chat_body()
        await client.send(PAGE)
        assert (await client.answer()).body == OK
    assert "expect" not in it.turns[0].headers


@pytest.mark.parametrize(
    ("path", "status", "more"),
    [
        ("/v1/chat/completions", 413, ()),
        ("/v1/chat/completions", 415, ("content-encoding: gzip",)),
        ("/nothing", 404, ()),
        ("/livez", 405, ()),
    ],
)
@scene(max_body_mb=1)
async def test_a_client_that_asks_before_sending_is_refused_without_100(
    it: Scene, path: str, status: int, more: tuple[str, ...]
) -> None:
    lines = [f"POST {path} HTTP/1.1", "host: g", "expect: 100-continue", "content-length: 2000000", *more, "", ""]
    async with it.client() as client:
        await client.send("\r\n".join(lines).encode())
        answer = await client.answer()
        assert (answer.status, answer.header("connection")) == (status, "close")
        assert await client.rest() == b""


@scene()
async def test_http_1_0_gets_no_chunks_and_a_closed_connection(it: Scene) -> None:
    async with it.client() as client:
        await client.send(request(ASK_STREAM, "connection: keep-alive", version="1.0"))
        head = await client.head()
        assert (head.header("transfer-encoding"), head.header("content-length")) == (None, None)
        assert (await client.rest()).endswith(DONE)
    async with it.client() as client:
        await client.send(request(ASK, version="1.0"))
        answer = await client.answer()
        assert answer.body == chat_body()
        assert answer.header("content-length") == str(len(chat_body()))
        assert await client.rest() == b""


@scene()
async def test_connection_close_is_kept_to(it: Scene) -> None:
    async with it.client() as client:
        await client.send(request(ASK_STREAM, "connection: close"))
        answer = await client.answer()
        assert answer.header("connection") == "close"
        assert answer.body.endswith(DONE)
        assert await client.rest() == b""


@scene()
async def test_an_absolute_target_is_understood(it: Scene) -> None:
    async with it.client() as client:
        await client.send(request(ASK, path="http://api.example.com:8000/v1/chat/completions?x=1"))
        assert (await client.answer()).status == 200
    assert it.turns[0].path == "/i/nonce/v1/chat/completions?x=1"


@scene()
async def test_an_offered_upgrade_is_declined_by_going_on(it: Scene) -> None:
    """Java's HttpClient offers h2c with its first request, with and without a body."""
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQBAAAAAAIAAAAA")
    async with it.client() as client:
        await client.send(request(ASK, *offer))
        assert (await client.answer()).body == chat_body()
        await client.send(request(b"", *offer, path="/livez", method="GET") + PAGE)
        assert (await client.answer()).body == OK
        assert (await client.answer()).body == OK
    assert {"upgrade", "connection", "http2-settings"}.isdisjoint(it.turns[0].headers)


HOST = b"host: g\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
BODY = b'{"model":"org/m"}'
LENGTH = b"content-length: %d\r\n" % len(BODY)
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST

NOT_HTTP = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "words": b"hello there\r\n\r\n",
    "nul": b"\x00" * 100,
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
    "version-3": b"GET /livez HTTP/3.0\r\n\r\n",
    "space-in-path": b"GET /a b HTTP/1.1\r\nhost: g\r\n\r\n",
    "header-without-colon": b"GET /livez HTTP/1.1\r\nnonsense\r\n\r\n",
    "space-before-colon": b"GET /livez HTTP/1.1\r\nhost : g\r\n\r\n",
    "empty-name": b"GET /livez HTTP/1.1\r\n: g\r\n\r\n",
    "nul-in-value": b"GET /livez HTTP/1.1\r\nhost: g\x00\r\n\r\n",
    "folded": b"GET /livez HTTP/1.1\r\nhost: g\r\nx: a\r\n b\r\n\r\n",
    "cr-in-value": b"GET /livez HTTP/1.1\r\nhost: g\r\nx: a\rb: c\r\n\r\n",
}

SMUGGLING = {
    "length-and-chunked": POST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked-and-length": POST + CHUNKED + LENGTH + b"\r\n0\r\n\r\n",
    "two-lengths": POST + LENGTH + b"content-length: 5\r\n\r\n" + BODY,
    "same-length-twice": POST + LENGTH + LENGTH + b"\r\n" + BODY,
    "list-of-lengths": POST + b"content-length: 17, 17\r\n\r\n" + BODY,
    "signed-length": POST + b"content-length: +17\r\n\r\n" + BODY,
    "negative-length": POST + b"content-length: -17\r\n\r\n" + BODY,
    "hex-length": POST + b"content-length: 0x11\r\n\r\n" + BODY,
    "huge-length": POST + b"content-length: 184467440737095516190\r\n\r\n" + BODY,
    "chunked-not-last": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked-twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "xchunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked-with-tab": POST + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunk-size-hex-prefix": POST + CHUNKED + b"\r\n0x11\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-size-signed": POST + CHUNKED + b"\r\n+11\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-size-too-large": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-longer-than-told": POST + CHUNKED + b"\r\n5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-ends-with-lf": POST + CHUNKED + b"\r\n11\n" + BODY + b"\n0\n\n",
}


@pytest.mark.parametrize("name", [*NOT_HTTP, *SMUGGLING])
@scene()
async def test_what_is_no_clean_request_is_400_and_closed_and_nothing_behind_it_is_served(it: Scene, name: str) -> None:
    behind = request(ASK)
    async with it.client() as client:
        await client.send({**NOT_HTTP, **SMUGGLING}[name] + behind)
        answer = await client.answer()
        assert answer.status == 400
        assert answer.error()["code"] == "malformed_request"
        assert answer.header("connection") == "close"
        assert await client.rest() == b""
    assert it.turns == []


@scene(keep_alive_s=0.3, head_timeout_s=0.3)
async def test_an_idle_connection_and_a_head_without_an_end_are_closed(it: Scene) -> None:
    async with it.client() as idle, it.client() as slow:
        await idle.send(PAGE)
        assert (await idle.answer()).body == OK
        await slow.send(b"GET /livez HTTP/1.1\r\n")
        assert await idle.rest() == b""
        assert await slow.rest() == b""


@scene(client_stall_s=0.05)
async def test_a_body_that_stops_coming_is_not_waited_for(it: Scene) -> None:
    async with it.client() as client:
        await client.send(request(ASK)[:-5])
        assert await client.rest() == b""
    assert it.turns == []
