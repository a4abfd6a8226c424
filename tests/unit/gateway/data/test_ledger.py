"""No request waits for the ledger, and every one is written, pending or counted as lost, whatever the store does."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.data.test_metric import UNKNOWN, a_record

from cortex.contract.error import StoreUnavailable
from cortex.contract.usage import UsageEntry
from cortex.gateway.data import ledger as module
from cortex.gateway.data.ledger import BATCH, Ledger, origin_of
from cortex.kit.task import TaskOwner

Mood = Literal["up", "down", "deaf", "stuck"]
"""deaf: it writes and fails nevertheless, as if its answer was lost. stuck: it does not answer."""


class Store:
    """Implements ``ports.UsageLog``."""

    def __init__(self) -> None:
        self.mood: Mood = "up"
        self.entries: dict[str, UsageEntry] = {}
        self.batches: list[int] = []

    async def write(self, entries: Sequence[UsageEntry]) -> None:
        await asyncio.sleep(0)
        if self.mood == "stuck":
            await asyncio.Event().wait()
        if self.mood != "down":
            self.batches.append(len(entries))
            self.entries |= {entry.id: entry for entry in entries}
        if self.mood != "up":
            raise StoreUnavailable("gone")


class Timers:
    """Stands for the loop where the ledger asks for the time: what it wants to be called for is called by hand."""

    def __init__(self) -> None:
        self.due: Callable[[], None] | None = None
        self.time = asyncio.get_running_loop().time

    def call_later(self, _: float, callback: Callable[[], None]) -> "Timers":
        assert self.due is None, "there is never more than one timer"
        self.due = callback
        return self

    def cancel(self) -> None:
        self.due = None

    def fire(self) -> None:
        if self.due is not None:
            self.due()


class Scene:
    """A ledger with its store."""

    def __init__(self, max_pending: int = 1000) -> None:
        self.store = Store()
        self.timers = Timers()
        self.tasks = TaskOwner()
        loop: asyncio.AbstractEventLoop = self.timers  # type: ignore[assignment]
        self.ledger = Ledger(loop, self.store, self.tasks, start_id="s", epoch_s=lambda: 100.0, max_pending=max_pending)

    def see(self, count: int = 1) -> None:
        for _ in range(count):
            self.ledger.record(a_record())

    async def settled(self) -> None:
        while len(self.tasks):  # noqa: ASYNC110 - whatever it does next may be its last
            await asyncio.sleep(0)

    async def flush(self) -> None:
        self.timers.fire()
        await self.settled()

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.ledger.written, self.ledger.pending, self.ledger.lost

    def metric(self, name: str) -> float:
        return next(
            sample.value for family in self.ledger.collect() for sample in family.samples if sample.name == name
        )


def play(test: Callable[[Scene], Awaitable[None]], max_pending: int = 1000) -> None:
    async def run() -> None:
        it = Scene(max_pending)
        await test(it)
        await it.tasks.stop()

    asyncio.run(run())


def test_requests_are_written_together_after_a_while() -> None:
    async def test(it: Scene) -> None:
        it.see(3)
        assert (it.counts, len(it.tasks)) == ((0, 3, 0), 0)
        await it.flush()
        assert (it.counts, it.store.batches, it.timers.due) == ((3, 0, 0), [3], None)

    play(test)


def test_a_whole_batch_does_not_wait() -> None:
    async def test(it: Scene) -> None:
        it.see(2 * BATCH + 1)
        await it.settled()
        assert (it.counts, it.store.batches) == ((2 * BATCH, 1, 0), [BATCH, BATCH])
        await it.flush()
        assert it.counts == (2 * BATCH + 1, 0, 0)

    play(test)


def test_what_a_store_that_was_gone_missed_is_written_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    async def test(it: Scene) -> None:
        it.store.mood = "down"
        it.see(2)
        await it.flush()
        it.see(BATCH)
        assert len(it.tasks) == 0, "a store that fails is not asked again with every request"
        await it.flush()
        assert it.counts == (0, BATCH + 2, 0)
        it.store.mood = "up"
        await it.flush()
        await it.flush()
        assert (it.counts, len(it.store.entries)) == ((BATCH + 2, 0, 0), BATCH + 2)

    play(test)
    assert caplog.messages == []


def test_what_finds_the_queue_full_is_lost_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test(it: Scene) -> None:
        it.store.mood = "down"
        it.see(7)
        await it.flush()
        it.see(5)
        await it.flush()
        assert (it.counts, it.ledger.seen, caplog.messages) == ((0, 5, 7), 12, [])
        assert it.metric("cortex_ledger_lost_total") == 7
        assert it.metric("cortex_ledger_pending") == 5
        it.store.mood = "up"
        await it.flush()
        assert it.counts == (5, 0, 7)
        it.see(1)
        await it.flush()

    with caplog.at_level(logging.WARNING):
        play(test, max_pending=5)
    assert caplog.messages == ["7 requests are missing in the usage ledger: the store could not take them"]


def test_what_was_written_though_nobody_heard_is_not_written_twice() -> None:
    async def test(it: Scene) -> None:
        it.store.mood = "deaf"
        it.see(3)
        await it.flush()
        assert it.counts == (0, 3, 0)
        it.store.mood = "up"
        it.see(1)
        await it.flush()
        assert (it.counts, sorted(it.store.entries)) == ((4, 0, 0), [f"s-{number:010x}" for number in range(4)])

    play(test)


def test_a_stop_writes_what_is_pending_and_counts_what_comes_later() -> None:
    async def test(it: Scene) -> None:
        it.see(2)
        await it.ledger.finish(10.0)
        it.see(1)
        await it.ledger.finish(10.0)
        assert (it.counts, it.timers.due) == ((2, 0, 1), None)

    play(test)


@pytest.mark.parametrize("mood", ["down", "stuck"])
def test_a_stop_does_not_wait_for_a_store_that_is_gone(mood: Mood, caplog: pytest.LogCaptureFixture) -> None:
    async def test(it: Scene) -> None:
        it.store.mood = mood
        it.see(2)
        await it.ledger.finish(0.01)
        assert (it.counts, it.timers.due, len(it.tasks)) == ((0, 0, 2), None, 0)

    play(test)
    assert caplog.messages == ["2 requests are missing in the usage ledger: the store could not take them"]


STEPS = st.lists(
    st.one_of(st.integers(1, 30), st.sampled_from(["up", "down", "deaf", "fire", "settle", "turn"]), st.just("finish")),
    max_size=40,
)


@given(steps=STEPS)
@settings(deadline=None, max_examples=60)
def test_written_and_pending_and_lost_are_all_that_was_seen(steps: list[int | str]) -> None:
    async def test(it: Scene) -> None:
        seen = 0
        for step in [*steps, "finish"]:
            if isinstance(step, int):
                it.see(step)
                seen += step
            else:
                await take(it, step)
            assert sum(it.counts) == it.ledger.seen == seen
            assert it.ledger.pending <= 40
            assert it.ledger.written <= len(it.store.entries)
        assert (it.ledger.pending, it.timers.due, len(it.tasks)) == (0, None, 0)
        if "deaf" not in steps:
            assert it.ledger.written == len(it.store.entries)

    with shorter_batches():
        play(test, max_pending=40)


async def take(it: Scene, step: str) -> None:
    if step == "fire":
        it.timers.fire()
    elif step == "settle":
        await it.settled()
    elif step == "turn":
        await asyncio.sleep(0)
    elif step == "finish":
        await it.ledger.finish(10.0)
    else:
        it.store.mood = step  # type: ignore[assignment]


@contextlib.contextmanager
def shorter_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 7)
        yield


def test_a_failure_that_nobody_thought_of_is_not_repeated_with_every_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError

    async def test(it: Scene) -> None:
        monkeypatch.setattr(it.store, "write", broken)
        it.see(BATCH)
        await it.settled()
        it.see(BATCH)
        assert (it.counts, len(it.tasks)) == ((0, 2 * BATCH, 0), 0)

    play(test)
    assert len(caplog.messages) == 1


def entry_of(**keys: object) -> UsageEntry:
    found: list[UsageEntry] = []

    async def test(it: Scene) -> None:
        it.ledger.record(a_record(**keys))
        await it.flush()
        found.extend(it.store.entries.values())

    play(test)
    return found[0]


def test_an_entry_says_what_the_record_does() -> None:
    assert entry_of(key="alice", started_s=5.0, cold_start=True) == UsageEntry(
        id="s-0000000000",
        request_id="r",
        started_epoch_s=5.0,
        key="alice",
        model="org/m",
        node="beast",
        operation="chat",
        status=200,
        outcome="ok",
        stream=True,
        cold_start=True,
        prompt_tokens=10,
        completion_tokens=20,
        total_tokens=30,
        first_token_s=0.15,
        duration_s=0.65,
        error=None,
    )


def test_what_nobody_told_is_not_known() -> None:
    entry = entry_of(**UNKNOWN, total_tokens=None)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.total_tokens, entry.first_token_s) == (None,) * 4
    assert (entry.model, entry.error) == ("", "model_not_found")


def test_a_total_that_an_engine_left_out_is_added_up() -> None:
    assert entry_of(total_tokens=None).total_tokens == 30
    assert entry_of(total_tokens=None, completion_tokens=None).total_tokens == 10


def test_nothing_is_handed_on_that_a_database_refuses() -> None:
    entry = entry_of(model="a\0b", node="\ud800", prompt_tokens=10**30, completion_tokens=-1, total_tokens=10**30)
    assert (entry.model, entry.node) == ("ab", "?")
    assert (entry.prompt_tokens, entry.completion_tokens, entry.total_tokens) == (2**40, 0, 2**40)


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("", "(local)"),
        ("127.0.0.1", "(loopback)"),
        ("::ffff:127.0.0.1", "(loopback)"),
        ("192.168.1.9", "(private)"),
        ("fe80::1%eth0", "(private)"),
        ("8.8.8.8", "(public)"),
        ("nonsense", "(unknown)"),
    ],
)
def test_a_request_without_a_key_is_told_by_where_it_came_from(peer: str, origin: str) -> None:
    assert origin_of(peer) == origin


def test_the_lag_is_that_of_the_oldest() -> None:
    async def test(it: Scene) -> None:
        assert it.metric("cortex_ledger_lag_seconds") == 0
        it.ledger.record(a_record(started_s=90.0, total_latency_ms=4000.0))
        it.ledger.record(a_record(started_s=99.0, total_latency_ms=0.0))
        assert it.metric("cortex_ledger_lag_seconds") == 6.0
        await it.flush()

    play(test)
