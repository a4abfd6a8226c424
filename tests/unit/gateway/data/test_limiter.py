"""Nobody waits for the store who need not, nobody waits for ever, and everything that was taken is given back."""

import asyncio
import gc
import logging
import weakref

import pytest
from tests.unit.gateway.data.quota_scene import EPOCH_S, QuotaScene

from cortex.contract.error import CortexError, QuotaExhausted, RateLimited, StoreUnavailable, TokensExceedLimit
from cortex.contract.key import Key, KeyLimits
from cortex.fleet.quota import LEASE_S, RENEW_S, QuotaAnswer, QuotaReport
from cortex.fleet.quota_book import QuotaBook, settle, use_now
from cortex.fleet.quota_holding import IDLE_ALONE_S, Admission, Asked
from cortex.gateway.data.limiter import HOPE_S, PROBE_S, WAIT_S, Limiter
from cortex.kit.task import TaskOwner

SMALL = Asked(10, 90)


class Caller:
    """Asks, and waits where it has to."""

    def __init__(self, it: QuotaScene, key: Key, asked: Asked = SMALL, limiter: Limiter | None = None) -> None:
        self.came: list[Admission | CortexError] = []
        limiter = limiter or it.limiter
        outcome = limiter.enter(key, asked)
        self.has_waited = outcome is None
        if outcome is None:
            self.waiting = limiter.wait(key, asked, self.came.append)
        else:
            self.came.append(outcome)

    @property
    def admission(self) -> Admission:
        (outcome,) = self.came
        assert isinstance(outcome, Admission), outcome
        return outcome

    @property
    def error(self) -> CortexError:
        (outcome,) = self.came
        assert isinstance(outcome, CortexError), outcome
        return outcome


def test_after_the_first_request_none_waits_for_the_store() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=6000, tokens_per_min=10**7, concurrent_requests=100)
    assert Caller(it, key).has_waited
    it.store.mood = "slow"
    for _ in range(40):
        caller = Caller(it, key)
        assert not caller.has_waited
        caller.admission.settle(100)


def test_requests_that_wait_are_answered_together_in_their_order() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=2)
    it.store.mood = "slow"
    callers = [Caller(it, key) for _ in range(4)]
    assert [caller.came for caller in callers] == [[]] * 4
    assert len(it.store.reports) == 1
    it.store.mood = "up"
    it.tasks.go_on()
    assert [type(caller.came[0]) for caller in callers] == [Admission, Admission, RateLimited, RateLimited]
    assert it.metric("cortex_quota_denied_total") == 2


def test_one_key_that_waits_keeps_no_other_waiting() -> None:
    it = QuotaScene()
    busy, calm = it.key(requests_per_min=9), it.key(requests_per_min=9)
    Caller(it, calm)
    it.store.mood = "slow"
    assert Caller(it, busy).has_waited
    assert Caller(it, calm).admission


def test_who_hammers_after_a_refusal_does_not_reach_the_store() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=1)
    Caller(it, key)
    assert isinstance(Caller(it, key).error, RateLimited)
    asked = len(it.store.reports)
    for _ in range(100):
        assert isinstance(Caller(it, key).error, RateLimited)
    assert len(it.store.reports) == asked
    it.loop.advance(60)
    assert Caller(it, key).admission


def test_who_leaves_while_it_waits_takes_nothing() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=5, concurrent_requests=1)
    it.store.mood = "slow"
    gone, stays = Caller(it, key), Caller(it, key)
    gone.waiting.cancel()
    it.store.mood = "up"
    it.tasks.go_on()
    assert gone.came == []
    stays.admission.settle(None)
    assert it.limiter.in_use() == 0


@pytest.mark.parametrize(
    "limits", [{"concurrent_requests": 1}, {"concurrent_requests": 2}, {"requests_per_min": 4}, {"tokens_per_min": 400}]
)
@pytest.mark.parametrize("pause_s", [0.0, 0.7, 1.6])
def test_who_goes_from_gateway_to_gateway_is_served_as_far_as_the_limits_go(
    limits: dict[str, int], pause_s: float
) -> None:
    it = QuotaScene()
    key, gateways = it.key(**limits), (it.limiter, it.gateway("other"))
    for number in range(4):
        caller = Caller(it, key, limiter=gateways[number % 2])
        it.loop.advance(HOPE_S)
        caller.admission.settle(100)
        it.loop.advance(pause_s)


