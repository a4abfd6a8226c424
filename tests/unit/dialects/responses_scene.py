"""Requests of the Responses dialect for tests, what an engine gets of them, and what a client gets of its answers."""

import json
from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest

from cortex.contract.error import CallerError
from cortex.dialects.engine import EngineTraits, traits_of
from cortex.dialects.interface import Mint
from cortex.dialects.responses import RESPONSES, ResponsesTranslation

OPENAI = traits_of("openai")
EPOCH_S = 1_790_000_000.5
PICTURE = "data:image/png;base64,aGk="

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": False}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Patches."}
CRM = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [{**WEATHER, "name": "find"}]}


def a_mint() -> Mint:
    """Ids that tell which they are."""
    numbers = count(1)
    return Mint(epoch_s=EPOCH_S, new_id=lambda prefix: f"{prefix}{next(numbers):024d}", elapsed_s=lambda: 2.0)


def asked(**members: Any) -> bytes:
    """A body; what is None is left out."""
    body = {"model": "m", "input": "hi", **members}
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def translated(**members: Any) -> ResponsesTranslation:
    return RESPONSES.translate(asked(**members), a_mint())


def sent_by(translation: ResponsesTranslation, traits: EngineTraits = OPENAI) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(translation.body(traits, "engine-id", None))
    return found


def sent(traits: EngineTraits = OPENAI, **members: Any) -> dict[str, Any]:
    """What an engine gets for a request."""
    return sent_by(translated(**members), traits)


def messages(*items: Any, **members: Any) -> list[dict[str, Any]]:
    """The messages that an engine gets for these items."""
    found: list[dict[str, Any]] = sent(input=list(items), **members)["messages"]
    return found


def refusal(**members: Any) -> CallerError:
    """Why a request is refused, at the latest when an engine is to get it."""
    with pytest.raises(CallerError) as caught:
        sent(**members)
    return caught.value


def streamed(payloads: Iterable[bytes], **members: Any) -> bytes:
    """What a client gets for the chunks of an engine."""
    translation = translated(stream=True, **members)
    translation.body(OPENAI, "engine-id", None)
    writer = translation.writer()
    return b"".join([*map(writer.feed, payloads), writer.end()])


def replied(answer: bytes, **members: Any) -> dict[str, Any]:
    """What a client gets for the whole answer of an engine."""
    translation = translated(**members)
    translation.body(OPENAI, "engine-id", None)
    found: dict[str, Any] = json.loads(translation.reply(answer))
    return found


def user(*content: Any) -> dict[str, Any]:
    return said("user", *content)


def assistant(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def said(role: str, *content: Any) -> dict[str, Any]:
    """A message: one string, or parts."""
    is_string = len(content) == 1 and isinstance(content[0], str)
    return {"type": "message", "role": role, "content": content[0] if is_string else list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def call(call_id: str, name: str = "weather", arguments: str = "{}", **members: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **members}


def output(call_id: str, value: Any = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}
