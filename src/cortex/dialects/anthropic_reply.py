"""Writes a whole answer of Anthropic's dialect: one JSON message. ``anthropic_answer`` decides what stands in it.

``{"id", "type": "message", "role", "model", "content": [thinking | text | tool_use], "stop_reason", "stop_sequence",
"usage"}``; blocks in the order in which the engine said them, no empty ones.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from cortex.contract.error import UpstreamBroken
from cortex.dialects.anthropic_answer import (
    Answering,
    CallIds,
    choose_stop,
    is_broken,
    signature,
    usage_members,
)
from cortex.dialects.chat_event import Called, ChatEvent, Counted, Failed, Finished, Reasoned, Said
from cortex.dialects.engine_error import broken_call

_encode = msgspec.json.encode


def anthropic_reply(events: Sequence[ChatEvent], answering: Answering) -> bytes:
    """Write what an engine said, ``Finished`` included. Raises: UpstreamError when a tool call was broken off."""
    blocks = _blocks(events, answering)
    counted = next((event for event in reversed(events) if isinstance(event, Counted)), None)
    finished = next((event for event in events if isinstance(event, Finished)), None)
    for event in events:
        if isinstance(event, Failed):
            raise event.error
    if finished is None:
        raise UpstreamBroken("The engine's answer has no end.")
    has_called = any(block["type"] == "tool_use" for block in blocks)
    if is_broken(finished, has_called=has_called, is_single_call=answering.is_single_call):
        raise broken_call()
    stop = choose_stop(finished, counted, answering, has_called=has_called)
    return _encode(
        {
            "id": answering.new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": answering.model,
            "content": blocks,
            **stop.members(),
            "usage": usage_members(counted),
        }
    )


def _blocks(events: Sequence[ChatEvent], answering: Answering) -> list[dict[str, object]]:
    ids = CallIds(answering)
    return [_block(event, answering, ids) for event in _joined(_kept(events, answering))]


def _block(event: Said | Reasoned | Called, answering: Answering, ids: CallIds) -> dict[str, object]:
    if isinstance(event, Said):
        return {"type": "text", "text": event.text}
    if isinstance(event, Reasoned):
        shown = "" if answering.hides_thinking else event.text
        return {"type": "thinking", "thinking": shown, "signature": signature(event.text)}
    given = msgspec.Raw(event.arguments.encode())
    return {"type": "tool_use", "id": ids.take(event.id), "name": event.name, "input": given}


def _kept(events: Sequence[ChatEvent], answering: Answering) -> Iterator[Said | Reasoned | Called]:
    """Leave out what the caller did not ask for."""
    has_called = False
    for event in events:
        if isinstance(event, Called) and not (has_called and answering.is_single_call):
            has_called = True
            yield event
        elif isinstance(event, Said) or (isinstance(event, Reasoned) and answering.thinks):
            yield event


def _joined(events: Iterable[Said | Reasoned | Called]) -> list[Said | Reasoned | Called]:
    """Join texts of one kind that follow each other, as they are one block."""
    joined: list[Said | Reasoned | Called] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Said) and isinstance(last, Said):
            joined[-1] = Said(last.text + event.text)
        elif isinstance(event, Reasoned) and isinstance(last, Reasoned):
            joined[-1] = Reasoned(last.text + event.text)
        else:
            joined.append(event)
    return joined
