"""Whatever is sent to an endpoint, and whatever its engine answers: a well-formed answer in the caller's dialect, never
a defect of ours, never a hang.

Bodies are drawn, or are good ones with something else in some place, so that they get as far as they can.
"""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.data.rig import Rig, rig, whole

from cortex.gateway.data.route import INFERENCE

PAGES = (b"/v1/messages/count_tokens", b"/api/show", b"/v1/responses/resp_1/cancel")
PATHS = [path for path, route in INFERENCE.items() if not route.is_upload] + list(PAGES)
KINDS = ("llamacpp", "mistralrs", "vllm", "sglang", "openai", "")

PNG = "iVBORw0KGgoAAAAA"
PICTURE = f"data:image/png;base64,{PNG}"
SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}, "required": ["a"]}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

GOOD: dict[bytes, dict[str, Any]] = {
    b"/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": SOURCE}],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "done", "is_error": True}],
            },
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
            {"role": "user", "content": "on"},
        ],
        "tools": [{"name": "f", "description": "does", "input_schema": SCHEMA}, {"type": "web_search_1", "name": "w"}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 9},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
        "temperature": 0.5,
    },
    b"/v1/responses": {
        "model": "m",
        "instructions": "be brief",
        "input": [
            {"role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True},
            {"type": "custom", "name": "c", "format": {"type": "text"}},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g", "parameters": SCHEMA}]},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        "store": False,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
    },
    b"/api/chat": {
        "model": "m",
        "stream": False,
        "messages": [
            {"role": "user", "content": "hi", "images": [PNG]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "content": "done", "tool_name": "f"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "format": SCHEMA,
        "options": {"num_predict": 9, "stop": ["x"], "temperature": 0.5},
        "think": True,
    },
    b"/api/generate": {
        "model": "m",
        "stream": False,
        "prompt": "hi",
        "system": "be brief",
        "images": [PNG],
        "format": "json",
    },
    b"/api/embed": {"model": "m", "input": ["a", "b"], "dimensions": 3},
}
GOOD[b"/v1/messages/count_tokens"] = GOOD[b"/v1/messages"]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [CALL]}]}

WORDS = (
    "model",
    "type",
    "text",
    "user",
    "system",
    "tool",
    "name",
    "function",
    "image",
    "url",
    "id",
    "m",
    "f",
    "c1",
    "",
)
TEXT = st.sampled_from(WORDS) | st.text(max_size=8)
LEAF = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=9
)

REPLY = {
    "choices": [
        {
            "index": 0,
            "message": {"content": "hi", "reasoning_content": "hm", "tool_calls": [CALL]},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
}


def places_of(value: object) -> list[tuple[Any, Any]]:
    """Every container in a document, with each of its keys or indices."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, below in list(inner) for place in ((value, key), *places_of(below))]


@st.composite
def changed(draw: Any, good: dict[str, Any]) -> bytes:
    """A good document with something else in one or two of its places."""
    value = msgspec.json.decode(msgspec.json.encode(good))
    for _ in range(draw(st.integers(0, 2))):
        container, key = draw(st.sampled_from(places_of(value)))
        container[key] = draw(JSON)
    return encoded(value)


def encoded(value: object) -> bytes:
    """JSON, with what JSON cannot say (NaN, half a character) as clients write it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


async def answer(path: bytes, body: bytes, kind: str, said: bytes, status: int) -> tuple[int, bytes, str]:
    with rig() as it:
        it.plane.fetcher = Nothing()
        it.leases.next(it.place(kind=kind))
        client = it.request(b"POST", path)
        client.body(body)
        client.end()
        await rest(it)
        if it.upstream.connecting:
            it.upstream.accept().say(whole(said, status))
        await rest(it)
        await it.tasks.stop()
        assert client.is_over, "it hangs"
        assert not client.is_aborted
        return client.answer.status, client.answer.body, client.answer.headers["content-type"]


class Nothing:
    """Has no picture and no response."""

    async def fetch(self, need: object, key: object) -> None:
        return None


async def rest(it: Rig) -> None:
    for _ in range(200):
        if not len(it.tasks):
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.decode())
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_body_gets_a_well_formed_answer(path: bytes, data: Any) -> None:
    good = changed(GOOD.get(path, CHAT))
    body = data.draw(good | good | good | st.binary(max_size=60) | JSON.map(encoded))
    said = data.draw(st.just(encoded(REPLY)) | changed(REPLY) | JSON.map(encoded))
    kind, engine_status = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from((200, 200, 200, 400, 500)))
    status, told, content_type = asyncio.run(answer(path, body, kind, said, engine_status))
    route = INFERENCE.get(path)
    if route is not None and route.engine_path is None and content_type == "application/json" and told == said:
        return  # passed on as it is
    event(f"status {status}")
    assert status != 500, told
    if content_type != "application/json":
        return  # a stream was asked for
    read: Any = msgspec.json.decode(told)
    if status != 200:
        error = read["error"]
        assert error if path.startswith(b"/api/") else error["message"]
        assert (read.get("type") == "error") == path.startswith(b"/v1/messages")


@pytest.mark.parametrize("path", [*GOOD, b"/v1/chat/completions"], ids=lambda path: path.decode())
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_changed_is_good_to_begin_with(path: bytes, kind: str) -> None:
    vectors = {"data": [{"index": at, "embedding": [0.5]} for at in range(2)]}
    said = encoded(vectors if path == b"/api/embed" else REPLY)
    status, told, _ = asyncio.run(answer(path, encoded(GOOD.get(path, CHAT)), kind, said, 200))
    assert status == 200, told
