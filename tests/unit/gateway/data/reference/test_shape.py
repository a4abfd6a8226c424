"""Schemas of structs are what the structs take."""

import msgspec

from cortex.gateway.data.reference.shape import FLAG, TEXT, nullable, one_of, shape, struct_shapes


class Leaf(msgspec.Struct):
    """A ``leaf``,
    green."""

    word: str
    raw: msgspec.Raw = msgspec.Raw(b"null")
    below: "list[Leaf] | None" = None


class Tree(msgspec.Struct):
    leaf: Leaf
    both: int | float | None = None
    text: str | list[str] = ""
    any_kind: object = None
    by_name: dict[str, bool] = {}


def test_every_kind_of_member_has_its_schema_and_structs_are_referred_to() -> None:
    own, inner = struct_shapes(Tree, "Of")
    assert own["required"] == ["leaf"]
    assert own["properties"] == {
        "leaf": {"$ref": "#/components/schemas/OfLeaf"},
        "both": nullable({"type": "number"}),
        "text": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
        "any_kind": {},
        "by_name": {"type": "object", "additionalProperties": FLAG},
    }
    below = nullable({"type": "array", "items": {"$ref": "#/components/schemas/OfLeaf"}})
    assert inner == {
        "OfLeaf": {**shape("A `leaf`, green.", {"word": TEXT, "raw": {}, "below": below}), "required": ["word"]}
    }


def test_a_shape_requires_what_is_always_there() -> None:
    made = shape("It.", {"a": TEXT}, {"b": one_of("x", "y")})
    assert (list(made["properties"]), made["required"], made["description"]) == (["a", "b"], ["a"], "It.")
