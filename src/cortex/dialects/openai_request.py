"""The head of an OpenAI request: the few fields the gateway must know, and the few bytes it may change.

Only ``model``, ``stream``, ``stream_options`` and the bound on the answer are decoded; everything else stays the
caller's bytes, so that unknown fields, number formats and key order reach the engine untouched. Checking values is the
engine's business.
"""

import json
import re
from collections.abc import Callable

import msgspec

from cortex.contract.error import MalformedRequest, ModelMissing

MAX_MODEL_CHARS = 1024
"""More than any model is called; a name is looked up, compared with others and told back."""


class Head(msgspec.Struct, frozen=True):
    """What was asked, as far as routing must know. ``wants_usage`` is the caller's own ``include_usage``.

    ``max_tokens``: the most that any engine would make of the caller's bounds on the answer, all its choices together;
    negative where one of them asks for as much as there is room for, None where there is none that is a number.
    ``prompts``: how many the body has, ``choices``: how many answers to all of them.
    """

    model: str
    is_stream: bool = False
    has_stream_options: bool = False
    wants_usage: bool = False
    max_tokens: int | None = None
    choices: int = 1
    prompts: int = 1


class _Wire(msgspec.Struct):
    model: object = msgspec.UNSET
    max_tokens: object = None
    max_completion_tokens: object = None
    n_predict: object = None
    n: object = None
    n_cmpl: object = None
    best_of: object = None
    prompt: msgspec.Raw = msgspec.Raw()
    stream: object = False
    stream_options: object = msgspec.UNSET


_decode = msgspec.json.Decoder(_Wire).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
SEARCHED_BYTES = 8192
"""Putting a body together anew takes half a microsecond a KiB, searching it three times as long (measured 2026-11)."""

_INCLUDE_USAGE = b'"stream_options":{"include_usage":true}'
_MODEL_VALUE = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_head(body: bytes) -> Head:
    """Decode the head of a JSON body.

    Raises:
        MalformedRequest: not JSON, not an object, or a ``model`` that is not a string or far too long.
        ModelMissing: no ``model`` at all, or an empty one.
    """
    try:
        wire = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedRequest(why_not_json(body, exc)) from exc
    model = checked_model(wire.model)
    max_tokens = _most_tokens(wire)
    choices = 1 if wire.n is None and wire.n_cmpl is None else max(1, _whole(wire.n) or 1, _whole(wire.n_cmpl) or 1)
    prompts = 1
    if wire.prompt and (prompts := _prompts(wire.prompt)) > 1:
        choices *= prompts
        max_tokens = max_tokens if max_tokens is None or max_tokens < 0 else max_tokens * prompts
    if wire.stream is not True:
        return Head(model, max_tokens=max_tokens, choices=choices, prompts=prompts)
    options = wire.stream_options
    wants = isinstance(options, dict) and options.get("include_usage") is True
    return Head(model, True, options is not msgspec.UNSET, wants, max_tokens, choices, prompts)


def _most_tokens(wire: _Wire) -> int | None:
    """The most that is asked for: which of the names wins is each engine's own (llama.cpp: ``n_predict``)."""
    most = None
    for bound in (wire.max_tokens, wire.max_completion_tokens, wire.n_predict):
        number = _whole(bound) if bound is not None else None
        if number is None:
            continue
        if number < 0:
            return number
        most = number if most is None else max(most, number)
    if not most or (wire.n is None and wire.n_cmpl is None and wire.best_of is None):
        return most
    return most * max(1, *(_whole(choices) or 1 for choices in (wire.n, wire.n_cmpl, wire.best_of)))


def _prompts(prompt: msgspec.Raw) -> int:
    """Count the prompts of a completion: each text and each list of tokens is one, a list with tokens in it is one."""
    start = bytes(memoryview(prompt)[:2])
    if start[:1] != b"[" or start[1:].isdigit():
        return 1
    items = _decode_items(prompt)
    has_tokens = any(bytes(memoryview(item)[:1]) not in (b'"', b"[", b"{") for item in items)
    return 1 if has_tokens else max(1, len(items))


def _whole(number: object) -> int | None:
    """Return a number of JSON, of which engines leave out the fraction; None for what is none."""
    if type(number) is int:
        return number
    return int(number) if type(number) is float else None


def checked_model(model: object) -> str:
    """Return the name that a body's ``model`` is; UNSET where it has none. Raises: MalformedRequest, ModelMissing."""
    if type(model) is not str:
        if model is msgspec.UNSET:
            raise ModelMissing
        raise MalformedRequest(f'"model" must be a string, not {_json_kind(model)}.', param="model")
    if not model:
        raise ModelMissing
    if len(model) > MAX_MODEL_CHARS:
        raise MalformedRequest(f'"model" is longer than {MAX_MODEL_CHARS} characters.', param="model")
    return model


def with_include_usage(body: bytes, head: Head) -> bytes:
    """The same body with ``stream_options.include_usage`` switched on; the caller's other options are kept."""
    if head.wants_usage:
        return body
    if not head.has_stream_options:
        brace = body.index(b"{") + 1
        return b"".join((body[:brace], _INCLUDE_USAGE, b",", memoryview(body)[brace:]))
    return _remade(body, "stream_options", _counting)


def with_model(body: bytes, name: str) -> bytes:
    """The same body, which names a model, naming another one.

    The value's bytes are spliced where they stand when that is certain: the text `"model"` stands there once, and no
    letter of it is written as an escape, so it is the member itself. Else, and where looking for it costs more than
    that, the object is put together anew.
    """
    value = _encode(name)
    if len(body) <= SEARCHED_BYTES and body.count(b'"model"') == 1 and b"\\u006" not in body:
        match = _MODEL_VALUE.search(body)
        if match is not None:
            view = memoryview(body)
            return b"".join((view[: match.start(1)], value, view[match.end(1) :]))
    return _remade(body, "model", lambda _: value)


def with_max_tokens(body: bytes, tokens: int) -> bytes:
    """The same body, an object, asking for an answer of so many tokens at most; 0: as many as there is room for."""
    members = _decode_object(body)
    members.pop("max_tokens", None)
    return _encode(members | {"max_tokens": msgspec.Raw(b"%d" % tokens)} if tokens else members)


def _counting(options: bytes) -> bytes:
    """``stream_options`` with usage switched on; what is no object is left for the engine to refuse."""
    try:
        fields = {} if options == b"null" else _decode_object(options)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return options
    fields["include_usage"] = msgspec.Raw(b"true")
    return _encode(fields)


def _remade(body: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """The object put together anew with one member changed and all other values verbatim."""
    try:
        fields = _decode_object(body)
    except UnicodeDecodeError:
        return body  # a key that is no text: the engine will say so
    fields[name] = msgspec.Raw(change(bytes(fields[name])))
    return _encode(fields)


def _is_json_of_javascript(body: bytes) -> bool:
    """Tell whether a body would be JSON if any code unit were a character, as in JavaScript and Python."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def why_not_json(body: bytes, exc: Exception) -> str:
    """Return a sentence on why a body could not be decoded."""
    if not body.strip():
        return 'The request has no body: send a JSON object with at least "model".'
    if isinstance(exc, msgspec.ValidationError):
        return "The request body must be a JSON object."
    if isinstance(exc, RecursionError):
        return "The request body is nested too deeply."
    if _SURROGATE.search(body) and _is_json_of_javascript(body):
        return "The request body has half a character, one surrogate without the other: was a text cut within an emoji?"
    return f"The request body is not valid JSON: {exc}"


def _json_kind(value: object) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
