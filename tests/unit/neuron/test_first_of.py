"""The first of several waits counts; the others are called off and have ended."""

import asyncio

import pytest

from cortex.kit.task import TaskOwner
from cortex.neuron.first_of import first_of


class Wait:
    """Waits for its gate; tells whether it was called off."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, result: object = None) -> object:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return result


def test_the_first_to_end_is_returned_and_the_rest_called_off() -> None:
    async def scenario() -> None:
        owner, fast, slow = TaskOwner(), Wait(), Wait()
        fast.gate.set()
        assert await first_of(owner, slow=slow(), fast=fast("done")) == ("fast", "done")
        assert slow.was_cancelled
        await asyncio.sleep(0)
        assert len(owner) == 0

    asyncio.run(scenario())


def test_of_two_that_ended_at_once_the_one_named_first_counts() -> None:
    async def scenario() -> None:
        one, two = Wait(), Wait()
        one.gate.set()
        two.gate.set()
        assert await first_of(TaskOwner(), two=two(2), one=one(1)) == ("two", 2)

    asyncio.run(scenario())


def test_what_the_first_raises_comes_through(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def scenario() -> None:
        slow = Wait()
        with pytest.raises(ValueError, match="no"):
            await first_of(TaskOwner(), fails=fails(), slow=slow())
        assert slow.was_cancelled

    asyncio.run(scenario())


def test_cancelled_it_calls_off_all() -> None:
    async def scenario() -> None:
        one, two = Wait(), Wait()
        waiting = asyncio.create_task(first_of(TaskOwner(), one=one(), two=two()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert waiting.cancelled()
        assert (one.was_cancelled, two.was_cancelled) == (True, True)

    asyncio.run(scenario())
