"""Models that are loaded nowhere, in front of real engines: who waits, what is loaded, and what those hear who wait.

| no. | what others got wrong |
|---|---|
| 2 | fifty first requests made several loads, or the one that left took the load with it |
| 3 | a load was broken off when everybody had left |
| 10 | a long load, a silent prefill or a long answer was cut by a limit on the whole |
| 11 | who left while queued was counted for ever |
"""

import asyncio
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration.fleet.crowd import all_leave, answers, crowd, until
from tests.integration.fleet.fleet import Fleet, chat, entry, fleet
from tests.integration.gateway.raw_client import LIMIT_S, connected

STALL_S, FIRST_TOKEN_S = 1.5, 4.0
LIMITS = f"""
access_log = false
heartbeat_after_s = 0.2
heartbeat_every_s = 0.5
stall_timeout_s = {STALL_S}
connect_timeout_s = 1
keep_alive_s = 1
poll_timeout_s = 1
client_stall_s = 2
first_token_timeout_s = {FIRST_TOKEN_S}
"""
"""All limits are shorter than the answer below takes."""


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    names = ("fifty", "left", "long", "cancelled")
    models = [entry(f"lab/{name}", quick, 3000) for name in names]
    models += [entry("lab/slow", slow, 3000, parallel=1)]
    with fleet(tmp_path_factory.mktemp("cold") / "fleet", {"a": (24_000,)}, models, gateway=LIMITS) as running:
        yield running


@pytest.fixture(autouse=True)
def at_rest(it) -> Iterator[None]:
    yield
    it.node("a").board.hold_loads(False)
    it.wait_until(it.gateway.is_at_rest)


def test_fifty_first_requests_cause_one_load_and_one_that_leaves_does_not_stop_it(it):
    async def run() -> None:
        it.node("a").board.hold_loads(True)
        async with crowd(it.gateway, ["lab/fifty"] * 50) as clients:
            await until(lambda: it.gateway.waiting() == 50)
            clients.pop(0).vanish()
            await until(lambda: it.gateway.waiting() == 49)
            it.node("a").board.hold_loads(False)
            assert {answer.status for answer in await answers(clients)} == {200}

    asyncio.run(run())
    assert it.gateway.log.count("loading lab/fifty on ") == it.loads("lab/fifty") == 1
    assert it.gateway.metric("cortex_cold_starts_total", model="lab/fifty", node="a") == 49


def test_when_all_who_wait_leave_the_load_is_finished(it):
    it.node("a").board.hold_loads(True)
    asyncio.run(all_leave(it.gateway, ["lab/left"] * 5))
    it.wait_until(lambda: it.node("a").states().get("lab/left") == "loading")
    it.node("a").board.hold_loads(False)
    it.wait_until(lambda: it.where("lab/left") == ["a"])
    assert it.gateway.ask("lab/left")[0] == 200
    assert it.loads("lab/left") == 1


def test_a_long_load_is_bridged_by_heartbeats_in_the_streams_own_form(it):
    async def run() -> None:
        it.node("a").board.hold_loads(True)
        async with connected(it.gateway.port) as client:
            await client.ask(chat("lab/long", stream=True))
            head = await client.head()
            assert (head.status, head.header("content-type")) == (200, "text/event-stream")
            begin_s = time.monotonic()
            beats = [await client.piece() for _ in range(6)]
            assert time.monotonic() - begin_s > 1, "they come at the interval that was asked for"
            it.node("a").board.hold_loads(False)
            rest = await client.body()
        assert all(beat.startswith(b":") and beat.endswith(b"\n\n") for beat in beats), beats
        events = [event for event in rest.split(b"\n\n") if event and not event.startswith(b":")]
        assert events[-1] == b"data: [DONE]"
        assert all(event.startswith(b"data: ") for event in events)

    asyncio.run(run())


def test_a_silent_engine_and_a_long_answer_are_not_cut(it):
    assert it.gateway.ask("lab/slow")[0] == 200
    engine = it.node("a").engine_pid("lab/slow")
    begin_s = time.monotonic()
    began = threading.Event()
    with it.gateway.sdk() as sdk, ThreadPoolExecutor(1) as pool:

        def listen() -> list[str | None]:
            heard = []
            for chunk in sdk.chat.completions.create(**chat("lab/slow", stream=True, max_tokens=120)):
                heard += [choice.finish_reason for choice in chunk.choices]
                began.set()
            return heard

        with stopped(engine):
            heard = pool.submit(listen)
            pass_time(FIRST_TOKEN_S - 1)
        assert began.wait(LIMIT_S)
        for _ in range(4):
            with stopped(engine):
                pass_time(STALL_S / 2)
            pass_time(0.05)
        assert heard.result()[-1] == "length"
    assert time.monotonic() - begin_s > FIRST_TOKEN_S, "longer than any limit"


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def pass_time(wait_s: float) -> None:
    """Let others go on for so long: here it is time itself that must not end anything."""
    select.select([], [], [], wait_s)


def test_a_thousand_who_leave_while_they_are_queued_leave_no_trace(it):
    async def run() -> None:
        it.node("a").board.hold_loads(True)
        for _ in range(10):
            await all_leave(it.gateway, ["lab/cancelled"] * 50)
        it.node("a").board.hold_loads(False)
        async with connected(it.gateway.port) as holder:
            await holder.ask(chat("lab/slow", stream=True, max_tokens=3000))
            assert (await holder.head()).status == 200
            assert await holder.piece()
            for _ in range(10):
                await all_leave(it.gateway, ["lab/slow"] * 50)
            holder.vanish()

    asyncio.run(run())
    it.wait_until(it.gateway.is_at_rest)
    assert it.loads("lab/cancelled") <= 1
    assert it.gateway.ask("lab/cancelled")[0] == it.gateway.ask("lab/slow")[0] == 200
    it.wait_until(lambda: counted(it) == (0, 0))


def counted(it: Fleet) -> tuple[int, int]:
    """Return what the node counts at the model whose slot was fought for: in flight, and waiting."""
    report = it.node("a").neuron.report("lab/slow")
    return report["in_flight"], report["waiting"]
