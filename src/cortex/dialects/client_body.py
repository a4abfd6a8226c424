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

_WORDS = {"str": "a string", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}
_WORDS |= {"array": "an array", "object": "an object"}


def read_client_body(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Return a request body as ``decode`` (of a msgspec decoder) reads it. Raises: MalformedRequest."""
    if not body.isascii():
        _check_text(body)
    try:
        return decode(body)
    except msgspec.ValidationError as exc:
        raise misplaced("", exc) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedRequest(why_not_json(body, exc)) from exc


def read_member(place: str, value: msgspec.Raw, decode: Callable[[msgspec.Raw], T]) -> T:
    """Return a member that was left undecoded at first. Raises: MalformedRequest."""
    try:
        return decode(value)
    except msgspec.ValidationError as exc:
        raise misplaced(place, exc) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise malformed(place, f"not valid JSON: {exc}") from exc
    except RecursionError as exc:
        raise malformed(place, "nested too deeply") from exc


def malformed(place: str, what: str) -> MalformedRequest:
    """Return the error for what stands at a place of the body."""
    return MalformedRequest(f"{place}: {what}", param=place)


def misplaced(place: str, exc: msgspec.ValidationError) -> MalformedRequest:
    """Return a msgspec error as one of ours; ``place`` is where in the body its own path begins."""
    words, _, path = str(exc).partition(" - at `$")
    inner = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).lstrip(".")
    missing = re.match(r"Object missing required field `(\w+)`", words)
    where = ".".join(filter(None, (place, inner, missing[1] if missing else "")))
    if missing:
        return malformed(where, "missing, but required")
    if not where:
        return MalformedRequest("The request body must be a JSON object.")
    plain = re.sub(r"`([^`]*)`", lambda found: _plain(found[1]), words)
    return malformed(where, plain[:1].lower() + plain[1:])


def _plain(types: str) -> str:
    return " or ".join(_WORDS.get(word, word) for word in types.split(" | "))


def _check_text(body: bytes) -> None:
    """What is passed on undecoded must be text too."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise MalformedRequest(why_not_json(body, exc)) from exc
