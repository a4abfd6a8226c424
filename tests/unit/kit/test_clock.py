"""The system's clock answers in seconds, and its two faces are not mixed up."""

import time

from cortex.kit.clock import SystemClock


def test_now_is_the_clock_that_runs_through_a_suspend() -> None:
    clock = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.now_s() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_epoch_is_utc_seconds() -> None:
    before = time.time()
    assert before <= SystemClock().epoch_s() <= time.time()
