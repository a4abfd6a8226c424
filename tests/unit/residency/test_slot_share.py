"""Slots go round as evenly as the wants allow, none is lost, and the odd one goes to who waits longest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex.residency.slot_share import Demand, fair_shares

NAMES = "abcdefgh"


@pytest.mark.parametrize(
    ("wanted", "slots", "shares"),
    [
        pytest.param([0], 4, [0], id="who wants nothing gets nothing"),
        pytest.param([9], 4, [4], id="one that wants more than there is gets all"),
        pytest.param([9, 9], 4, [2, 2], id="two that want much get half each"),
        pytest.param([10, 1], 4, [3, 1], id="a modest one gets what it wants, the other the rest"),
        pytest.param([10, 2, 10], 8, [3, 2, 3], id="the rest is divided evenly"),
        pytest.param([1, 1], 4, [1, 1], id="what nobody wants is not given"),
        pytest.param([5, 5], 0, [0, 0], id="nothing divided"),
    ],
)
def test_shares_are_as_even_as_the_wants_allow(wanted: list[int], slots: int, shares: list[int]) -> None:
    demands = [Demand(name, many) for name, many in zip(NAMES, wanted, strict=False)]
    assert list(fair_shares(demands, slots).values()) == shares


def test_the_odd_slot_goes_to_the_longest_waiting_and_among_equals_by_name() -> None:
    assert fair_shares([Demand("a", 5, 1.0), Demand("b", 5, 9.0)], 3) == {"a": 1, "b": 2}
    assert fair_shares([Demand("b", 5), Demand("a", 5)], 1) == {"a": 1, "b": 0}


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(0, 40))
def test_nothing_that_is_wanted_is_left_and_nobody_is_two_behind(wanted: list[int], slots: int) -> None:
    shares = fair_shares([Demand(name, many) for name, many in zip(NAMES, wanted, strict=False)], slots)
    got = [shares[name] for name, _ in zip(NAMES, wanted, strict=False)]
    assert sum(got) == min(slots, sum(wanted))
    assert all(has <= wants for has, wants in zip(got, wanted, strict=True))
    for has, wants in zip(got, wanted, strict=True):
        assert has == wants or has >= max(got) - 1
