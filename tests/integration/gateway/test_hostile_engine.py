"""Engines that break off, stall, lie about lengths or send garbage: the client is told, in its dialect, every time."""

import asyncio

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import (
    DONE,
    SSE_HEAD,
    Script,
    Turn,
    chat_body,
    chunk,
    event,
    good,
    json_answer,
    last_event,
    usage_event,
)
from tests.integration.gateway.raw_client import Answer
from tests.integration.gateway.scene import ASK, ASK_STREAM, Scene, scene

OK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def sends(*pieces: bytes, then: str = "close") -> Script:
    """Say exactly this to every request, then close, reset or keep silent."""

    async def script(turn: Turn) -> None:
        await turn.body()
        for piece in pieces:
            await turn.send(piece)
        if then == "close":
            await turn.close()
        elif then == "reset":
            turn.reset()
        else:
            await turn.until_lost()

    return script


def is_bad_gateway(answer: Answer, words: str, status: int = 502, code: str = "upstream_broken") -> None:
    assert answer.status == status, answer
    error = answer.error()
    assert (error["type"], error["code"]) == ("upstream_error", code)
    assert words in error["message"]


BEFORE_ANSWERING = {
    "closes-at-once": (sends(), "before answering"),
    "resets-at-once": (sends(then="reset"), "before answering"),
    "cut-in-the-status": (sends(b"HTTP/1.1 2"), "before answering"),
    "cut-in-the-headers": (sends(b"HTTP/1.1 200 OK\r\ncontent-type: app"), "before answering"),
    "cut-after-100": (sends(b"HTTP/1.1 100 Continue\r\n\r\n"), "before answering"),
    "words": (sends(b"hello, gateway\r\n\r\n"), "not valid HTTP"),
    "nul": (sends(b"\0" * 64), "not valid HTTP"),
    "request": (sends(b"GET / HTTP/1.1\r\n\r\n"), "not valid HTTP"),
    "http2": (sends(b"\0\0\x12\x04\0\0\0\0\0"), "not valid HTTP"),
    "bad-header": (sends(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"), "not valid HTTP"),
    "two-framings": (
        sends(OK_HEAD + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n"),
        "not valid HTTP",
    ),
    "two-lengths": (sends(OK_HEAD + b"content-length: 2\r\ncontent-length: 4\r\n\r\n{}{}"), "not valid HTTP"),
    "giant-header": (sends(OK_HEAD + b"x: " + b"y" * 100_000 + b"\r\n\r\n", then="silence"), "larger than 65536"),
    "giant-header-slowly": (
        sends(OK_HEAD, *[b"x: " + b"y" * 1000 + b"\r\n"] * 100, then="silence"),
        "larger than 65536",
    ),
    "switches-protocols": (
        sends(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxxxx", then="silence"),
        "not valid HTTP",
    ),
}


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("name", BEFORE_ANSWERING)
@scene()
async def test_an_engine_that_gives_no_answer_is_a_502(it: Scene, name: str, ask: dict) -> None:
    script, words = BEFORE_ANSWERING[name]
    it.engine.scripts = [script]
    is_bad_gateway(await it.ask(ask), words)
    assert len(it.turns) == 1, "the only instance is not asked twice: it may be what kills it"
    assert await it.metric("cortex_request_errors_total", model="org/m", node="n0") == 1


IN_THE_ANSWER = {
    "length-too-long": [OK_HEAD + b"content-length: 1000\r\n\r\n" + chat_body()[:50]],
    "cut-in-a-chunk": [OK_HEAD + b"transfer-encoding: chunked\r\n\r\n", b"64\r\n" + chat_body()[:50]],
    "cut-between-chunks": [OK_HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk(chat_body()[:50])],
    "bad-chunk": [OK_HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk(chat_body()[:50]), b"zz\r\n"],
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("name", IN_THE_ANSWER)
@scene()
async def test_an_answer_that_breaks_off_cannot_be_taken_for_whole(it: Scene, name: str, then: str) -> None:
    """No JSON client can use half of it: it sees either an error of ours or a body that is shorter than was told."""
    it.engine.scripts = [sends(*IN_THE_ANSWER[name], then=then)]
    async with it.client() as client:
        await client.ask(ASK)
        head = await client.head()
        try:
            body = await client.body()
        except (asyncio.IncompleteReadError, ConnectionError):
            assert head.status == 200
        else:
            is_bad_gateway(head._replace(body=body), "")
    assert len(it.turns) == 1
    assert await it.metric("cortex_request_errors_total") == 1


@scene()
async def test_what_an_engine_sends_beyond_its_length_reaches_nobody(it: Scene) -> None:
    stray = json_answer(chat_body("a stranger's secret"))
    it.engine.scripts = [sends(json_answer(chat_body()) + stray, then="silence"), good]
    async with it.client() as client:
        for _ in range(3):
            await client.ask(ASK)
            assert (await client.answer()).body == chat_body()
    assert len(it.engine.lines) == 2, "that connection is not used again"


@scene()
async def test_an_engine_that_speaks_unasked_is_not_asked_on_that_connection(it: Scene) -> None:
    async def babbles(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(chat_body()))
        await turn.engine.heard.wait()
        await turn.send(json_answer(chat_body("a stranger's secret")))
        await turn.until_lost()

    it.engine.heard = asyncio.Event()
    it.engine.scripts = [babbles, good]
    assert (await it.ask()).body == chat_body()
    it.engine.heard.set()
    await it.engine.lines[0].is_lost.wait()
    assert (await it.ask()).body == chat_body()


@scene()
async def test_an_answer_without_framing_lasts_until_the_engine_closes(it: Scene) -> None:
    it.engine.scripts = [sends(OK_HEAD + b"\r\n" + chat_body()[:50], chat_body()[50:])]
    assert (await it.ask()).body == chat_body()


@scene()
async def test_an_http_1_0_engine_is_understood(it: Scene) -> None:
    body = chat_body()
    it.engine.scripts = [
        sends(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body),
        sends(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event("a"), DONE),
    ]
    assert (await it.ask()).body == body
    assert (await it.ask(ASK_STREAM)).body == event("a") + DONE


@scene()
async def test_interim_answers_are_kept_from_the_client(it: Scene) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"

    async def script(turn: Turn) -> None:
        await turn.send(interim)
        await turn.body()
        await turn.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await turn.finish(json_answer(chat_body()))

    it.engine.scripts = [script]
    async with it.client() as client:
        for _ in range(2):
            await client.ask(ASK)
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, chat_body())
            assert answer.header("link") is None
    assert len(it.engine.lines) == 1, "the connection is used again"


@pytest.mark.parametrize("status", [204, 304])
@scene()
async def test_an_answer_without_a_body_is_complete(it: Scene, status: int) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.finish(b"HTTP/1.1 %d Nothing\r\nx-a: b\r\n\r\n" % status)

    it.engine.scripts = [script]
    async with it.client() as client:
        for _ in range(2):
            await client.ask(ASK)
            answer = await client.answer()
            assert (answer.status, answer.header("x-a"), answer.body) == (status, "b", b"")


@scene()
async def test_trailers_are_not_taken_for_headers(it: Scene) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("a"), DONE)
        await turn.finish(b"0\r\nx-trailer: 1\r\n\r\n")

    it.engine.scripts = [script]
    async with it.client() as client:
        for _ in range(2):
            await client.ask(ASK_STREAM)
            assert (await client.answer()).body == event("a") + DONE
    assert len(it.engine.lines) == 1


def final_error(body: bytes) -> dict:
    """Return the error that a stream ends with."""
    last = body.rstrip(b"\n").rsplit(b"\n\n", 1)[-1]
    assert last.startswith(b"data: "), body
    error = msgspec.json.decode(last[6:])["error"]
    assert set(error) - {"details"} == {"message", "type", "param", "code"}
    return error


CUT_STREAMS = {
    "before-done": [chunk(last_event()), b"0\r\n\r\n"],
    "between-events": [],
    "in-a-chunk": [b"64\r\ndata: {"],
    "in-an-event": [chunk(b'data: {"choices":[{"del')],
    "by-garbage": [b"hello\r\n"],
    "after-usage-that-was-kept-back": [chunk(usage_event())],
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("name", CUT_STREAMS)
@scene()
async def test_a_stream_that_is_cut_ends_with_an_error_event_and_a_closed_connection(
    it: Scene, name: str, then: str
) -> None:
    cut = asyncio.Event()

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("a"))
        await cut.wait()
        await sends(*CUT_STREAMS[name], then=then)(turn)

    it.engine.scripts = [script]
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        assert (await client.head()).status == 200
        assert await client.piece() == event("a")
        cut.set()
        rest = await client.body()
    passed = last_event() if name == "before-done" else b""
    assert rest.startswith(passed)
    assert rest.count(b"data:") == 1 + bool(passed), "nothing of a broken event is passed on"
    assert b"[DONE]" not in rest
    assert final_error(rest)["code"] == "upstream_broken"
    assert len(it.turns) == 1
    assert await it.metric("cortex_request_errors_total") == 1


@scene()
async def test_a_stream_that_breaks_off_after_done_is_whole(it: Scene) -> None:
    it.engine.scripts = [sends(SSE_HEAD, chunk(event("a")), chunk(DONE), then="reset")]
    assert (await it.ask(ASK_STREAM)).body == event("a") + DONE
    assert await it.metric("cortex_request_errors_total") == 0


@scene()
async def test_an_engines_own_error_event_is_the_last_word(it: Scene) -> None:
    own = b'data: {"error":{"code":500,"message":"out of memory","type":"server_error"}}\n\n'
    it.engine.scripts = [sends(SSE_HEAD, chunk(event("a")), chunk(own), b"0\r\n\r\n")]
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        assert (await client.answer()).body == event("a") + own
    assert await it.metric("cortex_request_errors_total") == 1


@scene(first_token_timeout_s=0.05)
async def test_an_engine_that_never_begins_is_a_504(it: Scene) -> None:
    it.engine.scripts = [sends(then="silence")]
    is_bad_gateway(await it.ask(), "no first token within 0.05 s", 504, "upstream_timeout")
    assert len(it.turns) == 1


@scene(first_token_timeout_s=0.05)
async def test_comments_and_a_role_are_no_first_token(it: Scene) -> None:
    async def pings(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event())
        while not turn.line.is_lost.is_set():
            await turn.events(b":\n\n")
            await asyncio.sleep(0)

    it.engine.scripts = [pings]
    answer = await it.ask(ASK_STREAM)
    assert answer.status == 200
    assert final_error(answer.body)["code"] == "upstream_timeout"
    assert "no first token" in final_error(answer.body)["message"]


@scene(stall_timeout_s=0.05)
async def test_a_stream_that_stalls_ends_with_an_error_event(it: Scene) -> None:
    it.engine.scripts = [sends(SSE_HEAD, chunk(event("a")), then="silence")]
    answer = await it.ask(ASK_STREAM)
    assert answer.body.startswith(event("a"))
    assert final_error(answer.body)["code"] == "upstream_timeout"
    assert "no content for 0.05 s" in final_error(answer.body)["message"]


@scene(stall_timeout_s=0.05)
async def test_an_answer_that_stalls_is_broken_off(it: Scene) -> None:
    it.engine.scripts = [sends(OK_HEAD + b"content-length: 1000\r\n\r\n{", then="silence")]
    async with it.client() as client:
        await client.ask(ASK)
        assert not (await client.rest()).endswith(b"}")


@scene()
async def test_an_engine_that_is_not_there_is_a_502_after_some_patience(it: Scene) -> None:
    await it.engine.stop()
    is_bad_gateway(await it.ask(), f"127.0.0.1:{it.engine.port} cannot be reached", code="upstream_unreachable")
