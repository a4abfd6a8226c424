"""Limits of keys at the doors of gateways that share a store: as SDKs see them, and over three gateways at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anthropic
import openai
import pytest
from tests.integration.gateway.hostile_engine import SSE_HEAD, USAGE, Turn
from tests.integration.gateway.raw_client import Answer
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, Counters, Scene, staged, until
from tests.postgresql import PostgreSQL

from cortex.contract.key import KeyLimits, KeyMade, KeyWish
from cortex.gateway import quota_opening, usage_opening
from cortex.gateway.data import limiter
from cortex.gateway.ports import UsageSpan
from cortex.gateway.settings import StoreSection
from cortex.gateway.store.database import Database
from cortex.gateway.store.key import StoredKeys
from cortex.gateway.store.usage import StoredUsage
from cortex.gateway.store_opening import open_store
from cortex.kit.clock import SystemClock

ASKED = {**ASK, "max_tokens": 50}
MESSAGES = [{"role": "user", "content": "hi"}]


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    store = open_store(StoreSection(url=url), SystemClock(), "host", 30.0)
    assert store is not None
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def keys_of(url: str) -> AsyncIterator[StoredKeys]:
    async with opened(url) as store:
        yield StoredKeys(store)


async def made(keys: StoredKeys, *scenes: Scene, **limits: int) -> KeyMade:
    """Make a key, and wait until all gateways know it."""
    key = await keys.create(KeyWish(name="alice", limits=KeyLimits(**limits)))
    for it in scenes:
        book = it.gateway._keys.book
        assert book is not None
        await until(lambda book=book: book.find(key.secret.encode()) is not None)  # type: ignore[misc]
    return key


async def ask(it: Scene, key: KeyMade, body: object = ASKED) -> Answer:
    return await it.ask(body, f"authorization: Bearer {key.secret}", "content-type: application/json")


async def often(create: Callable[..., Awaitable[object]], **about: int) -> None:
    """Ask so often that a limit is reached, though a minute may end in between."""
    for _ in range(20):
        await create(model=MODEL, messages=MESSAGES, **about)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on a machine that has much else to do is no silent one."""
    monkeypatch.setattr(quota_opening, "DEADLINE_S", 30.0)
    monkeypatch.setattr(usage_opening, "GRACE_S", 30.0)
    monkeypatch.setattr(limiter, "WAIT_S", 30.0)


def test_both_sdks_hear_of_a_limit_and_when_it_opens_again(tmp_path: Path, in_flight_zero: Counters) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def run() -> None:
        async with staged(in_flight_zero, store_url=url) as it, keys_of(url) as keys:
            rated = await made(keys, it, requests_per_min=1)
            spent = await made(keys, it, tokens_per_day=100)
            base = f"http://127.0.0.1:{it.gateway.port}"
            async with (
                openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=rated.secret, max_retries=0) as one,
                anthropic.AsyncAnthropic(base_url=base, api_key=rated.secret, max_retries=0) as other,
                openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=spent.secret, max_retries=0) as third,
            ):
                first = await one.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
                assert first.headers["x-ratelimit-limit-requests"] == "1"
                assert first.headers["x-ratelimit-remaining-requests"] == "0"
                with pytest.raises(openai.RateLimitError) as told:
                    await often(one.chat.completions.create)
                assert (told.value.code, 1 <= int(told.value.response.headers["retry-after"]) <= 60) == (
                    "rate_limit_exceeded",
                    True,
                )
                with pytest.raises(anthropic.RateLimitError) as said:
                    await often(other.messages.create, max_tokens=5)
                assert said.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
                assert said.value.response.headers["retry-after"]
                with pytest.raises(openai.RateLimitError) as over:
                    await often(third.chat.completions.create, max_tokens=60)
                assert over.value.code == "insufficient_quota"
            assert await it.metric("cortex_quota_denied_total", limit="tokens_per_day") == 1

    asyncio.run(run())


