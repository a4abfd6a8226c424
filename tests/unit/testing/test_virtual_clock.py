"""The clock that is moved by hand."""

import asyncio

from cortex.testing.virtual_clock import VirtualClock


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(10.0, epoch_s=500.0)
    assert (clock.now_s(), clock.epoch_s()) == (10.0, 500.0)
    clock.advance(2.5)
    assert (clock.now_s(), clock.epoch_s()) == (12.5, 502.5)


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def run() -> list[str]:
        clock, woken = VirtualClock(), []

        async def sleep(name: str, delay_s: float) -> None:
            await clock.sleep(delay_s)
            woken.append(name)

        tasks = [asyncio.create_task(sleep(name, s)) for name, s in (("late", 3), ("early", 1), ("never", 99))]
        await clock.until_asleep(3)
        clock.advance(2)
        await tasks[1]
        assert clock.sleepers() == 2
        clock.advance(2)
        await tasks[0]
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        assert clock.sleepers() == 0, "who was cancelled does not sleep"
        clock.advance(200)
        return woken

    assert asyncio.run(run()) == ["early", "late"]


def test_step_returns_when_whoever_woke_sleeps_again() -> None:
    async def run() -> None:
        clock, rounds = VirtualClock(), []

        async def work() -> None:
            while True:
                rounds.append(clock.now_s())
                await clock.sleep(10)

        task = asyncio.create_task(work())
        await clock.step(10)
        await clock.step(10)
        assert rounds == [1000.0, 1010.0, 1020.0]
        task.cancel()

    asyncio.run(run())
