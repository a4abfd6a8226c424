"""What a request says to its model, in one line of bounded length: for a log, where an operator has asked for that.

Pictures, sounds and files are named, never shown. What cannot be read is empty: this never refuses a request.
"""

from collections.abc import Iterator

import msgspec

MAX_CHARS = 2000
"""Of what is said, per request."""
MAX_DEPTH = 12

_SAID_IN = ("instructions", "system", "prompt", "messages", "input", "query", "documents", "prefix", "suffix")
"""Where the dialects have it, in the order in which a model reads it."""
_MEDIA_KEYS = frozenset(("image_url", "images", "source", "input_audio", "file", "file_data", "audio", "data"))
_PASSED_OVER = frozenset(("type", "role", "id", "name", "cache_control", "detail", "model", "signature"))


def excerpt(body: bytes) -> str:
    """Return what a JSON request says, ``role: text`` after ``role: text``; empty for what is no such request."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(request, dict):
        return ""
    said, size = [], 0
    for key in _SAID_IN:
        for text in _texts(request.get(key), 0):
            said.append(text)
            size += len(text) + 1
            if size > MAX_CHARS:
                return " ".join(said)[:MAX_CHARS] + "…"
    return " ".join(said)


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield "[data]" if value.startswith("data:") else value
    elif depth >= MAX_DEPTH:
        return
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, dict):
        role = value.get("role")
        if isinstance(role, str):
            yield f"{role}:"
        for key, one in value.items():
            if key in _MEDIA_KEYS:
                yield f"[{_kind(value, key)}]"
            elif key not in _PASSED_OVER:
                yield from _texts(one, depth + 1)


def _kind(part: dict[str, object], key: str) -> str:
    kind = part.get("type")
    return kind if isinstance(kind, str) and len(kind) <= 20 else key
