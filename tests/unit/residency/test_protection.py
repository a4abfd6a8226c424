"""How long a model is left alone after it was loaded."""

import pytest

from cortex.residency.protection import protected_left_s, protected_s


@pytest.mark.parametrize(
    ("min_residency_s", "load_s", "expected"),
    [(None, None, 0), (30, None, 30), (None, 20, 40), (30, 20, 40), (100, 20, 100), (0, 0, 0)],
    ids=["nothing known", "asked for", "twice its load", "its load is longer", "asked for longer", "no time at all"],
)
def test_the_longer_of_what_was_asked_for_and_twice_the_load_counts(min_residency_s, load_s, expected):
    assert protected_s(min_residency_s, load_s) == expected


def test_protection_runs_out_and_stays_out():
    assert [protected_left_s(100, 30, 20, now_s) for now_s in (100, 110, 139.5, 140, 200)] == [40, 30, 0.5, 0, 0]
