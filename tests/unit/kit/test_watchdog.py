"""Signs of life, with a loop that is moved by hand."""

import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from cortex.kit.notify import Notifier
from cortex.kit.watchdog import EVERY_S, EXTEND_S, Watchdog

if TYPE_CHECKING:
    import asyncio


class Loop:
    """Keeps one timer."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Any]] = []

    def call_later(self, delay_s: float, callback: Any) -> "Loop":
        self.timers.append((delay_s, callback))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def move(self) -> float:
        delay_s, callback = self.timers.pop()
        callback()
        return delay_s


class Heard(Notifier):
    def __init__(self, watchdog_s: float | None) -> None:
        super().__init__("/nowhere", watchdog_s)
        self.said: list[str] = []

    def _tell(self, *lines: str) -> None:
        self.said.append(" ".join(lines))


def a_watchdog(watchdog_s: float | None = 8.0, **more: Any) -> tuple[Watchdog, Heard, Loop]:
    notifier, loop = Heard(watchdog_s), Loop()
    it = Watchdog(notifier, cast("asyncio.AbstractEventLoop", loop), **more)
    it.takes_its_time = False
    it.start()
    return it, notifier, loop


def test_signs_are_given_at_twice_the_rate_that_is_asked_for() -> None:
    _, notifier, loop = a_watchdog(8.0)
    assert notifier.said == ["WATCHDOG=1"]
    assert loop.move() == 4.0
    assert notifier.said == ["WATCHDOG=1"] * 2


def test_one_that_is_patient_hears_now_and_then_all_the_same() -> None:
    assert a_watchdog(600.0)[0].every_s == EVERY_S
    assert a_watchdog(None)[0].every_s == EVERY_S


def test_a_start_or_a_stop_asks_for_more_time_with_each_sign() -> None:
    it, notifier, loop = a_watchdog()
    it.takes_its_time = True
    loop.move()
    assert notifier.said[-1] == f"WATCHDOG=1 EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}"


def test_what_is_in_trouble_gives_no_sign_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble = [""]
    _, notifier, loop = a_watchdog(trouble=lambda: trouble[0])
    notifier.said.clear()
    trouble[0] = "nobody keeps time"
    with caplog.at_level(logging.ERROR):
        loop.move()
        loop.move()
    assert notifier.said == []
    assert caplog.text.count("nobody keeps time") == 1
    trouble[0] = ""
    loop.move()
    assert notifier.said == ["WATCHDOG=1"]


def test_a_status_is_told_when_it_is_another() -> None:
    status = ["one"]
    _, notifier, loop = a_watchdog(status=lambda: status[0])
    loop.move()
    status[0] = "two"
    loop.move()
    assert [line for line in notifier.said if line.startswith("STATUS")] == ["STATUS=one", "STATUS=two"]


def test_nothing_runs_where_nobody_listens() -> None:
    loop = Loop()
    Watchdog(Notifier(), cast("asyncio.AbstractEventLoop", loop)).start()
    assert loop.timers == []


def test_after_its_stop_no_sign_is_given() -> None:
    it, _, loop = a_watchdog()
    it.stop()
    assert loop.timers == []
