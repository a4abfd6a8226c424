"""For every test: what was taken is given back, and requests in flight are none when it ends."""

from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(autouse=True)
def in_flight_zero() -> Iterator[list[Callable[[], int]]]:
    """Yield a list; a test puts into it the counters of its gateways, each of which must be 0 once the test is over."""
    counters: list[Callable[[], int]] = []
    yield counters
    left = [counter() for counter in counters]
    assert left == [0] * len(left), "requests are still counted as in flight"
