"""Tables of members become schemas that say what becomes of each."""

from cortex.gateway.data.reference.member import EFFECTS, Member, body_shape
from cortex.gateway.data.reference.shape import TEXT, shape


def test_a_member_has_the_schema_of_its_struct_unless_it_brings_one() -> None:
    read = shape("Read.", {"a": TEXT, "b": TEXT})
    members = {
        "a": Member(effect="translated", about="Well.", example="x", is_required=True),
        "b": Member(effect="ignored", schema={"type": "integer"}),
        "c": Member(effect="passed"),
    }
    made = body_shape("Body.", members, read)
    assert made["properties"] == {
        "a": {"type": "string", "x-cortex-effect": "translated", "description": "Well.", "examples": ["x"]},
        "b": {"type": "integer", "x-cortex-effect": "ignored"},
        "c": {"x-cortex-effect": "passed"},
    }
    assert (made["required"], made["additionalProperties"]) == (["a"], True)


def test_every_effect_is_explained() -> None:
    assert all(EFFECTS.values())
