"""The room of one load in the making: who stays, who does not end, what is missing in the end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cortex.contract.instance import InstanceError
from cortex.neuron.clearing import Clearing, Outcome
from cortex.neuron.departure import Departure
from cortex.neuron.refusal import Busy
from cortex.residency.drain import Drain, Look
from cortex.testing.virtual_clock import VirtualClock

MISSING = InstanceError(code="no_room", message="taken")


class Stage:
    """The clearing of one victim that is seen as a test says."""

    def __init__(self, look: Look) -> None:
        self.clock = VirtualClock()
        self.gone: Outcome = asyncio.get_running_loop().create_future()
        self.missing: InstanceError | None = None
        self.rechecks = 0
        self.departure = Departure(Drain("due", self.clock.now_s()), self.clock, self.clock.sleep)

        async def seen() -> Look:
            return look

        self.departure.add("v", seen)
        self.clearing = Clearing(self.departure, {"v": self.gone}, self.recheck)

    async def recheck(self) -> InstanceError | None:
        self.rechecks += 1
        return self.missing


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [None, MISSING], ids=["the room is there", "it was taken meanwhile"])
def test_the_room_is_looked_at_again_only_when_the_victim_is_gone(missing: InstanceError | None) -> None:
    async def scenario() -> None:
        stage = Stage(Look(in_flight=0))
        stage.missing = missing
        run = asyncio.create_task(stage.clearing.run())
        await stage.clock.until_asleep()
        stage.clock.advance(1)
        assert await stage.departure.fate("v") == "goes"
        for _ in range(5):
            await asyncio.sleep(0)
        assert stage.rechecks == 0
        stage.gone.set_result(None)
        assert await run == missing
        assert stage.rechecks == 1

    play(scenario)


def test_a_victim_that_stays_is_named() -> None:
    async def scenario() -> None:
        stage = Stage(Look(in_flight=None))
        error = await stage.clearing.run()
        assert error is not None
        assert (error.code, "v had to stay" in error.message, stage.rechecks) == ("busy", True, 0)

    play(scenario)


def test_a_victim_that_does_not_end_is_told_in_its_own_words() -> None:
    async def scenario() -> None:
        stage = Stage(Look(in_flight=0))
        stage.departure.release("v")
        stage.gone.set_result(Busy("process 7 does not end"))
        error = await stage.clearing.run()
        assert error is not None
        assert error.message == "v was to make room, and stays: process 7 does not end"

    play(scenario)


def test_what_is_decided_once_is_not_asked_again() -> None:
    async def scenario() -> None:
        stage = Stage(Look(in_flight=None))
        assert not await stage.clearing.drain()
        assert not await stage.clearing.drain()

    play(scenario)


def test_called_off_during_the_drain_the_victim_stays() -> None:
    async def scenario() -> None:
        stage = Stage(Look(in_flight=3))
        run = asyncio.create_task(stage.clearing.run())
        await stage.clock.until_asleep()
        run.cancel()
        await asyncio.wait((run,))
        assert await stage.departure.fate("v") == "stays"

    play(scenario)
