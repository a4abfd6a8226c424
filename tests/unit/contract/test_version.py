"""How far apart two versions are, and when that is said."""

import pytest

from cortex.contract.version import MAJOR, minors_apart, skew_trouble


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("0.4.1", "0.4.0", 0),
        ("0.4.1", "0.5.0", 1),
        ("0.10.0", "0.9.3", 1),
        ("0.3.0", "0.5.0", 2),
        ("1.0.0", "0.9.0", MAJOR),
        ("0.5.0rc1", "0.5.0.dev3+g1", 0),
        ("", "0.5.0", None),
        ("fake", "0.5.0", None),
    ],
)
def test_versions_are_so_many_minor_versions_apart(one: str, other: str, apart: int | None) -> None:
    assert minors_apart(one, other) == minors_apart(other, one) == apart


@pytest.mark.parametrize(
    ("theirs", "is_told"), [("0.3.9", True), ("0.4.0", False), ("0.6.0", False), ("1.5.0", True), ("", False)]
)
def test_who_is_more_than_one_minor_version_away_is_in_trouble(theirs: str, is_told: bool) -> None:
    said = skew_trouble(theirs, "0.5.2", "the neuron")
    assert bool(said) == is_told
    assert not is_told or (theirs in said and "0.5.2" in said and "the neuron" in said)
