"""A drain as it is carried out: several looked at together, one fate for all, and nobody left without one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cortex.neuron.departure import QUIET_POLL_S, Departure
from cortex.residency.drain import Drain, DrainKind, Look
from cortex.testing.virtual_clock import VirtualClock

QUIET, BUSY = Look(in_flight=0), Look(in_flight=2)


class Stage:
    """A departure of some instances that are seen as a test says."""

    def __init__(self, *keys: str, kind: DrainKind = "eviction", limit_s: float = 5, may_go: bool = True) -> None:
        self.clock = VirtualClock()
        self.may_go = may_go
        self.seen = dict.fromkeys(keys, QUIET)
        self.looks = 0
        self.departure = Departure(
            Drain(kind, self.clock.now_s() + limit_s), self.clock, self.clock.sleep, lambda: self.may_go
        )
        for key in keys:
            self.departure.add(key, lambda key=key: self.look(key))
        self.task = asyncio.create_task(self.departure.run())

    async def look(self, key: str) -> Look:
        self.looks += 1
        return self.seen[key]

    async def over(self) -> bool:
        while not self.task.done():
            if self.clock.sleepers():
                self.clock.advance(QUIET_POLL_S)
            await asyncio.sleep(0)
        return self.task.result()

    async def fates(self) -> list[str]:
        return [await self.departure.fate(key) for key in self.seen]


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_all_go_together() -> None:
    async def scenario() -> None:
        stage = Stage("a", "b")
        assert await stage.over()
        assert await stage.fates() == ["goes", "goes"]
        assert stage.looks == 4

    play(scenario)


def test_one_that_is_busy_keeps_all() -> None:
    async def scenario() -> None:
        stage = Stage("a", "b")
        stage.seen["b"] = BUSY
        assert not await stage.over()
        assert await stage.fates() == ["stays", "stays"]
        assert stage.departure.in_flight == 2

    play(scenario)


def test_what_is_not_wanted_any_more_at_the_end_does_not_happen() -> None:
    async def scenario() -> None:
        stage = Stage("a", may_go=False)
        assert not await stage.over()
        assert await stage.fates() == ["stays"]

    play(scenario)


def test_who_is_released_does_not_count_any_more() -> None:
    async def scenario() -> None:
        stage = Stage("a", "b", kind="due")
        stage.seen["b"] = BUSY
        await stage.clock.until_asleep()
        stage.departure.release("b")
        assert await stage.over()
        assert await stage.fates() == ["goes", "released"]

    play(scenario)


def test_with_everybody_released_there_is_nobody_to_wait_for() -> None:
    async def scenario() -> None:
        stage = Stage("a", kind="due")
        stage.seen["a"] = BUSY
        await stage.clock.until_asleep()
        stage.departure.release("a")
        assert await stage.over()

    play(scenario)


def test_called_off_all_stay() -> None:
    async def scenario() -> None:
        stage = Stage("a", "b", kind="due")
        stage.seen["b"] = BUSY
        await stage.clock.until_asleep()
        stage.departure.call_off()
        assert not await stage.over()
        assert await stage.fates() == ["stays", "stays"]

    play(scenario)


def test_what_is_decided_is_not_undone() -> None:
    async def scenario() -> None:
        stage = Stage("a")
        await stage.over()
        stage.departure.release("a")
        stage.departure.call_off()
        assert await stage.fates() == ["goes"]

    play(scenario)


@pytest.mark.parametrize("how", ["cancelled", "a look that fails"])
def test_nobody_is_left_without_a_fate(how: str) -> None:
    async def scenario() -> None:
        stage = Stage("a", "b", kind="due")
        stage.seen["b"] = BUSY
        await stage.clock.until_asleep()
        if how == "cancelled":
            stage.task.cancel()
        else:
            del stage.seen["b"]
            stage.clock.advance(QUIET_POLL_S)
        await asyncio.wait((stage.task,))
        assert stage.task.cancelled() or isinstance(stage.task.exception(), KeyError)
        assert await stage.departure.fate("a") == await stage.departure.fate("b") == "stays"

    play(scenario)


def test_an_unknown_count_is_told_as_unknown() -> None:
    async def scenario() -> None:
        stage = Stage("a", "b", limit_s=1)
        stage.seen["a"] = Look(in_flight=None)
        assert not await stage.over()
        assert stage.departure.in_flight is None

    play(scenario)
