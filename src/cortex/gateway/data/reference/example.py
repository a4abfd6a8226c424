"""Examples of requests and their answers, said by the dialects themselves; only the engine's words are made up."""

from typing import Any

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.engine import LLAMACPP
from cortex.dialects.error import openai_event
from cortex.dialects.interface import Dialect, Mint, Translation
from cortex.gateway.data.route import InferenceRoute

WAITING = "loading on beast, 40 %"
"""What a sign of life says."""

_WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_HELLO = [{"role": "user", "content": "Hello!"}]
_USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
_CREATED = 1790000000
_MINT = Mint(epoch_s=_CREATED, new_id=lambda prefix: f"{prefix}{'0' * 23}1", elapsed_s=lambda: 2.0)

REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "coder", "messages": _HELLO, "stream": True},
    "/v1/completions": {"model": "coder", "prompt": "def fib(n):", "max_tokens": 100},
    "/v1/messages": {
        "model": "coder",
        "max_tokens": 500,
        "system": "Be brief.",
        "messages": _HELLO,
        "tools": [{"name": "weather", "description": "Tells it.", "input_schema": _WEATHER}],
        "stream": True,
    },
    "/v1/messages/count_tokens": {"model": "coder", "messages": _HELLO},
    "/v1/responses": {
        "model": "coder",
        "instructions": "Be brief.",
        "input": "Hello!",
        "reasoning": {"effort": "low"},
        "stream": True,
    },
    "/api/chat": {"model": "coder", "messages": _HELLO, "options": {"temperature": 0.2, "num_ctx": 8192}},
    "/api/generate": {"model": "coder", "prompt": "Hello!", "stream": False},
    "/api/embed": {"model": "embedder", "input": ["one", "two"]},
    "/api/embeddings": {"model": "embedder", "prompt": "one"},
    "/api/show": {"model": "coder"},
    "/v1/embeddings": {"model": "embedder", "input": ["one", "two"]},
    "/v1/rerank": {"model": "reranker", "query": "How?", "documents": ["So.", "Not so."], "top_n": 1},
    "/v1/audio/speech": {"model": "speaker", "input": "Hello!", "voice": "alloy"},
    "/v1/images/generations": {"model": "painter", "prompt": "a lighthouse", "size": "1024x1024"},
    "/tokenize": {"model": "coder", "content": "Hello!"},
    "/infill": {"model": "coder", "input_prefix": "def fib(n):", "input_suffix": "return a"},
}
"""A request's body by path; those that are forms have none."""
_STREAMED = {"anthropic": "/v1/messages", "responses": "/v1/responses", "ollama": "/api/chat"}

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": _CREATED,
    "model": "coder",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_VECTORS = {
    "object": "list",
    "model": "embedder",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def _chunk(finish: str | None = None, **delta: str) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": _CREATED, "model": "coder"}
    return msgspec.json.encode({**head, "choices": [choice], **({"usage": _USAGE} if finish else {})})


_CHUNKS = (_chunk(role="assistant", content="Hel"), _chunk(content="lo!"), _chunk("stop"))


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to and fro on one path. ``sent``: what an engine (llama.cpp) gets, None where that is the same."""

    request: Any
    sent: Any = None
    answer: Any = None
    stream: str = ""


def example_of(route: InferenceRoute) -> Example | None:
    """Return an example of a path, None of one that takes forms."""
    path = route.path.decode()
    request = REQUESTS.get(path)
    if request is None:
        return None
    translate = route.dialect.translate
    if translate is None:
        return Example(request=request, **_passed(path, route))
    translation = translate(msgspec.json.encode(request), _MINT)
    sent = msgspec.json.decode(translation.body(LLAMACPP, "coder", 32768))
    stream = _waiting(route) + _told(translation) if route.ends_with_done else ""
    answer = msgspec.json.decode(translation.reply(msgspec.json.encode(_said(route, request))))
    return Example(request=request, sent=sent, answer=answer, stream=stream)


def failed_stream(dialect: Dialect, error: CortexError, status: int) -> bytes:
    """Return the end of a stream that fails with nothing sent but signs of life."""
    if dialect.translate is None:
        return openai_event(error)
    request = msgspec.json.encode(REQUESTS[_STREAMED[dialect.name]])
    return dialect.translate(request, _MINT).writer().fail(error, status)


def _passed(path: str, route: InferenceRoute) -> dict[str, Any]:
    if path == "/v1/chat/completions":
        events = b"".join(b"data: %b\n\n" % chunk for chunk in _CHUNKS) + b"data: [DONE]\n\n"
        return {"answer": _ANSWER, "stream": _waiting(route) + events.decode()}
    return {"answer": _vectors(2)} if path == "/v1/embeddings" else {}


def _said(route: InferenceRoute, request: dict[str, Any]) -> dict[str, Any]:
    """What an engine answers."""
    if route.engine_path != b"/v1/embeddings":
        return _ANSWER
    return _vectors(len(request["input"]) if "input" in request else 1)


def _vectors(count: int) -> dict[str, Any]:
    (vector,) = _VECTORS["data"]
    return {**_VECTORS, "data": [{**vector, "index": index} for index in range(count)]}  # type: ignore[dict-item]


def _told(translation: Translation) -> str:
    writer = translation.writer()
    return b"".join((*(writer.feed(chunk) for chunk in _CHUNKS), writer.end())).decode()


def _waiting(route: InferenceRoute) -> str:
    return route.dialect.heartbeat(WAITING, "coder").decode()
