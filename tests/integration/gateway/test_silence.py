"""What people and models say to each other stands nowhere but in the request and its answer.

Hostile requests and engines are sent through a gateway that logs all it can, in both formats, and traces everything:
no line, no error of the gateway's own and no span has a word of it. Where the operator asks for prompts, they stand in
one place, shortened.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator

import pytest
from tests.collector import Collector, collector
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Script, Turn, event, good, json_answer
from tests.integration.gateway.raw_client import Answer
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Counters, Scene, staged

from cortex.kit.log import JsonFormatter, PlainFormatter
from cortex.kit.trace_setting import TraceSection

SAID = "xyzzy"
"""In every prompt."""
ANSWERED = "plugh"
"""In every answer of an engine."""
MESSAGES = [{"role": "user", "content": SAID}]
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SAID}"}}

BODIES: dict[str, bytes | object] = {
    "usual": {**ASK, "messages": MESSAGES},
    "streamed": {**ASK_STREAM, "messages": MESSAGES},
    "cut off": json.dumps({**ASK, "messages": MESSAGES}).encode()[:-3],
    "no JSON": f'{{"model":"{MODEL}", {SAID}'.encode(),
    "text alone": SAID.encode(),
    "broken UTF-8": b'{"model":"m","messages":[{"role":"user","content":"' + SAID.encode() + b'\xff"}]}',
    "model is an object": {"model": {SAID: 1}, "messages": MESSAGES},
    "model is a list": {"model": [SAID], "messages": MESSAGES},
    "stream is text": {**ASK, "stream": SAID, "messages": MESSAGES},
    "limit is text": {**ASK, "max_tokens": SAID},
    "unknown model": {"model": "nobody", "messages": MESSAGES},
    "deep": b'{"model":"m","messages":' + b"[" * 5000 + SAID.encode(),
    "duplicate keys": f'{{"model":"{MODEL}","messages":[],"messages":["{SAID}"]}}'.encode(),
}
TRANSLATED: dict[str, object] = {
    "usual": {"model": MODEL, "max_tokens": 9, "messages": MESSAGES},
    "role unknown": {"model": MODEL, "max_tokens": 9, "messages": [{"role": "wizard", "content": SAID}]},
    "content is a number": {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": 7, SAID: SAID}]},
    "block unknown": {
        "model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "spell", "spell": SAID}]}],
    },
    "tool without a schema": {"model": MODEL, "max_tokens": 9, "messages": MESSAGES, "tools": [{"name": 7, "x": SAID}]},
    "cut off": {"model": MODEL, "max_tokens": 9},
    "input is a number": {"model": MODEL, "input": 7, "instructions": SAID},
    "item unknown": {"model": MODEL, "input": [{"type": "spell", "spell": SAID}]},
}  # fmt: skip


async def quotes(turn: Turn) -> None:
    """An engine that repeats in its refusal what it was sent."""
    said = await turn.body()
    await turn.finish(json_answer(json.dumps({"error": {"message": f"bad: {said!r} {ANSWERED}"}}).encode(), "400 Bad"))


async def babbles(turn: Turn) -> None:
    await turn.body()
    await turn.finish(f"HTTP/1.1 500 No\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n{ANSWERED}".encode())


async def breaks_off(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.events(event(ANSWERED), f"data: {{{ANSWERED}\n\n".encode())
    turn.reset()


async def is_no_http(turn: Turn) -> None:
    await turn.body()
    await turn.send(f"{ANSWERED} {ANSWERED}\r\n\r\n".encode())
    turn.reset()


async def is_no_json(turn: Turn) -> None:
    await turn.body()
    await turn.finish(json_answer(f'{{"choices":[{{"message":{{"content":"{ANSWERED}'.encode()))


async def answers(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.events(event(ANSWERED), DONE)
    await turn.finish()


class Ear(logging.Handler):
    """Hears every record of ours as both formats write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._formats = (PlainFormatter(), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [form.format(record) for form in self._formats]


@pytest.fixture
def ear() -> Iterator[Ear]:
    it, logger = Ear(), logging.getLogger("cortex")
    level = logger.level
    logger.addHandler(it)
    logger.setLevel(logging.DEBUG)
    yield it
    logger.setLevel(level)
    logger.removeHandler(it)


@pytest.fixture
def seen() -> Iterator[Collector]:
    with collector() as it:
        yield it


async def sent(it: Scene) -> list[tuple[str, Answer]]:
    """Send every request there is."""
    found = [(name, await it.ask(body)) for name, body in BODIES.items()]
    for path in ("/v1/messages", "/v1/responses", "/api/chat", "/v1/completions", "/v1/embeddings"):
        for name, body in TRANSLATED.items():
            found.append((f"{path} {name}", await it.ask(body, path=path)))
    return found


@pytest.mark.parametrize("fmt", ["plain", "json"])
def test_hostile_requests_leave_no_word_of_theirs_behind(
    fmt: str, ear: Ear, seen: Collector, in_flight_zero: Counters, capfd: pytest.CaptureFixture[str]
) -> None:
    async def play() -> list[tuple[str, Answer]]:
        trace = TraceSection(endpoint=seen.url)
        async with staged(in_flight_zero, good, trace=trace, access_log=True, log_format=fmt) as it:
            return await sent(it)

    for name, answer in asyncio.run(play()):
        if answer.status >= 400:
            assert SAID.encode() not in answer.body, name
    out, err = capfd.readouterr()
    assert err.count("access") > len(BODIES)
    assert len(seen.spans) > len(BODIES)
    for where, text in (
        ("stdout", out),
        ("stderr", err),
        ("log", "\n".join(ear.lines)),
        ("spans", seen.raw.decode("latin-1")),
    ):
        assert SAID not in text, where


@pytest.mark.parametrize("script", [quotes, babbles, breaks_off, is_no_http, is_no_json, answers])
def test_hostile_engines_leave_no_word_of_the_answer_behind(
    script: Script, ear: Ear, seen: Collector, in_flight_zero: Counters, capfd: pytest.CaptureFixture[str]
) -> None:
    async def play() -> None:
        async with staged(in_flight_zero, script, trace=TraceSection(endpoint=seen.url), access_log=True) as it:
            for body, path in (
                ({**ASK, "messages": MESSAGES}, "/v1/chat/completions"),
                ({**ASK_STREAM, "messages": MESSAGES}, "/v1/chat/completions"),
                ({"model": MODEL, "max_tokens": 9, "messages": MESSAGES}, "/v1/messages"),
                ({"model": MODEL, "max_tokens": 9, "messages": MESSAGES, "stream": True}, "/v1/messages"),
            ):
                async with it.client() as client:
                    await client.ask(body, path=path)
                    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                        await client.answer()

    asyncio.run(play())
    out, err = capfd.readouterr()
    assert seen.spans
    assert "access" in err
    told = "\n".join((out, err, *ear.lines, seen.raw.decode("latin-1")))
    for word in (SAID, ANSWERED):
        assert word not in told


def test_prompts_stand_in_the_access_log_alone_and_only_where_that_is_wished(
    ear: Ear, seen: Collector, in_flight_zero: Counters, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "tell me more"
    body = {**ASK, "messages": [{"role": "user", "content": [{"type": "text", "text": text}, PICTURE]}]}

    async def play() -> None:
        trace = TraceSection(endpoint=seen.url)
        async with staged(in_flight_zero, good, trace=trace, access_log=True, log_prompts=True) as it:
            assert (await it.ask(body, "x-request-id: mine")).status == 200

    asyncio.run(play())
    err = capfd.readouterr().err
    assert f'access: prompt id=mine text="user: {text} [image_url]"' in err
    assert err.count(text) == 1
    assert text not in "\n".join(ear.lines) + seen.raw.decode("latin-1")
    assert SAID not in err, "pictures are named, not shown"
    assert any("log_prompts" in line for line in ear.lines), "the operator is told at the start"
