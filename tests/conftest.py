"""For every test: what was taken is given back, and requests in flight are none when it ends."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from tests.distribution import pytest_xdist_make_scheduler
from tests.heap import pytest_collection
from tests.leftover import pytest_testnodedown

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

__all__ = ["pytest_collection", "pytest_testnodedown", "pytest_xdist_make_scheduler"]  # hooks

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As where a script runs the tests behind its back (&): every process that a test starts would be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def in_flight_zero() -> Iterator[list[Callable[[], int]]]:
    """Yield a list; a test puts into it the counters of its gateways, each of which must be 0 once the test is over."""
    counters: list[Callable[[], int]] = []
    yield counters
    left = [counter() for counter in counters]
    assert left == [0] * len(left), "requests are still counted as in flight"


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[PostgreSQL]":
    """One PostgreSQL server for all tests; a missing one is a failure where CI says that it must be there."""
    from tests.postgresql import is_installed, running

    if not is_installed():
        words = "no PostgreSQL here (initdb and postgres, of the packages postgresql or postgresql-server)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    with running() as server:
        yield server


@pytest.fixture
def own_postgresql(postgresql: "PostgreSQL") -> "Iterator[PostgreSQL]":
    """The same server for a test that stops it; it is up and goes on when the test ends."""
    yield postgresql
    postgresql.stop()
    postgresql.start()
