"""A first load is claimed before, held meanwhile and let go; one that another has claimed is deferred."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.gateway.control.scripted_claims import ScriptedClaims

from cortex.contract.instance import EndpointAnswer, LoadRequest
from cortex.fleet.effect import FetchEndpoint, Slow, StartLoad
from cortex.fleet.event import Event, LoadDeferred, LoadFailed, LoadSucceeded
from cortex.gateway.control.claim import LINGER_S, RENEW_S, TTL_S, ClaimedLoads
from cortex.gateway.control.executor import Post
from cortex.gateway.ports import Claim
from cortex.kit.task import TaskOwner
from cortex.testing.virtual_clock import VirtualClock

FIRST = StartLoad("beast", LoadRequest(model_id="m", harness="h"), is_first=True)
LOADED = LoadSucceeded(node="beast", model="m", endpoint=EndpointAnswer(url="http://e"), asked_s=1.0)
FAILED = LoadFailed(node="beast", model="m", code="oom", message="no")


class Desk:
    """A runner that does nothing by itself, and what came of it all."""

    def __init__(self) -> None:
        self.claims = ScriptedClaims()
        self.tasks = TaskOwner()
        self.clock = VirtualClock()
        self.loads = ClaimedLoads(self, self.claims, self.tasks, sleep=self.clock.sleep)
        self.carried: list[tuple[Slow, Post]] = []
        self.posted: list[Event] = []

    def carry_out(self, effect: Slow, post: Post) -> None:
        self.carried.append((effect, post))

    async def begin(self, effect: Slow = FIRST) -> None:
        self.loads.carry_out(effect, self.posted.append)
        await settle()

    async def end(self, outcome: Event) -> None:
        self.carried[0][1](outcome)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def play(test: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        desk = Desk()
        try:
            await test(desk)
        finally:
            await desk.tasks.stop()

    asyncio.run(run())


def test_a_load_that_is_won_goes_on_and_its_outcome_is_told_at_once() -> None:
    async def test(desk: Desk) -> None:
        await desk.begin()
        assert desk.claims.asked == [("claim", "load:m")]
        assert [effect for effect, _ in desk.carried] == [FIRST]
        desk.carried[0][1](LOADED)
        assert desk.posted == [LOADED]

    play(test)


def test_one_that_another_has_claimed_is_deferred_to_where_that_loads_it() -> None:
    async def test(desk: Desk) -> None:
        desk.claims.holder, desk.claims.target = "other", "benjy"
        await desk.begin()
        assert desk.carried == []
        assert desk.posted == [
            LoadDeferred(node="beast", model="m", target="benjy", holder="other", retry_in_s=2.0),
        ]

    play(test)


def test_one_that_ended_well_is_kept_until_the_others_have_heard_of_it() -> None:
    async def test(desk: Desk) -> None:
        await desk.begin()
        await desk.end(LOADED)
        assert desk.claims.asked[1:] == [("renew", f"load:m {LINGER_S:g}")]
        assert len(desk.tasks) == 0

    play(test)


def test_one_that_failed_is_anybodys_at_once() -> None:
    async def test(desk: Desk) -> None:
        await desk.begin()
        await desk.end(FAILED)
        assert desk.posted == [FAILED]
        assert desk.claims.asked[1:] == [("release", "load:m")]

    play(test)


def test_a_claim_is_renewed_as_long_as_its_load_goes_on_also_where_the_store_is_gone_for_a_while() -> None:
    async def test(desk: Desk) -> None:
        await desk.begin()
        for is_down in (False, True, False):
            desk.claims.is_down = is_down
            desk.clock.advance(RENEW_S)
            await settle()
        assert desk.claims.asked[1:] == [("renew", f"load:m {TTL_S:g}")] * 3
        assert RENEW_S * 2 < TTL_S

    play(test)


def test_a_claim_that_was_lost_is_not_renewed_and_its_load_goes_on() -> None:
    async def test(desk: Desk) -> None:
        desk.claims.is_kept = False
        await desk.begin()
        for _ in range(3):
            desk.clock.advance(RENEW_S)
            await settle()
        assert desk.claims.asked[1:] == [("renew", f"load:m {TTL_S:g}")]
        await desk.end(LOADED)
        assert desk.posted == [LOADED]

    play(test)


def test_without_the_store_a_load_goes_on_unclaimed() -> None:
    async def test(desk: Desk) -> None:
        desk.claims.is_down = True
        await desk.begin()
        assert [effect for effect, _ in desk.carried] == [FIRST]
        await desk.end(LOADED)
        assert desk.posted == [LOADED]
        assert desk.claims.asked == [("claim", "load:m")]

    play(test)


def test_a_store_that_goes_away_meanwhile_changes_nothing_for_the_load() -> None:
    async def test(desk: Desk) -> None:
        await desk.begin()
        desk.claims.is_down = True
        await desk.end(FAILED)
        assert desk.posted == [FAILED]
        assert len(desk.tasks) == 0

    play(test)


def test_a_defect_in_claiming_keeps_no_load_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> Claim:
        raise KeyError("a defect")

    async def test(desk: Desk) -> None:
        monkeypatch.setattr(desk.claims, "claim", broken)
        await desk.begin()
        assert [effect for effect, _ in desk.carried] == [FIRST]

    play(test)


@pytest.mark.parametrize(
    "effect", [StartLoad("beast", LoadRequest(model_id="m", harness="h")), FetchEndpoint("beast", "m")], ids=str
)
def test_what_is_no_first_load_is_not_claimed(effect: Slow) -> None:
    async def test(desk: Desk) -> None:
        desk.loads.carry_out(effect, desk.posted.append)
        assert [carried for carried, _ in desk.carried] == [effect]
        assert desk.claims.asked == []

    play(test)