def test_a_place_comes_back_however_its_request_ends(tmp_path: Path, in_flight_zero: Counters) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    go_on = asyncio.Event()

    async def holds(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await go_on.wait()
        turn.reset()

    async def run() -> None:
        async with staged(in_flight_zero, holds, store_url=url) as it, keys_of(url) as keys:
            key = await made(keys, it, concurrent_requests=1)
            async with it.client() as client:
                await client.ask(ASK_STREAM, f"authorization: Bearer {key.secret}")
                await until(lambda: len(it.turns) == 1)
                refused = await ask(it, key)
                assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
                assert "concurrent_requests" in refused.error()["message"]
            in_use = it.gateway._quota.in_use
            await until(lambda: in_use() == 0)  # the client has left
            go_on.set()
            assert (await ask(it, key, ASK_STREAM)).status in (200, 502)  # the engine breaks off
            await until(lambda: in_use() == 0)

    asyncio.run(run())


def test_a_key_causes_so_many_loads_and_is_served_by_what_is_loaded(tmp_path: Path, in_flight_zero: Counters) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def run() -> None:
        async with staged(in_flight_zero, loaded=False, store_url=url) as it, keys_of(url) as keys:
            key = await made(keys, it, cold_starts_per_day=1)
            assert [(await ask(it, key)).status for _ in range(3)] == [200, 200, 200]
            it.neuron.unload(MODEL)
            await until(lambda: it.gateway._control.reads.place_of(MODEL) is None)
            refused = await ask(it, key)
            assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
            assert "cold_starts_per_day" in refused.error()["message"]
            assert it.neuron.count("POST /models/load") == 1
            await it.at_rest()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_behind_a_balancer_a_key_with_one_place_is_served_at_every_gateway(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, in_flight_zero: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "HOPE_S", 30.0)
    is_sqlite = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/store.db" if is_sqlite else request.getfixturevalue("postgresql").new_database()

    async def run() -> None:
        async with (
            staged(in_flight_zero, store_url=url, gateway_id="g0") as one,
            staged(in_flight_zero, store_url=url, gateway_id="g1") as other,
            keys_of(url) as keys,
        ):
            key = await made(keys, one, other, concurrent_requests=1)
            assert [(await ask(it, key)).status for it in (one, other) * 3] == [200] * 6
            for it in (one, other):
                assert await it.metric("cortex_quota_unchecked_total") == 0

    asyncio.run(run())


def test_three_gateways_on_one_postgresql_let_through_what_one_may_and_keep_one_ledger(
    postgresql: PostgreSQL, in_flight_zero: Counters
) -> None:
    url = postgresql.new_database()

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            scenes = [
                await stack.enter_async_context(staged(in_flight_zero, store_url=url, gateway_id=f"g{number}"))
                for number in range(3)
            ]
            keys = await stack.enter_async_context(keys_of(url))
            key = await made(keys, *scenes, requests_per_min=30, tokens_per_day=100_000)
            began_s = SystemClock().epoch_s()
            answers = await asyncio.gather(*(ask(it, key) for _ in range(25) for it in scenes))
            minutes = SystemClock().epoch_s() // 60 - began_s // 60 + 1
            good = sum(answer.status == 200 for answer in answers)
            assert {answer.status for answer in answers} <= {200, 429}
            assert 20 <= good <= 30 * minutes
            assert good < len(answers)
            for it in scenes:
                await it.at_rest()
        async with keys_of(url) as keys:
            use = {one.limit: one for one in (await keys.use_of(key.key.id)).limits}
            assert use["tokens_per_day"].used == good * USAGE["total_tokens"]
            assert use["tokens_per_day"].held == 0  # a stop gives back what was held
        async with opened(url) as store:  # and writes what was not written yet
            (of_key,) = await StoredUsage(store).sums(["key"], UsageSpan(since_s=0.0, until_s=2.0**40), 2)
        assert (of_key.key, of_key.requests, of_key.failed) == ("alice", len(answers), len(answers) - good)
        assert of_key.total_tokens == good * USAGE["total_tokens"]

    asyncio.run(run())


def test_while_the_database_is_gone_requests_go_on_and_are_counted_as_unchecked(
    own_postgresql: PostgreSQL, in_flight_zero: Counters
) -> None:
    url = own_postgresql.new_database()

    async def run() -> None:
        async with staged(in_flight_zero, store_url=url) as it, keys_of(url) as keys:
            key = await made(keys, it, tokens_per_day=10**8)
            limiter = it.gateway._plane.limiter
            assert limiter is not None
            assert (await ask(it, key)).status == 200
            # In another thread: the server waits for what a connection that has just begun has to say.
            await asyncio.to_thread(own_postgresql.stop)
            count = 1
            while not limiter.unchecked:  # at first by what is held
                assert (await ask(it, key)).status == 200
                count += 1
            assert await it.metric("cortex_quota_unchecked_total") == limiter.unchecked
            await asyncio.to_thread(own_postgresql.start)
            while limiter.is_silent:
                assert (await ask(it, key)).status == 200
                count += 1
            await it.at_rest()
        async with keys_of(url) as keys:
            (day,) = (await keys.use_of(key.key.id)).limits
            assert day.used >= count * USAGE["total_tokens"]  # what the store missed it was told

    asyncio.run(run())
