"""Plain data into structs: what is accepted, and how a mismatch is worded. The wording of files is in test_settings."""

import msgspec
import pytest

from cortex.contract.error import ConfigError
from cortex.kit.strict import convert, did_you_mean, reject_unknown


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size: int = 1


class Tree(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()


def test_data_becomes_the_struct() -> None:
    assert convert({"leaf": {"size": 2}}, Tree, source="x") == Tree(leaf=Leaf(size=2))


def test_an_unknown_key_is_found_behind_an_optional_table() -> None:
    with pytest.raises(ConfigError) as caught:
        convert({"leaf": {"sise": 2}}, Tree, source="x")
    assert caught.value.message == "x: leaf.sise: unknown key; did you mean 'size'?"
    assert caught.value.details == {"file": "x", "key": "leaf.sise"}


def test_unknown_keys_are_left_to_convert_where_the_data_is_of_another_kind() -> None:
    reject_unknown({"leaves": 5, "leaf": None}, Tree, source="x")


@pytest.mark.parametrize(
    ("origin", "blamed"),
    [
        ({}, "file"),
        ({"leaves": "LEAVES"}, "LEAVES"),
        ({"leaf": "LEAF"}, "file"),
        ({"leaves": "LEAVES", "leaves[0].size": "SIZE"}, "SIZE"),
    ],
)
def test_the_source_that_set_the_value_is_blamed(origin: dict[str, str], blamed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert({"leaves": [{"size": "big"}]}, Tree, source="file", origin=origin)
    assert caught.value.message == f"{blamed}: leaves[0].size: expected a whole number, got a string"


def test_only_a_near_word_is_suggested() -> None:
    assert did_you_mean("lisen", ["listen", "name"]) == "; did you mean 'listen'?"
    assert did_you_mean("zzz", ["listen", "name"]) == ""
