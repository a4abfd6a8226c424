"""Requests of Anthropic's dialect as far as their answers go, for tests: ids are counted, so that runs are alike."""

from collections.abc import Iterable
from itertools import count
from typing import Any

import msgspec
from tests.unit.dialects.anthropic_checker import check_message, message_of

from cortex.dialects.anthropic_answer import Answering
from cortex.dialects.anthropic_reply import anthropic_reply
from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.chat_reader import read_answer


def answering(**more: Any) -> Answering:
    numbers = count(1)
    return Answering(model="claude-x", new_id=lambda prefix: f"{prefix}{next(numbers)}", **more)


def streamed(*payloads: bytes, **more: Any) -> bytes:
    """The client's whole stream for an engine's."""
    writer = AnthropicWriter(answering(**more))
    return b"".join([writer.feed(payload) for payload in payloads]) + writer.end()


def message(*payloads: bytes, **more: Any) -> dict[str, Any]:
    """The message that the client assembles."""
    return message_of(streamed(*payloads, **more))


def replied(body: bytes, **more: Any) -> dict[str, Any]:
    """The message that answers a request that was not streamed."""
    found: dict[str, Any] = msgspec.json.decode(anthropic_reply(read_answer(body), answering(**more)))
    return check_message(found)


def shown(content: Iterable[dict[str, Any]]) -> list[Any]:
    """Blocks in short: texts as ``("text", text)``, calls as ``(name, input)``."""
    return [
        (block["name"], block["input"]) if block["type"] == "tool_use" else (block["type"], block[block["type"]])
        for block in content
    ]
