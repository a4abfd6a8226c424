"""What engines answer in OpenAI chat, for tests: chunks and whole answers, as Python has them."""

import json
from typing import Any


def dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def chunk(finish: str | None = None, more: dict[str, Any] | None = None, **delta: object) -> bytes:
    """One chunk; ``more`` stands beside the choices."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return dumped({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **(more or {})})


def piece(arguments: object = None, name: str | None = None, id: str | None = None, index: int | None = 0) -> Any:
    """One entry of ``tool_calls``; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    entry: dict[str, Any] = {"index": index, "id": id}
    found = {key: value for key, value in entry.items() if value is not None}
    return {**found, "function": {key: value for key, value in function.items() if value is not None}}


def calling(*pieces: object, finish: str | None = None) -> bytes:
    return chunk(finish, tool_calls=list(pieces))


def usage(prompt: int = 9, completion: int = 4, cached: int | None = None, reasoning: int | None = None) -> Any:
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return counts


def usage_alone(**counts: int) -> bytes:
    return dumped({"id": "c", "choices": [], "usage": usage(**counts)})


def whole(finish: str | None = "stop", more: dict[str, Any] | None = None, **message: object) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return dumped({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage(), **(more or {})})


STOP = chunk("stop")
CALLS_END = chunk("tool_calls")