def test_who_waits_for_what_others_use_indeed_is_refused_and_no_more_wait_than_could_be_let_in() -> None:
    it = QuotaScene()
    key, other = it.key(concurrent_requests=1), it.gateway("other")
    running = Caller(it, key)
    waits = Caller(it, key, limiter=other)
    assert isinstance(Caller(it, key, limiter=other).error, RateLimited)  # behind the first there is nothing
    it.loop.advance(HOPE_S - 0.5)
    assert waits.came == []
    it.loop.advance(1.0)
    assert isinstance(waits.error, RateLimited)
    assert isinstance(Caller(it, key).error, RateLimited)  # nor where the place is known to be taken
    running.admission.settle(None)
    it.loop.advance(2 * HOPE_S)
    assert it.limiter.in_use() == other.in_use() == 0


def test_what_comes_back_goes_to_who_came_first() -> None:
    it = QuotaScene()
    key, other = it.key(concurrent_requests=2), it.gateway("other")
    here, there = Caller(it, key), Caller(it, key, limiter=other)
    it.loop.advance(HOPE_S)
    waits = Caller(it, key, limiter=other)
    assert waits.came == []
    there.admission.settle(None)
    late = Caller(it, key, limiter=other)
    assert waits.admission
    assert late.came == []
    here.admission.settle(None)
    it.loop.advance(HOPE_S)
    assert late.admission


def test_who_leaves_while_it_waits_for_other_gateways_takes_nothing_and_leaves_no_timer() -> None:
    it = QuotaScene()
    key, other = it.key(concurrent_requests=1), it.gateway("other")
    running = Caller(it, key)
    gone = Caller(it, key, limiter=other)
    gone.waiting.cancel()
    running.admission.settle(None)
    it.loop.advance(120)
    assert gone.came == []
    assert it.store.books[key.id].holders == {}
    assert it.loop.live() == []


def test_who_waits_for_other_gateways_is_answered_when_the_store_is_gone() -> None:
    it = QuotaScene(fails_closed=True)
    key, other = it.key(requests_per_min=2), it.gateway("other")
    Caller(it, key)
    waits = Caller(it, key, limiter=other)
    assert waits.came == []
    it.store.mood = "down"
    it.loop.advance(HOPE_S)
    assert isinstance(waits.error, RateLimited)  # as the store has said


class Request:
    """Something that waits, and is held by what it waits with, which it holds."""

    def __init__(self, it: QuotaScene, key: Key) -> None:
        it.limiter.enter(key, SMALL)
        self.waiting = it.limiter.wait(key, SMALL, self.resume)

    def resume(self, _: Admission | CortexError) -> None:
        pass


@pytest.mark.parametrize("leaves", [True, False])
def test_nothing_of_a_request_is_left_for_the_collector(leaves: bool) -> None:
    it = QuotaScene()
    it.store.mood = "slow"
    request = Request(it, it.key(requests_per_min=0))
    gone = weakref.ref(request)
    if leaves:
        request.waiting.cancel()
    del request
    gc.disable()
    try:
        it.store.mood = "up"
        it.tasks.go_on()
        assert gone() is None
    finally:
        gc.enable()


def test_a_store_that_does_not_answer_is_not_waited_for_longer_than_a_while(caplog: pytest.LogCaptureFixture) -> None:
    it = QuotaScene()
    it.store.mood = "slow"
    caller = Caller(it, it.key(requests_per_min=5))
    it.loop.advance(WAIT_S - 1)
    assert caller.came == []
    it.loop.advance(2)
    assert caller.admission.is_unchecked
    assert it.metric("cortex_quota_unchecked_total") == 1


