"""Three gateways on one store, hammered at once: no key has more than its limits, and all of them is given out."""

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from tests.integration.store.quota_crowd import KEY_OF_PLACES, SMALL, QuotaGateway, a_key
from tests.postgresql import PostgreSQL

from cortex.contract.error import QuotaExhausted, RateLimited
from cortex.fleet.quota_holding import Admission, Asked
from cortex.gateway.data import limiter

ROOT = Path(__file__).parents[3]
LIMIT_S = 60


@contextlib.asynccontextmanager
async def three(url: str) -> AsyncIterator[list[QuotaGateway]]:
    gateways = [QuotaGateway(url, f"g{number}") for number in range(3)]
    try:
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has much else to do nobody gives up."""
    monkeypatch.setattr(limiter, "WAIT_S", 30.0)


def test_a_budget_is_never_exceeded_by_what_was_asked_for_and_is_used_up(store_url: str) -> None:
    async def run() -> None:
        key, asked = a_key("budget", tokens_per_month=5000), Asked(0, 50)
        used: Counter[str] = Counter()

        async def hammer(gateway: QuotaGateway, rng: Random) -> None:
            for _ in range(40):
                outcome = await gateway.enter(key, asked)
                if isinstance(outcome, Admission):
                    took = rng.randrange(51)
                    used["tokens"] += took
                    await asyncio.sleep(0)
                    outcome.settle(took)
                else:
                    assert isinstance(outcome, QuotaExhausted)
                    used["refused"] += 1

        async with three(store_url) as gateways:
            await asyncio.gather(*(hammer(gateway, Random(n)) for n in range(4) for gateway in gateways))
            spent = used["tokens"]
        async with three(store_url) as (one, *_):
            (month,) = (await one.use_of(key)).limits
            assert (month.used, month.held) == (spent, 0)
            assert spent <= 5000
            assert spent > 2500
            assert used["refused"] > 0
            rest = Asked(0, 5000 - spent)
            last = await one.enter(key, rest)  # not one token was lost
            assert isinstance(last, Admission)
            last.settle(None)
            assert isinstance(await one.enter(key, Asked(0, 1)), QuotaExhausted)

    asyncio.run(run())


def test_requests_of_a_minute_are_never_more_than_its_limit(store_url: str) -> None:
    async def run() -> None:
        key = a_key("rate", requests_per_min=40)
        let_in: Counter[int | None] = Counter()

        async def hammer(gateway: QuotaGateway) -> None:
            for _ in range(30):
                outcome = await gateway.enter(key, SMALL)
                if isinstance(outcome, Admission):
                    let_in[gateway.limiter._holdings[key.id].meters[0].window] += 1
                    outcome.settle(None)
                else:
                    assert isinstance(outcome, RateLimited)

        async with three(store_url) as gateways:
            await asyncio.gather(*(hammer(gateway) for _ in range(4) for gateway in gateways))
        assert max(let_in.values()) <= 40
        assert sum(let_in.values()) >= 30

    asyncio.run(run())


def test_no_more_requests_are_in_flight_than_there_may_be(store_url: str) -> None:
    async def run() -> None:
        key = a_key("flight", concurrent_requests=6)
        running = most = done = 0

        async def hammer(gateway: QuotaGateway, rng: Random) -> None:
            nonlocal running, most, done
            for _ in range(25):
                outcome = await gateway.enter(key, SMALL)
                if isinstance(outcome, Admission):
                    running += 1
                    most = max(most, running)
                    for _ in range(rng.randrange(5)):
                        await asyncio.sleep(0)
                    running -= 1
                    done += 1
                    outcome.settle(None)
                else:
                    await asyncio.sleep(0)

        async with three(store_url) as gateways:
            await asyncio.gather(*(hammer(gateway, Random(n)) for n in range(4) for gateway in gateways))
        assert 2 <= most <= 6
        assert done >= 6

    asyncio.run(run())


@pytest.mark.parametrize(
    ("times", "limits"), [(6, {"concurrent_requests": 1}), (4, {"requests_per_min": 4}), (4, {"tokens_per_day": 40})]
)
def test_who_goes_from_gateway_to_gateway_is_served_as_far_as_the_limits_go(
    store_url: str, times: int, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "HOPE_S", 30.0)

    async def run() -> None:
        key = a_key("balanced", **limits)
        async with three(store_url) as gateways:
            for number in range(times):
                outcome = await gateways[number % 2].enter(key, SMALL)
                assert isinstance(outcome, Admission), (number, outcome)
                outcome.settle(10)

    asyncio.run(run())


def test_the_places_of_a_gateway_that_was_killed_come_back(store_url: str) -> None:
    async def run() -> None:
        argv = ("-m", "tests.integration.store.quota_holder", store_url, "killed", "1.0")
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(LIMIT_S):
                assert int(await process.stdout.readline()) == 5
        finally:
            process.kill()
            await process.wait()
        async with three(store_url) as gateways:
            async with asyncio.timeout(LIMIT_S):
                outcome = None
                while not isinstance(outcome, Admission):
                    await asyncio.sleep(0)
                    outcome = await gateways[0].enter(KEY_OF_PLACES, SMALL)
            outcome.settle(None)

    asyncio.run(run())


def test_a_gateway_that_stands_still_with_a_keys_row_holds_nobody_up_for_long(postgresql: PostgreSQL) -> None:
    async def run(url: str) -> None:
        async with three(url) as gateways:
            first = await gateways[0].enter(a_key("other", concurrent_requests=1), SMALL)  # the tables are made
            assert isinstance(first, Admission)
            argv = ("-m", "tests.integration.store.quota_holder", url, "still", "15", "stops")
            process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=ROOT)
            try:
                flags = os.WSTOPPED | os.WEXITED | os.WNOWAIT
                became = await asyncio.to_thread(os.waitid, os.P_PID, process.pid, flags)
                assert became is not None
                assert became.si_code == os.CLD_STOPPED
                outcome = await gateways[0].enter(KEY_OF_PLACES, SMALL)
            finally:
                process.kill()
                await process.wait()
            assert isinstance(outcome, Admission), outcome
            for admission in (first, outcome):
                admission.settle(None)

    asyncio.run(run(postgresql.new_database()))
