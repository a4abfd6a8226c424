"""What a process holds is divided among the models in it, and nothing of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex.residency.division import divided_mb
from cortex.residency.fit import Resident, Share, held_on


def a_resident(key: str, *shares: tuple[int, int, int | None]) -> Resident:
    """Return a resident of (device, declared, measured before)."""
    made = (Share(device=d, declared_mb=declared, measured_mb=measured) for d, declared, measured in shares)
    return Resident(key=key, shares=tuple(made))


def test_the_only_one_has_it_all() -> None:
    assert divided_mb({0: 700, 1: 300}, [a_resident("a", (0, 10, None), (1, 10, 5))]) == [{0: 700, 1: 300}]


@pytest.mark.parametrize(
    ("held_mb", "parts"),
    [(1200, [1200, 0]), (1500, [1200, 300]), (2200, [1200, 1000]), (2500, [1200, 1300]), (600, [600, 0])],
    ids=["nothing yet", "growing", "as declared", "more than declared", "less than before"],
)
def test_a_model_that_comes_gets_the_growth(held_mb: int, parts: list[int]) -> None:
    there, coming = a_resident("there", (0, 1000, 1200)), a_resident("coming", (0, 1000, None))
    assert divided_mb({0: held_mb}, [there, coming]) == [{0: part} for part in parts]


def test_those_with_less_than_they_declared_grow_first() -> None:
    residents = [a_resident("a", (0, 1000, 800)), a_resident("b", (0, 0, 500))]
    assert divided_mb({0: 1600}, residents) == [{0: 1000}, {0: 600}]


def test_those_who_were_never_measured_share_what_nobody_declared() -> None:
    residents = [a_resident("a", (0, 0, 500)), a_resident("b", (0, 0, None)), a_resident("c", (0, 100, None))]
    assert divided_mb({0: 901}, residents) == [{0: 500}, {0: 150}, {0: 251}]


def test_one_that_came_before_it_was_known_shares_what_nobody_declared() -> None:
    there, seen_late = a_resident("there", (0, 0, 1001)), a_resident("seen late", (0, 0, None))
    declared = a_resident("declared", (0, 500, 600))
    assert divided_mb({0: 1601}, [there, declared, seen_late]) == [{0: 550}, {0: 500}, {0: 551}]


def test_when_memory_comes_back_every_part_shrinks_alike() -> None:
    residents = [a_resident("a", (0, 0, 900)), a_resident("b", (0, 0, 300))]
    assert divided_mb({0: 400}, residents) == [{0: 300}, {0: 100}]


def test_a_device_without_a_share_is_left_out() -> None:
    residents = [a_resident("a", (0, 10, None)), a_resident("b", (1, 10, None))]
    assert divided_mb({0: 7, 1: 8, 2: 9}, residents) == [{0: 7}, {1: 8}]


def test_without_residents_there_are_no_parts() -> None:
    assert divided_mb({0: 7}, []) == []


AMOUNT = st.integers(0, 10_000)


@given(st.lists(st.tuples(AMOUNT, st.none() | AMOUNT), min_size=1, max_size=6), AMOUNT)
def test_the_parts_make_up_the_whole_and_no_less_is_counted_than_is_held(
    shares: list[tuple[int, int | None]], held_mb: int
) -> None:
    residents = [a_resident(str(n), (0, *share)) for n, share in enumerate(shares)]
    parts = [part[0] for part in divided_mb({0: held_mb}, residents)]
    assert sum(parts) == held_mb
    assert min(parts) >= 0
    counted = sum(
        held_on((Share(device=0, declared_mb=declared, measured_mb=part),), 0)
        for (declared, _), part in zip(shares, parts, strict=True)
    )
    assert counted >= held_mb
