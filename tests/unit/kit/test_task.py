"""Tasks end with their owner, and a crash is never silent."""

import asyncio
import logging

import pytest

from cortex.kit.task import TaskOwner


async def forever() -> None:
    await asyncio.Event().wait()


def test_the_result_is_there_for_who_awaits_it() -> None:
    async def scene() -> int:
        owner = TaskOwner()

        async def answer() -> int:
            return 42

        task = owner.start(answer(), "answer")
        assert task.get_name() == "answer"
        return await task

    assert asyncio.run(scene()) == 42


def test_a_crash_is_logged_with_its_traceback_and_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, BaseException]] = []

    async def scene() -> TaskOwner:
        heard = asyncio.Event()

        def hear(name: str, crash: BaseException) -> None:
            told.append((name, crash))
            heard.set()

        owner = TaskOwner(on_crash=hear)

        async def burn() -> None:
            raise ZeroDivisionError("fire")

        owner.start(burn(), "stove")
        await heard.wait()
        return owner

    owner = asyncio.run(scene())
    assert len(owner) == 0
    assert [(name, str(crash)) for name, crash in told] == [("stove", "fire")]
    (record,) = caplog.records
    assert record.getMessage() == "task 'stove' crashed: ZeroDivisionError('fire')"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_stop_ends_every_task_also_those_started_meanwhile() -> None:
    ended: list[str] = []

    async def scene() -> int:
        owner = TaskOwner()

        async def second() -> None:
            try:
                await forever()
            finally:
                ended.append("second")

        async def first() -> None:
            try:
                await forever()
            finally:
                owner.start(second(), "second")
                await asyncio.sleep(0)  # lets the second one reach its wait
                ended.append("first")

        owner.start(first(), "first")
        await asyncio.sleep(0)  # lets the first one reach its wait
        await owner.stop()
        return len(owner)

    assert asyncio.run(scene()) == 0
    assert ended == ["first", "second"]


def test_a_stopped_owner_starts_nothing() -> None:
    async def scene() -> None:
        owner = TaskOwner()
        await owner.stop()
        with pytest.raises(RuntimeError, match="task 'late' started after its owner was stopped"):
            owner.start(forever(), "late")

    asyncio.run(scene())


def test_a_task_may_stop_its_own_owner() -> None:
    async def scene() -> str:
        owner = TaskOwner()
        other = owner.start(forever(), "other")

        async def stopper() -> str:
            await owner.stop()
            return "stopped" if other.cancelled() else "left running"

        return await owner.start(stopper(), "stopper")

    assert asyncio.run(scene()) == "stopped"


def test_a_task_that_ignores_its_cancellation_is_named_and_left(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        owner = TaskOwner()
        release = asyncio.Event()

        async def stubborn() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        task = owner.start(stubborn(), "mule")
        await asyncio.sleep(0)  # lets it reach its wait
        await owner.stop(grace_s=0.01)
        release.set()
        await task

    with caplog.at_level(logging.ERROR):
        asyncio.run(scene())
    assert caplog.messages == ["tasks ignore their cancellation: mule"]
