"""Values fall into the bucket of the next bound above; histograms of equal bounds add up."""

import pytest

from cortex.kit.histogram import Histogram, summed


def filled(*values: float) -> Histogram:
    histogram = Histogram((1, 2.5, 10))
    for value in values:
        histogram.observe(value)
    return histogram


@pytest.mark.parametrize(
    ("value", "bucket"), [(0, 0), (1, 0), (1.01, 1), (2.5, 1), (9.9, 2), (10, 2), (10.1, 3), (float("inf"), 3)]
)
def test_a_bound_belongs_to_its_bucket(value: float, bucket: int) -> None:
    assert filled(value).counts == [int(place == bucket) for place in range(4)]


def test_it_is_told_as_prometheus_has_it() -> None:
    histogram = filled(0.5, 1, 2, 3, 100)
    assert histogram.cumulative() == [("1.0", 2), ("2.5", 3), ("10.0", 4), ("+Inf", 5)]
    assert (histogram.count, histogram.total) == (5, 106.5)


def test_a_fresh_one_is_empty() -> None:
    assert filled().cumulative() == [("1.0", 0), ("2.5", 0), ("10.0", 0), ("+Inf", 0)]
    assert (filled().count, filled().total) == (0, 0)


def test_a_sum_is_as_if_one_had_seen_everything() -> None:
    parts = [filled(0.5, 3), filled(), filled(100)]
    whole = filled(0.5, 3, 100)
    total = summed(iter(parts))
    assert (total.counts, total.total, total.bounds) == (whole.counts, whole.total, whole.bounds)
    assert [part.count for part in parts] == [2, 0, 1]
