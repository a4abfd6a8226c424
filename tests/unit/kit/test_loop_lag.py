"""How late a loop is, with a loop that is moved by hand."""

import pytest
from tests.unit.gateway.data.hand_loop import FakeLoop

from cortex.kit.loop_lag import EVERY_S, WINDOW_S, LoopLag


class Late(FakeLoop):
    """A loop whose clock can run on before anything that is due is done."""

    def stand_still(self, for_s: float) -> None:
        self._now_s += for_s


def watched() -> tuple[Late, LoopLag]:
    loop = Late()
    lag = LoopLag(loop.time)
    lag.start(loop)  # type: ignore[arg-type]
    return loop, lag


def hold_up(loop: Late, lag_s: float) -> None:
    """Let the next look be late."""
    loop.stand_still(EVERY_S + lag_s)
    (timer,) = loop.live()
    timer.is_over = True
    timer.callback()


def test_a_loop_that_is_free_is_never_late() -> None:
    loop, lag = watched()
    loop.advance(10)
    assert lag.histogram.count == 40
    assert lag.histogram.total == pytest.approx(0, abs=1e-9)
    assert lag.worst_s() == pytest.approx(0, abs=1e-9)


def test_what_holds_the_loop_up_is_seen_once_with_its_length() -> None:
    loop, lag = watched()
    hold_up(loop, 2.0)
    loop.advance(5)
    assert lag.histogram.total == pytest.approx(2.0)
    assert lag.worst_s() == pytest.approx(2.0)


def test_the_worst_is_forgotten_after_a_minute_and_the_next_worst_takes_its_place() -> None:
    loop, lag = watched()
    hold_up(loop, 3.0)
    loop.advance(WINDOW_S / 2)
    hold_up(loop, 1.0)
    loop.advance(WINDOW_S / 2 - EVERY_S)
    assert lag.worst_s() == pytest.approx(1.0)
    loop.advance(WINDOW_S)
    assert lag.worst_s() == pytest.approx(0, abs=1e-9)


def test_after_its_stop_it_looks_no_more() -> None:
    loop, lag = watched()
    lag.stop()
    loop.advance(10)
    assert lag.histogram.count == 0
    assert loop.live() == []
