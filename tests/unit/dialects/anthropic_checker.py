"""A strict reader of Anthropic's streams: what it accepts, every client can read. For tests.

One ``message_start``; blocks one after the other, indices from 0 without a gap, each started, filled by deltas of its
own type, closed once; thinking signed before it is closed; arguments a JSON object; one ``message_delta`` with a stop
reason and output tokens, then ``message_stop``; or an ``error`` as the last event.
"""

import json
import re
from typing import Any

_EVENT = re.compile(rb"(?:: [^\n]*\n)*event: (\w+)\ndata: ([^\n]+)\n\n")
_DELTAS = {"text": {"text_delta"}, "thinking": {"thinking_delta", "signature_delta"}, "tool_use": {"input_json_delta"}}
_STARTS = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
STOP_REASONS = {"end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "model_context_window_exceeded"}


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """Take the stream apart; every byte of it has to belong to an event."""
    found, end = [], 0
    for match in _EVENT.finditer(stream):
        assert match.start() == end, f"no event: {stream[end : match.start()]!r}"
        end = match.end()
        data = json.loads(match[2])
        assert data["type"] == match[1].decode(), "type and event differ"
        found.append(data)
    assert end == len(stream), f"no event: {stream[end:]!r}"
    return found


class Checker:
    """Takes events and builds the message; asserts that each may come where it comes."""

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self._open: dict[str, Any] | None = None
        self._arguments = ""
        self._has_delta = False
        self._is_over = False

    def take(self, event: dict[str, Any]) -> None:
        assert not self._is_over, f"{event['type']} after the end"
        if event["type"] == "ping":
            return
        if event["type"] == "error":
            assert event["error"]["type"]
            assert event["error"]["message"]
            self.error, self._is_over = event["error"], True
            return
        getattr(self, f"_{event['type']}")(event)

    def result(self) -> dict[str, Any]:
        """The whole message. Fails for a stream that is not over, or ended in an error."""
        assert self.error is None, self.error
        assert self._is_over, "the stream has no end"
        assert self.message is not None
        return self.message

    def _message_start(self, event: dict[str, Any]) -> None:
        assert self.message is None, "message_start twice"
        message = event["message"]
        assert set(message) == {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
        assert message["type"] == "message"
        assert message["role"] == "assistant"
        assert message["content"] == []
        assert message["stop_reason"] is message["stop_sequence"] is None
        _check_usage(message["usage"])
        self.message = message

    def _content_block_start(self, event: dict[str, Any]) -> None:
        assert self.message is not None, "a block before message_start"
        assert self._open is None, "a block within a block"
        assert not self._has_delta, "a block after message_delta"
        assert event["index"] == len(self.message["content"]), "a gap between indices"
        block = event["content_block"]
        assert _STARTS[block["type"]].items() <= block.items()
        if block["type"] == "tool_use":
            assert re.fullmatch(r"[A-Za-z0-9_-]+", block["id"])
            assert block["id"] not in [other.get("id") for other in self.message["content"]], "an id twice"
            assert block["name"]
        self.message["content"].append(block)
        self._open, self._arguments = block, ""

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        block, delta = self._at(event), event["delta"]
        kind = delta["type"]
        assert kind in _DELTAS[block["type"]], f"{kind} in a block of {block['type']}"
        assert not block.get("signature"), "something after the signature"
        if kind == "input_json_delta":
            self._arguments += delta["partial_json"]
        else:
            name = kind.removesuffix("_delta")
            assert delta[name], "an empty delta"
            block[name] += delta[name]

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        block = self._at(event)
        assert block["type"] != "text" or block["text"], "an empty text block"
        assert block["type"] != "thinking" or block["signature"], "thinking without a signature"
        if block["type"] == "tool_use":
            block["input"] = json.loads(self._arguments or "{}")
            assert isinstance(block["input"], dict)
        self._open = None

    def _message_delta(self, event: dict[str, Any]) -> None:
        assert self.message is not None, "message_delta before message_start"
        assert self._open is None, "message_delta within a block"
        assert not self._has_delta, "message_delta twice"
        assert event["delta"]["stop_reason"] in STOP_REASONS
        assert "stop_sequence" in event["delta"]
        _check_usage(event["usage"])
        self.message |= event["delta"]
        self.message["usage"] |= event["usage"]
        self._has_delta = True

    def _message_stop(self, event: dict[str, Any]) -> None:
        assert self._has_delta, "message_stop before message_delta"
        self._is_over = True

    def _at(self, event: dict[str, Any]) -> dict[str, Any]:
        assert self.message is not None
        assert self._open is not None, "nothing is open"
        assert event["index"] == len(self.message["content"]) - 1, "another block than the open one"
        return self._open


def _check_usage(usage: dict[str, Any]) -> None:
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert isinstance(usage[name], int), name
        assert usage[name] >= 0


def checked(stream: bytes) -> Checker:
    """Read a stream to its end."""
    checker = Checker()
    for event in events_of(stream):
        checker.take(event)
    return checker


def message_of(stream: bytes) -> dict[str, Any]:
    """The message that a whole stream says."""
    return checked(stream).result()


def check_message(message: dict[str, Any]) -> dict[str, Any]:
    """Check a whole answer as strictly as a stream."""
    content = message["content"]
    assert {key: message[key] for key in ("type", "role")} == {"type": "message", "role": "assistant"}
    assert message["id"].startswith("msg_")
    assert message["stop_reason"] in STOP_REASONS
    assert "stop_sequence" in message
    _check_usage(message["usage"])
    ids = [block["id"] for block in content if block["type"] == "tool_use"]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(block["input"], dict) for block in content if block["type"] == "tool_use")
    assert all(block["text"] for block in content if block["type"] == "text")
    assert all(block["signature"] for block in content if block["type"] == "thinking")
    return message
