"""Requests of Anthropic's dialect for tests, and what an engine gets of them."""

from typing import Any

import msgspec
import pytest

from cortex.contract.error import CallerError
from cortex.dialects.anthropic_request import read_anthropic
from cortex.dialects.engine import EngineTraits, traits_of

OPENAI = traits_of("openai")
LLAMACPP = traits_of("llamacpp")
MISTRALRS = traits_of("mistralrs")
VLLM = traits_of("vllm")
SGLANG = traits_of("sglang")
ALL = [OPENAI, LLAMACPP, MISTRALRS, VLLM, SGLANG]

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def asked(**members: Any) -> bytes:
    """Return a body; what is None is left out."""
    whole = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **members}
    return msgspec.json.encode({name: value for name, value in whole.items() if value is not None})


def sent(traits: EngineTraits = OPENAI, **members: Any) -> dict[str, Any]:
    """Return what the engine gets for a request with these members."""
    body: dict[str, Any] = msgspec.json.decode(read_anthropic(asked(**members)).body(traits, "engine-id", None))
    return body


def messages(*turns: Any, traits: EngineTraits = OPENAI, **members: Any) -> list[dict[str, Any]]:
    """Return the messages that the engine gets for these turns."""
    found: list[dict[str, Any]] = sent(traits, messages=list(turns), **members)["messages"]
    return found


def refusal(**members: Any) -> str:
    """Return why a request is refused."""
    with pytest.raises(CallerError) as caught:
        read_anthropic(asked(**members))
    return caught.value.message


def user(*content: Any) -> dict[str, Any]:
    """Return a user's turn: one string, or blocks."""
    return turn("user", *content)


def assistant(*content: Any) -> dict[str, Any]:
    """Return an assistant's turn."""
    return turn("assistant", *content)


def turn(role: str, *content: Any) -> dict[str, Any]:
    """Return a turn of any role."""
    return {"role": role, "content": content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)}


def text(words: str) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": words}


def use(call_id: str, name: str = "look", **arguments: Any) -> dict[str, Any]:
    """Return a call."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str, content: Any = msgspec.UNSET, **members: Any) -> dict[str, Any]:
    """Return a call's result."""
    given = {} if content is msgspec.UNSET else {"content": content}
    return {"type": "tool_result", "tool_use_id": call_id, **given, **members}


def tool(name: str, **schema: Any) -> dict[str, Any]:
    """Return a tool of the caller's own."""
    return {"name": name, "description": f"Does {name}.", "input_schema": {"type": "object", **schema}}
