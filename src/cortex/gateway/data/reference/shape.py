"""JSON schemas in few words, and those of structs of ours as OpenAPI 3.1 has them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect as info

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}

_PLAIN: dict[type, Schema] = {
    info.StrType: TEXT,
    info.IntType: WHOLE,
    info.FloatType: NUMBER,
    info.BoolType: FLAG,
    info.NoneType: {"type": "null"},
}


def listed(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


def one_of(*words: str) -> Schema:
    """Return the schema of a text that is one of some words."""
    return {"type": "string", "enum": list(words)}


def either(*schemas: Schema) -> Schema:
    """Return the schema of what fits one of several."""
    return {"anyOf": list(schemas)}


def nullable(schema: Schema) -> Schema:
    """Return the schema of what may be null."""
    return either(schema, {"type": "null"})


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def shape(about: str, always: Mapping[str, Schema], sometimes: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object: the members that it always has, and those that it has sometimes."""
    members = {**always, **(sometimes or {})}
    return {"type": "object", "description": about, "properties": members, "required": list(always)}


def noted(schema: Schema, about: str) -> Schema:
    """Return a schema with a description."""
    return {**schema, "description": about}


def struct_shapes(kind: type[msgspec.Struct], prefix: str) -> tuple[Schema, dict[str, Schema]]:
    """Return the schema of a struct, and those that it refers to by their names in the document.

    What is left undecoded may be anything. No default is told: a member that has one may be left out.
    """
    found: dict[str, Schema] = {}
    _refer(info.type_info(kind), prefix, found)
    own = found.pop(prefix + kind.__name__)
    return own, found


def _refer(told: info.Type, prefix: str, found: dict[str, Schema]) -> Schema:
    """Return the schema of a type; put those of structs into ``found``."""
    match told:
        case info.StructType(cls=cls, fields=fields):
            name = prefix + cls.__name__
            if name not in found:
                found[name] = {}  # it may refer to itself
                members = {field.encode_name: _refer(field.type, prefix, found) for field in fields}
                required = [field.encode_name for field in fields if field.required]
                found[name] = {**shape(_words(cls), members), "required": required}
            return ref(name)
        case info.UnionType(types=types):
            # A whole number is a number: what takes both is told once.
            is_number = any(isinstance(one, info.FloatType) for one in types)
            told_of = [one for one in types if not (is_number and isinstance(one, info.IntType))]
            return either(*(_refer(one, prefix, found) for one in told_of))
        case info.ListType(item_type=item):
            return listed(_refer(item, prefix, found))
        case info.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _refer(value, prefix, found)}
        case info.LiteralType(values=values):
            return one_of(*map(str, values))
    return dict(_PLAIN.get(type(told), ANYTHING))


def _words(kind: type[msgspec.Struct]) -> str:
    return " ".join((kind.__doc__ or "").replace("``", "`").split())
