"""Anthropic's own SDK reads our answers: it assembles what our strict reader assembles, and raises what we mean."""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from tests.unit.dialects.anthropic_answering import answering, message, streamed
from tests.unit.dialects.chat_engine import CALLS_END, STOP, calling, chunk, piece, usage, usage_alone, whole

from cortex.contract.error import ContextExceeded, CortexError, ModelNotFound, QueueFull, TooManyRequests
from cortex.dialects.anthropic import ANTHROPIC
from cortex.dialects.anthropic_reply import anthropic_reply
from cortex.dialects.chat_reader import read_answer

anthropic = pytest.importorskip("anthropic", reason="Anthropic's SDK is not installed")
httpx = import_module(  # newer ones speak with a successor that does not take the objects of the other
    next(
        name
        for name in (kind.__module__.split(".")[0] for kind in anthropic.DefaultHttpxClient.__mro__)
        if "httpx" in name
    )
)

ASKED: Any = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
PING = ANTHROPIC.heartbeat("loading", "claude-x")

STREAMS = {
    "text": [chunk(role="assistant", content=None), chunk(content="Hel"), chunk(content="lo"), STOP, usage_alone()],
    "thinking and calls": [
        chunk(reasoning_content="h"),
        chunk(reasoning_content="m"),
        chunk(content="I see."),
        calling(piece('{"x"', "f", "call_1")),
        calling(piece(":1}")),
        chunk(content="\n"),
        calling(piece({"y": [2, None, "é"]}, "g", "call_2", 1)),
        chunk("tool_calls", {"usage": usage(100, 7, cached=80, reasoning=3)}),
    ],
    "nothing": [STOP],
    "a call without arguments": [calling(piece("", "f", "a")), CALLS_END],
    "length": [chunk(content="a"), calling(piece('{"x"', "f", "a")), chunk("length")],
    "refusal": [chunk(content="No."), chunk("content_filter")],
}


class Answerer:
    """A server that answers every request alike; nothing leaves the process."""

    def __init__(self) -> None:
        self.answer: tuple[int, str, bytes] = (500, "", b"")

    def __call__(self, request: Any) -> Any:
        status, kind, body = self.answer
        return httpx.Response(status, headers={"content-type": kind, "request-id": "req_1"}, content=body)


SERVER = Answerer()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with httpx.Client(transport=httpx.MockTransport(SERVER)) as http:
        yield anthropic.Anthropic(api_key="k", base_url="http://cortex.test", http_client=http, max_retries=0)


@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_assembles_a_stream_as_we_do(client: Any, name: str) -> None:
    SERVER.answer = (200, "text/event-stream", PING + streamed(*STREAMS[name]) + PING)
    with client.messages.stream(**ASKED) as stream:
        found = stream.get_final_message()
    expected = message(*STREAMS[name])
    assert [block.to_dict() for block in found.content] == expected["content"]
    assert (found.stop_reason, found.stop_sequence) == (expected["stop_reason"], expected["stop_sequence"])
    assert expected["usage"].items() <= found.usage.to_dict().items()
    assert (found.id, found.model, found.role) == (expected["id"], "claude-x", "assistant")


def test_the_sdk_shows_text_as_it_comes(client: Any) -> None:
    SERVER.answer = (200, "text/event-stream", streamed(*STREAMS["text"]))
    with client.messages.stream(**ASKED) as stream:
        assert list(stream.text_stream) == ["Hel", "lo"]


def test_the_sdk_reads_a_whole_answer(client: Any) -> None:
    body = whole("tool_calls", reasoning="hm", content="I see.", tool_calls=[piece('{"x":1}', "f", "a")])
    reply = anthropic_reply(read_answer(body), answering())
    SERVER.answer = (200, "application/json", reply)
    found = client.messages.create(**ASKED)
    assert found.to_dict() == json.loads(reply)
    assert [block.type for block in found.content] == ["thinking", "text", "tool_use"]


@pytest.mark.parametrize(
    ("error", "status", "raised"),
    [
        (QueueFull(), 529, "OverloadedError"),
        (TooManyRequests(), 429, "RateLimitError"),
        (ModelNotFound(), 404, "NotFoundError"),
        (ContextExceeded(prompt_tokens=9, context=8), 400, "BadRequestError"),
    ],
)
def test_the_sdk_raises_what_an_error_means(client: Any, error: CortexError, status: int, raised: str) -> None:
    SERVER.answer = (status, "application/json", ANTHROPIC.error_body(error, status, "req_1"))
    kind = getattr(anthropic, raised, anthropic.APIStatusError)
    with pytest.raises(kind) as caught:
        client.messages.create(**ASKED)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["message"] in str(caught.value)
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize("before", [[], [chunk(content="a")], [chunk(reasoning="hm")]])
def test_the_sdk_raises_an_error_within_a_stream(client: Any, before: list[bytes]) -> None:
    SERVER.answer = (200, "text/event-stream", PING + streamed(*before, b'{"error":{"message":"out of memory"}}'))
    with (
        pytest.raises(anthropic.APIStatusError, match="out of memory"),
        client.messages.stream(**ASKED) as stream,
    ):
        stream.get_final_message()
