"""Takes out of a JSON schema what an engine cannot build a grammar from, and leaves all else as the caller wrote it.

Knows where in a schema a word is a keyword and where it is the name of a property: a tool may well have a parameter
called ``pattern``. Which keywords an engine cannot take is its traits' business (``engine``).

Source: llama-server (build 11549, tried 2026-11) refuses a whole request for a schema that is ``true`` and for a
``$ref`` into another document; builds with its own grammars also for a ``pattern`` that is not anchored.
"""

from functools import lru_cache

import msgspec

from cortex.dialects.engine import EngineTraits

MAX_KEPT_BYTES = 16384
"""A schema beyond that is looked through anew each time, so that what is kept stays below some MiB. Of the tools of
coding agents the largest are a third of that."""

MAX_DEPTH = 64
"""Deeper than that a schema is left as it is."""

_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Objects that hold schemas by names of the caller's own."""
_CONTAINERS = (dict, list)
_OF_DATA = frozenset({"enum", "const", "default", "examples", "example", "required", "dependentRequired"})

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def plain_tool_schema(schema: msgspec.Raw, traits: EngineTraits) -> msgspec.Raw:
    """Return the schema of a tool's parameters as the engine can take it; the very same where nothing is amiss."""
    return _plain(schema, traits.dropped_keywords, traits.takes_boolean_schemas)


def plain_answer_schema(schema: msgspec.Raw, traits: EngineTraits) -> msgspec.Raw:
    """Return the schema that an answer must follow, only what asks for the same rewritten.

    What the caller demands is never quietly dropped: the engine says what it cannot do.
    """
    return _plain(schema, ("$schema",) if traits.dropped_keywords else (), traits.takes_boolean_schemas)


def _plain(schema: msgspec.Raw, dropped: tuple[str, ...], takes_booleans: bool) -> msgspec.Raw:
    if not dropped and takes_booleans:
        return schema
    text = bytes(schema)
    plain = _kept if len(text) <= MAX_KEPT_BYTES else _rewritten
    return msgspec.Raw(plain(text, dropped, takes_booleans))


def _rewritten(text: bytes, dropped: tuple[str, ...], takes_booleans: bool) -> bytes:
    try:
        found = _decode(text)
        plain = _Rewriter(dropped, takes_booleans).of_schema(found, 0)
        return text if plain == found else _encode(plain)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text  # no JSON that could be looked into: the engine will say so


# An agent sends the same tools with each turn, and looking through 70 kB of them takes longer than all else.
_kept = lru_cache(maxsize=512)(_rewritten)


class _Rewriter:
    def __init__(self, dropped: tuple[str, ...], takes_booleans: bool) -> None:
        self._dropped = frozenset(dropped)
        self._takes_booleans = takes_booleans

    def of_schema(self, schema: object, depth: int) -> object:
        """Return one schema rewritten."""
        if depth > MAX_DEPTH:
            return schema
        if isinstance(schema, dict):
            return self._of_members(schema, depth)
        if isinstance(schema, list):
            return [self.of_schema(inner, depth + 1) for inner in schema]
        return {} if schema is True and not self._takes_booleans else schema

    def _of_members(self, schema: dict[str, object], depth: int) -> dict[str, object]:
        dropped = self._dropped
        kept: dict[str, object] = {}
        for key, value in schema.items():
            if key == "$ref":
                if isinstance(value, str) and value.startswith("#"):
                    kept[key] = value
            elif key not in dropped:
                # Most members are words and numbers, of which nothing can be taken.
                is_leaf = value is not True and not isinstance(value, _CONTAINERS)
                kept[key] = value if is_leaf else self._of_value(key, value, depth)
        return kept

    def _of_value(self, key: str, value: object, depth: int) -> object:
        if key in _OF_DATA or (key == "additionalProperties" and isinstance(value, bool)):
            return value
        if key in _OF_SCHEMAS and isinstance(value, dict):
            return {name: self.of_schema(inner, depth + 1) for name, inner in value.items()}
        return self.of_schema(value, depth + 1) if isinstance(value, dict | list) or key in _SCHEMA else value


_SCHEMA = frozenset({"items", "contains", "not", "if", "then", "else", "propertyNames", "additionalItems"})
"""Keywords whose value is a schema, so that ``true`` is one there."""