def test_while_the_store_is_gone_a_key_has_its_whole_limit_at_each_gateway(caplog: pytest.LogCaptureFixture) -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=10)
    Caller(it, key).admission.settle(None)
    it.store.mood = "down"
    it.loop.advance(10)  # what is held is asked to go on, in vain
    callers = [Caller(it, key) for _ in range(10)]
    assert not any(caller.has_waited for caller in callers)
    assert [type(caller.came[0]) for caller in callers] == [Admission] * 9 + [RateLimited]
    assert 1 <= it.metric("cortex_quota_unchecked_total") < 9  # some were held yet
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_keys_that_fail_closed_go_on_with_what_is_held_and_no_further(caplog: pytest.LogCaptureFixture) -> None:
    it = QuotaScene(fails_closed=True)
    key = it.key(requests_per_min=600)
    Caller(it, key)
    it.store.mood = "down"
    outcomes = [Caller(it, key).came[0] for _ in range(30)]
    held = sum(isinstance(outcome, Admission) for outcome in outcomes)
    assert 0 < held < 30
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes[held:])
    assert it.metric("cortex_quota_unchecked_total") == 0


def test_a_store_that_is_back_is_found_and_told_what_it_missed() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=100)
    it.store.mood = "down"
    for _ in range(3):
        Caller(it, key).admission.settle(None)
    asked = len(it.store.reports)
    it.store.mood = "up"
    it.loop.advance(PROBE_S)
    Caller(it, key)  # lets the store be asked, and waits for nothing
    assert len(it.store.reports) > asked
    assert not Caller(it, key).admission.is_unchecked


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("others_ask", [True, False])
@pytest.mark.parametrize("idle_s", [LEASE_S, IDLE_ALONE_S])
def test_what_a_key_took_while_the_store_was_gone_counts_in_its_budget(
    is_known: bool, others_ask: bool, idle_s: float
) -> None:
    it = QuotaScene()
    key = it.key(tokens_per_day=100_000, requests_per_min=600)
    if is_known:
        Caller(it, key, Asked(100, 900)).admission.settle(400)
    it.store.mood = "down"
    for _ in range(20):
        it.loop.advance(1)
        Caller(it, key, Asked(100, 900)).admission.settle(700)
    it.loop.advance(idle_s)
    it.store.mood = "up"
    if others_ask:
        Caller(it, key, limiter=it.gateway("other")).admission.settle(0)
    it.loop.advance(2 * RENEW_S)  # nobody asks for anything
    assert it.store.used(key)["tokens_per_day"][0] == 20 * 700 + 400 * is_known
    it.loop.advance(120)
    assert it.loop.live() == []


def test_what_a_key_took_in_a_window_that_ended_while_the_store_was_gone_is_not_charged_to_the_next() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=600, tokens_per_day=100_000)
    it.store.mood = "down"
    for _ in range(20):
        Caller(it, key, Asked(100, 900)).admission.settle(700)
    it.loop.advance(60)
    it.store.mood = "up"
    it.loop.advance(2 * RENEW_S)
    used = it.store.used(key)
    assert (used["requests_per_min"][0], used["tokens_per_day"][0]) == (0, 20 * 700)


def test_a_key_that_the_store_was_never_asked_about_counts_when_it_is_back() -> None:
    it = QuotaScene()
    first, other = it.key(tokens_per_day=100_000), it.key(tokens_per_day=100_000)
    it.store.mood = "down"
    for key in (first, other):  # the first one's question shows that the store is gone
        Caller(it, key, Asked(100, 900)).admission.settle(700)
    assert {report.key_id for report in it.store.reports} == {first.id}
    it.store.mood = "up"
    it.loop.advance(2 * RENEW_S)
    assert [it.store.used(key)["tokens_per_day"][0] for key in (first, other)] == [700, 700]


def test_a_silent_store_is_not_asked_with_every_request() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=1000)
    it.store.mood = "down"
    for _ in range(100):
        Caller(it, key)
    assert len(it.store.reports) <= 2


def test_a_defect_of_ours_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    it = QuotaScene()
    it.store.mood = "broken"
    assert Caller(it, it.key(requests_per_min=5)).admission.is_unchecked
    assert "counting the limits of key" in caplog.text


def test_a_budget_that_is_used_up_is_told_apart_from_a_rate() -> None:
    it = QuotaScene()
    key = it.key(tokens_per_day=100)
    Caller(it, key).admission.settle(None)
    error = Caller(it, key).error
    assert isinstance(error, QuotaExhausted)
    day_s = EPOCH_S // 86400 * 86400 + 86400 - EPOCH_S
    assert error.details["retry_in_s"] == pytest.approx(day_s, abs=1)


