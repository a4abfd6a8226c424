"""Puts the name the caller asked for back into an engine's answer (`"model": "…"`).

A single-model server answers with its own id whatever it was asked for (llama.cpp, measured 2026-10), and an alias is
unknown to the engine. Looks at the first `"model"` member only: inside JSON strings quotes are escaped, so an
unescaped `"model":"…"` is a real member, and the first one of an OpenAI answer is the answer's own.
"""

import re

import msgspec

_MEMBER = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(str).decode


def find_splice(data: bytes, wanted: str) -> tuple[bytes, bytes] | None:
    """The (old, new) bytes that make ``data`` name ``wanted``, equal when it does; None when it names nothing."""
    at = data.find(b'"model"')
    while at >= 0:
        match = _MEMBER.match(data, at)
        if match is not None:
            try:
                if _decode(match[1]) == wanted:
                    return match[0], match[0]
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # no text at all; the caller's name is
            return match[0], match[0][: -len(match[1])] + _encode(wanted)
        at = data.find(b'"model"', at + 7)
    return None


def spliced(body: bytes, wanted: str) -> bytes:
    """A whole answer naming ``wanted``; unchanged when it names nothing or already names it."""
    if body.startswith(b'"model":' + _encode(wanted), body.find(b'"model"')):
        return body  # the usual case, told without a pattern
    found = find_splice(body, wanted)
    return body.replace(*found, 1) if found is not None and found[0] != found[1] else body
