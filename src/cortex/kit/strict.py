"""Turns plain data (from TOML or JSON) into structs, and every mismatch into a sentence.

A struct says what its values must be by its types, ``msgspec.Meta`` and a ``__post_init__`` that raises
``ValueError("field: expected …")``. A breach is a :class:`ConfigError` naming the source, the dotted key and what was
expected. Used for settings and for the catalogue; wire messages are not its business, they say less to strangers.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as shape

from cortex.contract.error import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

NAME = r"^[^\s/]+$(?!\n)"
"""The pattern of a name that stands in lines and paths."""

_PLAIN_WORDS = {"array": "a list", "object": "a table", "str": "a string", "int": "a whole number"}
_PLAIN_WORDS |= {"float": "a number", "bool": "true or false", "null": "nothing"}


def convert(tree: Mapping[str, Any], kind: type[T], *, source: str, origin: Mapping[str, str] | None = None) -> T:
    """Return ``tree`` as ``kind``; ``origin`` maps dotted keys to another source that set them.

    Raises: ConfigError.
    """
    reject_unknown(tree, kind, source=source)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as exc:
        key, wanted = _explain(str(exc), kind)
        place = (origin or {}).get(_setter(key, origin or {}), source)
        raise ConfigError(f"{place}: {key}: {wanted}", file=place, key=key) from exc


def reject_unknown(tree: object, kind: object, *, source: str, prefix: str = "") -> None:
    """Raise ConfigError for the first key in ``tree`` that ``kind`` (a type or a msgspec shape) does not have."""
    shaped = kind if isinstance(kind, shape.Type) else shape.type_info(kind)
    if isinstance(shaped, shape.UnionType):
        for member in shaped.types:
            reject_unknown(tree, member, source=source, prefix=prefix)
    elif isinstance(shaped, shape.VarTupleType | shape.ListType) and isinstance(tree, list):
        for index, item in enumerate(tree):
            reject_unknown(item, shaped.item_type, source=source, prefix=f"{prefix}[{index}]")
    elif isinstance(shaped, shape.StructType) and isinstance(tree, Mapping):
        known = {field.encode_name: field.type for field in shaped.fields}
        for name, value in tree.items():
            key = f"{prefix}.{name}" if prefix else name
            if name not in known:
                raise ConfigError(f"{source}: {key}: unknown key{_hint(name, known)}", file=source, key=key)
            reject_unknown(value, known[name], source=source, prefix=key)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or nothing."""
    from difflib import get_close_matches  # only needed on the way to an error

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _hint(name: str, known: Mapping[str, shape.Type]) -> str:
    """Suggest the table that has a key of this very name, else a near key of this one."""
    for section, inner in known.items():
        if isinstance(inner, shape.StructType) and any(field.encode_name == name for field in inner.fields):
            return f"; did you mean '{name}' in [{section}]?"
    return did_you_mean(name, known) or f"; known are: {', '.join(sorted(known))}"


def _setter(key: str, origin: Mapping[str, str]) -> str:
    """Return the longest key in ``origin`` that is ``key`` or holds it."""
    holders = [start for start in origin if key == start or key.startswith((f"{start}.", f"{start}["))]
    return max(holders, key=len, default="")


def _explain(message: str, kind: type[msgspec.Struct]) -> tuple[str, str]:
    """Split msgspec's ``Expected `int`, got `str` - at `$.a.b``` into the dotted key and plain words."""
    words, _, path = message.partition(" - at `$")
    key = path.rstrip("`").removeprefix(".")
    own = re.match(r"(\w+): ", words)
    if own:  # from a __post_init__, which names its field first
        return (f"{key}.{own[1]}" if key else own[1]), words[own.end() :]
    missing = re.match(r"Object missing required field `(\w+)`", words)
    if missing:
        return (f"{key}.{missing[1]}" if key else missing[1]), "missing, but required"
    if words.startswith("Invalid enum value "):
        got = words.removeprefix("Invalid enum value ").strip("'")
        choices = _choices(kind, key)
        return key, f"expected one of {', '.join(choices)}, got '{got}'{did_you_mean(got, choices)}"
    words = words.replace(f"`str` matching regex {NAME!r}", "a name without white space and slashes")
    plain = re.sub(r"`([^`]*)`", lambda found: _plain(found[1]), words)
    return key or "(top level)", plain[:1].lower() + plain[1:]


def _plain(types: str) -> str:
    words = [_PLAIN_WORDS.get(word, word) for word in types.split(" | ")]
    return " or ".join(word for word in words if word != "nothing" or len(words) == 1)


def _choices(kind: type[msgspec.Struct], key: str) -> list[str]:
    """Return the words that the Literal at a dotted key allows."""
    shaped: shape.Type = shape.type_info(kind)
    for part in re.sub(r"\[[^]]*\]", "", key).split("."):
        fields = shaped.fields if isinstance(shaped, shape.StructType) else ()
        shaped = next((field.type for field in fields if field.encode_name == part), shaped)
        while isinstance(shaped, shape.VarTupleType | shape.ListType):
            shaped = shaped.item_type
    members = shaped.types if isinstance(shaped, shape.UnionType) else (shaped,)
    return [str(value) for member in members if isinstance(member, shape.LiteralType) for value in member.values]