def test_a_defect_of_one_request_loses_nobody_who_waits_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Admission | CortexError) -> None:
        raise ZeroDivisionError

    it = QuotaScene()
    key = it.key(requests_per_min=5)
    it.store.mood = "slow"
    first, behind = Caller(it, key), Caller(it, key)
    first.waiting.resume = broken
    it.store.mood = "up"
    it.tasks.go_on()
    assert behind.admission
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_longer_than_a_limit_is_refused_for_good_without_the_store() -> None:
    it = QuotaScene()
    assert isinstance(Caller(it, it.key(tokens_per_min=50)).error, TokensExceedLimit)
    assert it.store.reports == []


def test_a_running_request_keeps_its_place_for_hours_and_gives_it_back() -> None:
    it = QuotaScene()
    key = it.key(concurrent_requests=2, tokens_per_day=10**6)
    caller = Caller(it, key)
    it.loop.advance(4000)
    assert it.store.used(key)["concurrent_requests"][1] >= 1
    assert it.limiter.in_use() == 1
    caller.admission.settle(40)
    it.loop.advance(120)
    assert it.store.used(key) == {"tokens_per_day": (40, 0), "concurrent_requests": (0, 0)}


def test_a_key_that_is_not_used_any_more_is_forgotten_and_no_timer_is_left() -> None:
    it = QuotaScene()
    key = it.key(requests_per_min=50)
    Caller(it, key).admission.settle(None)
    it.loop.advance(120)
    assert it.store.used(key)["requests_per_min"] == (0, 0)  # another minute
    assert it.loop.live() == []
    assert it.store.books[key.id].holders == {}


class SlowQuota:
    """Implements ``ports.Quota`` in a loop of the test's own."""

    def __init__(self) -> None:
        self.book = QuotaBook()
        self.is_up = True

    async def settle(self, report: QuotaReport) -> QuotaAnswer | None:
        await asyncio.sleep(0)
        if not self.is_up:
            raise StoreUnavailable("gone")
        return settle(self.book, report, EPOCH_S)


def test_a_stop_tells_what_was_taken_while_the_store_was_gone() -> None:
    async def run() -> None:
        quota, tasks, loop = SlowQuota(), TaskOwner(), asyncio.get_running_loop()
        limiter = Limiter(loop, quota, tasks, now_s=loop.time, epoch_s=lambda: EPOCH_S, holder="g", fails_closed=False)
        limits = KeyLimits(tokens_per_day=100_000)
        key, came = Key(id="k", name="n", shown="s", limits=limits), asyncio.Queue[Admission | CortexError]()
        quota.is_up = False
        assert limiter.enter(key, SMALL) is None
        limiter.wait(key, SMALL, came.put_nowait)
        admission = await came.get()
        assert isinstance(admission, Admission)
        admission.settle(77)
        quota.is_up = True
        await limiter.finish(5)
        (use,) = use_now(quota.book, limits, EPOCH_S)
        assert (use.used, use.held, quota.book.holders) == (77, 0, {})
        await tasks.stop()

    asyncio.run(run())


def test_a_stop_gives_back_what_is_held() -> None:

    async def run() -> None:
        quota, tasks, loop = SlowQuota(), TaskOwner(), asyncio.get_running_loop()
        limiter = Limiter(loop, quota, tasks, now_s=loop.time, epoch_s=loop.time, holder="g", fails_closed=False)
        key, came = Key(id="k", name="n", shown="s", limits=KeyLimits(requests_per_min=600)), asyncio.Event()
        assert limiter.enter(key, SMALL) is None
        admissions: list[Admission | CortexError] = []

        def resume(outcome: Admission | CortexError) -> None:
            admissions.append(outcome)
            came.set()

        limiter.wait(key, SMALL, resume)
        await came.wait()
        (admission,) = admissions
        assert isinstance(admission, Admission)
        admission.settle(None)
        while len(tasks):  # noqa: ASYNC110 - what is asked for ahead
            await asyncio.sleep(0)
        assert quota.book.holders["g"].meters["requests_per_min"].held > 0
        await limiter.finish(30)
        assert quota.book.holders == {}
        assert quota.book.closed["requests_per_min"].spent == 1
        await tasks.stop()

    asyncio.run(run())
