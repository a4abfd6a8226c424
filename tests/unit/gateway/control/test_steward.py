"""One gateway at a time is the steward, under a number; who cannot renew steps down before another can be it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.gateway.control.scripted_claims import ScriptedClaims

from cortex.fleet.event import Event, StewardChanged
from cortex.gateway.control.steward import STEP_S, TRUST_S, TTL_S, Candidate, StewardKeeper
from cortex.kit.task import TaskOwner
from cortex.testing.virtual_clock import VirtualClock


class Desk:
    """A keeper, its store, and what it told."""

    def __init__(self) -> None:
        self.claims = ScriptedClaims()
        self.clock = VirtualClock()
        self.posted: list[Event] = []
        self.keeper = StewardKeeper(self.claims, self.posted.append, self.clock, sleep=self.clock.sleep)


def play(test: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(Desk())

    asyncio.run(run())


def test_who_gets_the_claim_is_the_steward_under_its_number() -> None:
    async def test(desk: Desk) -> None:
        await desk.keeper.step()
        assert desk.keeper.is_steward
        await desk.keeper.step()
        assert desk.posted == [StewardChanged(is_steward=True, number=7)]
        assert desk.claims.asked == [("claim", "steward"), ("renew", f"steward {TTL_S:g}")]

    play(test)


def test_who_does_not_get_it_tries_again() -> None:
    async def test(desk: Desk) -> None:
        desk.claims.holder = "other"
        await desk.keeper.step()
        assert not desk.keeper.is_steward
        desk.claims.holder, desk.claims.number = "me", 9
        await desk.keeper.step()
        assert desk.posted == [StewardChanged(is_steward=True, number=9)]

    play(test)


def test_who_comes_too_late_to_renew_steps_down_and_may_come_again_under_another_number() -> None:
    async def test(desk: Desk) -> None:
        await desk.keeper.step()
        desk.claims.is_kept = False
        await desk.keeper.step()
        desk.claims.number = 8
        await desk.keeper.step()
        assert desk.posted == [
            StewardChanged(is_steward=True, number=7),
            StewardChanged(is_steward=False),
            StewardChanged(is_steward=True, number=8),
        ]

    play(test)


def test_without_the_store_a_steward_goes_on_for_a_while_and_steps_down_before_its_claim_ends() -> None:
    async def test(desk: Desk) -> None:
        await desk.keeper.step()
        desk.claims.is_down = True
        desk.clock.advance(TRUST_S - 0.5)
        await desk.keeper.step()
        assert desk.keeper.is_steward
        desk.clock.advance(0.5)
        await desk.keeper.step()
        assert desk.posted[1:] == [StewardChanged(is_steward=False)]
        assert TRUST_S + STEP_S < TTL_S

    play(test)


def test_what_counts_is_when_it_asked_and_not_when_it_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk) -> None:
        take = desk.claims.claim

        async def slowly(*about: object) -> object:
            desk.clock.advance(5.0)
            return await take(*about)  # type: ignore[arg-type]

        monkeypatch.setattr(desk.claims, "claim", slowly)
        await desk.keeper.step()
        desk.claims.is_down = True
        desk.clock.advance(TRUST_S - 5.0)
        await desk.keeper.step()
        assert not desk.keeper.is_steward

    play(test)


def test_who_ends_gives_it_back() -> None:
    async def test(desk: Desk) -> None:
        await desk.keeper.stop()
        await desk.keeper.step()
        await desk.keeper.stop()
        await desk.keeper.stop()
        assert desk.claims.asked == [("claim", "steward"), ("release", "steward")]

    play(test)


def test_a_defect_does_not_end_the_trying(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def test(desk: Desk) -> None:
        async def broken(*_: object) -> object:
            raise KeyError("a defect")

        tasks = TaskOwner()
        with monkeypatch.context() as patched:
            patched.setattr(desk.claims, "claim", broken)
            tasks.start(desk.keeper.run(), "steward")
            await asyncio.sleep(0)
        desk.clock.advance(STEP_S)
        for _ in range(5):
            await asyncio.sleep(0)
        assert desk.keeper.is_steward
        await tasks.stop()

    play(test)
    assert "keeping the claim of the steward" in caplog.text


def test_who_is_it_by_the_settings_resigns_and_stands_again() -> None:
    async def test(desk: Desk) -> None:
        it = Candidate(StewardChanged(is_steward=True), desk.posted.append, TaskOwner())
        it.stand()
        assert it.is_steward
        await it.resign()
        assert not it.is_steward
        it.stand()
        assert it.is_steward
        assert [event.is_steward for event in desk.posted if isinstance(event, StewardChanged)] == [True, False, True]

    play(test)


def test_who_is_not_to_be_it_is_not_it_after_standing_again_either() -> None:
    async def test(desk: Desk) -> None:
        it = Candidate(StewardChanged(is_steward=False), desk.posted.append, TaskOwner())
        it.stand()
        await it.resign()
        it.stand()
        assert not it.is_steward

    play(test)


def test_who_resigns_gives_the_claim_back_and_does_not_ask_for_it_any_more() -> None:
    async def test(desk: Desk) -> None:
        tasks = TaskOwner()
        it = Candidate(desk.keeper, desk.posted.append, tasks)
        it.stand()
        await desk.clock.until_asleep()
        await it.resign()
        assert not it.is_steward
        assert desk.claims.asked[-1] == ("release", "steward")
        assert desk.posted[-1] == StewardChanged(is_steward=False)
        assert len(tasks) == 0
        it.stand()
        await desk.clock.until_asleep()
        assert it.is_steward
        await it.stop()
        assert len(tasks) == 0

    play(test)
