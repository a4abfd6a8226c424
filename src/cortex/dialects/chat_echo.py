"""Takes the beginning of an answer that the caller gave off a whole answer of an engine that says it again.

Clients put what comes after their own beginning, so with the echo they would have it twice. Streamed answers have none.

Source: llama-server of build 11549, tried 2026-11, with and without ``continue_final_message`` and ``echo``.
"""

from collections.abc import Iterable

from cortex.dialects.chat_event import ChatEvent, Said
from cortex.dialects.chat_request import ChatRequest
from cortex.dialects.engine import EngineTraits


def echo_of(request: ChatRequest, traits: EngineTraits) -> str:
    """Return what a whole answer of such an engine begins with that the caller has said; usually nothing."""
    last = request.messages[-1] if request.messages else None
    if not traits.echoes_beginning or last is None or last.role != "assistant" or not isinstance(last.content, str):
        return ""
    return last.content


def without_echo(events: Iterable[ChatEvent], echo: str) -> list[ChatEvent]:
    """Return the events of a whole answer without what the caller has said, if its text does begin with that."""
    events = list(events)
    at = next((index for index, event in enumerate(events) if isinstance(event, Said)), None)
    said = events[at] if at is not None else None
    if at is None or not echo or not isinstance(said, Said) or not said.text.startswith(echo):
        return events
    rest = said.text[len(echo) :]
    return [*events[:at], *([Said(rest)] if rest else []), *events[at + 1 :]]
