"""Writes a stream of Anthropic's dialect while an engine's comes in.

    feed --> message_start, then block after block: content_block_start, content_block_delta*, content_block_stop
    end  --> message_delta, message_stop            an error, at any time --> error, and nothing after it

One block is open at a time, of one type; indices begin at 0 and have no gap; every block is closed before the next one
and before the end (clients lose text otherwise, measured 2026-11). Tool calls are whole when they come here. Nothing is
said before the first block or the end. ``anthropic_answer`` decides what it means.

Source: Anthropic's API reference, "Streaming Messages" (2026-10).
"""

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.anthropic_answer import (
    Answering,
    CallIds,
    choose_stop,
    is_broken,
    signature,
    usage_members,
)
from cortex.dialects.anthropic_error import anthropic_event
from cortex.dialects.chat_event import Called, ChatEvent, Counted, Finished, Reasoned, Said
from cortex.dialects.chat_reader import ChatReader
from cortex.dialects.engine_error import broken_call
from cortex.dialects.usage import Usage

_encode = msgspec.json.Encoder().encode

_BLOCK_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_TEXT_BLOCK = b'{"type":"text","text":""}'
_THINKING_BLOCK = b'{"type":"thinking","thinking":"","signature":""}'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_TEXT_DELTA = _DELTA + b'{"type":"text_delta","text":'
_THINKING_DELTA = _DELTA + b'{"type":"thinking_delta","thinking":'
_INPUT_DELTA = _DELTA + b'{"type":"input_json_delta","partial_json":%b}}\n\n'
_SIGNATURE_DELTA = _DELTA + b'{"type":"signature_delta","signature":%b}}\n\n'


class AnthropicWriter:
    """One attempt at answering one request. Implements ``StreamWriter``."""

    __slots__ = (
        "_answering",
        "_counted",
        "_delta",
        "_has_called",
        "_has_started",
        "_ids",
        "_index",
        "_is_over",
        "_open",
        "_reader",
        "_thoughts",
        "failure",
    )

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._reader = ChatReader()
        self._ids = CallIds(answering)
        self._counted: Counted | None = None
        self._index = -1
        self._open: type[Said] | type[Reasoned] | None = None
        """Said or Reasoned, of which a block is open."""
        self._delta = b""
        """What stands before the text of a delta of the open block."""
        self._thoughts: list[str] = []
        self._has_called = False
        self._has_started = False
        self._is_over = False
        self.failure: CortexError | None = None

    @property
    def usage(self) -> Usage | None:
        """The newest token counts."""
        return self._counted.usage if self._counted else None

    @property
    def is_complete(self) -> bool:
        """See ``StreamWriter``."""
        return self._reader.is_complete and self.failure is None

    def feed(self, payload: bytes) -> bytes:
        """See ``StreamWriter``."""
        if self._is_over:
            return b""
        events = self._reader.feed(payload)
        if len(events) == 1:  # as nearly always
            return self._say(events[0])
        return b"".join([self._say(event) for event in events])

    def end(self) -> bytes:
        """See ``StreamWriter``."""
        if self._is_over or not self.is_complete:
            return b""
        return b"".join([self._say(event) for event in self._reader.end()])

    def fail(self, error: CortexError, status: int) -> bytes:
        """See ``StreamWriter``."""
        return self._break_off(error, status)

    def _say(self, event: ChatEvent) -> bytes:
        if isinstance(event, Said | Reasoned):
            return self._write_text(event)
        if isinstance(event, Called):
            return self._write_call(event)
        if isinstance(event, Counted):
            self._counted = event
            return b""
        if isinstance(event, Finished):
            return self._finish(event)
        self.failure = event.error
        return self._break_off(event.error, None)

    def _write_text(self, event: Said | Reasoned) -> bytes:
        is_thought = isinstance(event, Reasoned)
        if is_thought and not self._answering.thinks:
            return b""
        start = b"" if type(event) is self._open else self._open_text(type(event))
        if is_thought:
            self._thoughts.append(event.text)
            if self._answering.hides_thinking:
                return start
        return b"%b%b%b}}\n\n" % (start, self._delta, _encode(event.text))

    def _open_text(self, kind: type[Said] | type[Reasoned]) -> bytes:
        start = self._open_block(_TEXT_BLOCK if kind is Said else _THINKING_BLOCK)
        self._open = kind
        self._delta = (_TEXT_DELTA if kind is Said else _THINKING_DELTA) % self._index
        return start

    def _write_call(self, call: Called) -> bytes:
        if self._has_called and self._answering.is_single_call:
            return b""
        self._has_called = True
        block = {"type": "tool_use", "id": self._ids.take(call.id), "name": call.name, "input": {}}
        start = self._open_block(_encode(block))
        return start + _INPUT_DELTA % (self._index, _encode(call.arguments)) + _BLOCK_STOP % self._index

    def _open_block(self, block: bytes) -> bytes:
        before = self._close_block() if self._has_started else self._start()
        self._index += 1
        return before + _BLOCK_START % (self._index, block)

    def _close_block(self) -> bytes:
        if self._open is None:
            return b""
        out = _BLOCK_STOP % self._index
        if self._open is Reasoned:
            out = _SIGNATURE_DELTA % (self._index, _encode(signature("".join(self._thoughts)))) + out
            self._thoughts.clear()
        self._open = None
        return out

    def _start(self) -> bytes:
        self._has_started = True
        message: dict[str, object] = {
            "id": self._answering.new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": self._answering.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_members(self._counted),
        }
        return _event("message_start", {"message": message})

    def _finish(self, finished: Finished) -> bytes:
        if is_broken(finished, has_called=self._has_called, is_single_call=self._answering.is_single_call):
            self.failure = broken_call()
            return self._break_off(self.failure, None)
        before = self._close_block() if self._has_started else self._start()
        stop = choose_stop(finished, self._counted, self._answering, has_called=self._has_called)
        self._is_over = True
        delta = _event("message_delta", {"delta": stop.members(), "usage": usage_members(self._counted)})
        return before + delta + _event("message_stop", {})

    def _break_off(self, error: CortexError, status: int | None) -> bytes:
        if self._is_over:
            return b""
        self._is_over = True
        return anthropic_event(error, status)


def _event(kind: str, members: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **members}))
