"""Whatever is sent to an endpoint: a well-formed answer in its dialect, never a defect of ours, never a hang."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.data.rig import Rig, rig

from cortex.contract.error import ModelNotFound
from cortex.gateway.data.route import INFERENCE

PATHS = [path for path, route in INFERENCE.items() if not route.is_upload] + [
    b"/v1/messages/count_tokens",
    b"/api/show",
    b"/v1/responses/resp_1/cancel",
]

WORDS = (
    *("model", "messages", "input", "prompt", "role", "content", "type", "text", "user", "assistant", "system", "tool"),
    *(
        "tools",
        "name",
        "function",
        "arguments",
        "parameters",
        "input_schema",
        "tool_use",
        "tool_result",
        "id",
        "call_id",
    ),
    *("image", "source", "url", "base64", "data", "media_type", "stream", "max_tokens", "max_output_tokens", "stop"),
    *("thinking", "reasoning", "effort", "format", "schema", "json_schema", "options", "num_predict", "images", "m"),
    *("function_call", "function_call_output", "output", "previous_response_id", "tool_choice", "any", "background"),
)
TEXT = st.sampled_from(WORDS) | st.text(max_size=8)
LEAF = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=25
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(("user", "assistant", "system", "tool")) | JSON, "content": JSON}
)
REQUEST = st.fixed_dictionaries(
    {"model": st.just("m")},
    optional={"messages": st.lists(MESSAGE | JSON, max_size=3) | JSON, "max_tokens": st.just(9) | JSON}
    | {
        name: JSON
        for name in ("input", "prompt", "tools", "tool_choice", "thinking", "stream", "format", "options", "system")
    },
)


def encoded(value: object) -> bytes:
    """JSON, with what JSON cannot say (NaN, huge numbers) as Python's clients write it."""
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass")


BODY = st.binary(max_size=60) | JSON.map(encoded) | REQUEST.map(encoded)


async def answer(path: bytes, body: bytes) -> tuple[int, bytes, str]:
    with rig() as it:
        it.plane.fetcher = Nothing()
        it.leases.next(*[ModelNotFound("none")] * 3)
        client = it.request(b"POST", path)
        client.body(body)
        client.end()
        await rest(it)
        await it.plane.tasks.stop()
        assert client.is_over, "it hangs"
        assert not client.is_aborted
        return client.answer.status, client.answer.body, client.answer.headers["content-type"]


class Nothing:
    """Has no picture and no response."""

    async def fetch(self, need: object) -> None:
        return None


async def rest(it: Rig) -> None:
    for _ in range(200):
        if not len(it.plane.tasks):
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.decode())
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=BODY)
def test_any_body_gets_a_well_formed_answer(path: bytes, body: bytes) -> None:
    status, said, content_type = asyncio.run(answer(path, body))
    assert content_type == "application/json"
    told: Any = msgspec.json.decode(said)
    assert 200 <= status < 500, (status, said)
    if status != 200:
        error = told["error"]
        assert error if path.startswith(b"/api/") else error["message"]
        assert (told.get("type") == "error") == path.startswith(b"/v1/messages")
