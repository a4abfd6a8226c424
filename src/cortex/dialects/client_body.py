"""Reads a client's JSON into structs, and says of what is not as it must be where it stands and what is wanted there.

Places are written as Anthropic and OpenAI have them: ``messages.3.content.0.source``. Which members there are, and what
their values mean, is each dialect's own business.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.dialects.openai_request import why_not_json

T = TypeVar("T")

_MAX_STEPS = 32
"""Of a place; deeper it is not looked for, for each step reads again what is left."""

_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode

_WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}
_WORDS |= {"array": "an array", "object": "an object"}


def read_client_body(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Return a request body as ``decode`` (of a msgspec decoder) reads it. Raises: MalformedRequest."""
    if not body.isascii():
        _check_text(body)
    try:
        return decode(body)
    except msgspec.ValidationError as exc:
        raise misplaced("", exc, body) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedRequest(why_not_json(body, exc)) from exc


def read_member(place: str, value: msgspec.Raw, decode: Callable[[msgspec.Raw], T]) -> T:
    """Return a member that was left undecoded at first. Raises: MalformedRequest."""
    try:
        return decode(value)
    except msgspec.ValidationError as exc:
        raise misplaced(place, exc, value) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise malformed(place, f"not valid JSON: {exc}") from exc
    except RecursionError as exc:
        raise malformed(place, "nested too deeply") from exc


def malformed(place: str, what: str) -> MalformedRequest:
    """Return the error for what stands at a place of the body."""
    return MalformedRequest(f"{place}: {what}", param=place)


def misplaced(place: str, exc: msgspec.ValidationError, value: bytes | msgspec.Raw = b"") -> MalformedRequest:
    """Return a msgspec error as one of ours; ``place`` is where in the body its own path begins, with ``value``."""
    words, _, path = str(exc).partition(" - at `$")
    inner = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).lstrip(".")
    if "[...]" in inner:
        inner = _place_of_odd_number(value) or inner
    missing = re.match(r"Object missing required field `(\w+)`", words)
    where = ".".join(filter(None, (place, inner, missing[1] if missing else "")))
    if missing:
        return malformed(where, "missing, but required")
    if not where:
        return MalformedRequest("The request body must be a JSON object.")
    plain = re.sub(r"`([^`]*)`", lambda found: _plain(found[1]), words)
    return malformed(where, plain[:1].lower() + plain[1:])


def _place_of_odd_number(value: bytes | msgspec.Raw) -> str:
    """Return where in JSON a number stands that is out of range; of members that no struct names msgspec does not say
    it. Empty when there is none."""
    steps: list[str] = []
    while len(steps) < _MAX_STEPS:
        try:
            parts = _decode_parts(value)
        except msgspec.MsgspecError:
            break  # the number itself
        named = parts.items() if isinstance(parts, dict) else enumerate(parts)
        step = next(((name, part) for name, part in named if not _is_readable(part)), None)
        if step is None:
            break
        steps.append(str(step[0])[:100])
        value = step[1]
    return ".".join(steps)


def _is_readable(value: msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _plain(types: str) -> str:
    return " or ".join(_WORDS.get(word, word) for word in types.split(" | "))


def _check_text(body: bytes) -> None:
    """What is passed on undecoded must be text too."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise MalformedRequest(why_not_json(body, exc)) from exc
