"""Puts the name the caller asked for back into an engine's answer (`"model": "…"`).

A single-model server answers with its own id whatever it was asked for (llama.cpp, measured 2026-10), and an alias is
unknown to the engine. Looks at the first `"model"` member only: inside JSON strings quotes are escaped, so an
unescaped `"model":"…"` is a real member, and the first one of an OpenAI answer is the answer's own.
"""

import re

import msgspec

_MEMBER = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_encode = msgspec.json.Encoder().encode


def find_splice(data: bytes, wanted: str) -> tuple[bytes, bytes] | None:
    """The (old, new) bytes that make ``data`` name ``wanted``; None when it names nothing or already names it."""
    match = _MEMBER.search(data)
    if match is None:
        return None
    old = match[0]
    value_at = old.index(b'"', old.index(b":"))
    if msgspec.json.decode(old[value_at:]) == wanted:
        return None
    return old, old[:value_at] + _encode(wanted)


def spliced(body: bytes, wanted: str) -> bytes:
    """A whole answer naming ``wanted``; unchanged when it names nothing or already names it."""
    found = find_splice(body, wanted)
    return body.replace(found[0], found[1], 1) if found else body
