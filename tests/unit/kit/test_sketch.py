"""Quantiles within five per cent, whatever the values are."""

from random import Random

import pytest

from cortex.kit.sketch import Sketch


def of(*values: float) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def test_of_nothing_there_is_no_quantile() -> None:
    assert of().quantile(0.5) is None


@pytest.mark.parametrize("value", [1e-6, 0.004, 1.0, 37.5, 90_000.0])
def test_one_value_is_told_within_five_per_cent(value: float) -> None:
    assert of(value).quantile(0.5) == pytest.approx(value, rel=0.05)
    assert of(value).quantile(0.95) == pytest.approx(value, rel=0.05)


def test_zero_and_less_count_as_next_to_nothing() -> None:
    sketch = of(0.0, -1.0)
    assert sketch.count == 2
    assert sketch.quantile(1.0) == pytest.approx(1e-6, rel=0.05)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 1.0])
def test_quantiles_of_many_values_are_those_of_the_sorted_list(share: float) -> None:
    rng = Random(7)
    values = [rng.lognormvariate(0, 2) for _ in range(2000)]
    exact = sorted(values)[max(0, round(share * len(values)) - 1)]
    assert of(*values).quantile(share) == pytest.approx(exact, rel=0.06)


def test_two_sketches_add_up_to_that_of_all_values() -> None:
    one, other = of(1.0, 2.0), of(2.0, 300.0)
    one.merge(other)
    whole = of(1.0, 2.0, 2.0, 300.0)
    assert one.count == 4
    assert [one.quantile(share / 10) for share in range(1, 11)] == [
        whole.quantile(share / 10) for share in range(1, 11)
    ]
    assert other.count == 2
