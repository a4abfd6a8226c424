"""Models that share one place: nobody's answer is cut for another's sake, turns are taken, and nobody starves.

| no. | what others got wrong |
|---|---|
| 1 | loading B killed A's running answer |
| 3 | a load that nobody waited for any more was made all the same |
| 4 | A B C A B C made six loads; under endless A nobody else was ever served |
| 15 | models of equal rank could not take turns; of unequal rank one could never come back, and nobody said so |
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration.fleet.crowd import answers, crowd, traffic, until
from tests.integration.fleet.fleet import Fleet, chat, entry, fleet, write_catalogue
from tests.integration.gateway.raw_client import LIMIT_S


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    """One node that has room for one model."""
    models = [entry("lab/slow", slow, 3000, parallel=2)]
    models += [entry(f"lab/{name}", quick, 3000, parallel=2) for name in "abc"]
    section = 'access_log = false\n[eviction]\nstrategy = "priority"\n'
    with fleet(tmp_path_factory.mktemp("swap") / "fleet", {"n": (4000,)}, models, gateway=section) as running:
        yield running


@pytest.fixture(autouse=True)
def at_rest(it) -> Iterator[None]:
    """Begin with nothing loaded; leave nothing in flight, and no engine that did not get its memory."""
    with it.from_nothing():
        yield
    assert it.refusals() == []


def test_a_stream_survives_that_another_model_is_demanded_which_is_served_then(it):
    with it.gateway.sdk() as sdk, ThreadPoolExecutor(1) as pool:
        ask = chat("lab/slow", stream=True, max_tokens=250, extra_body={"cache_prompt": False})
        undisturbed = [said(chunk) for chunk in sdk.chat.completions.create(**ask)]
        stream = sdk.chat.completions.create(**ask)
        disturbed = [said(next(stream))]
        other = pool.submit(it.gateway.ask, "lab/b")
        it.wait_until(lambda: it.gateway.waiting() == 1)
        assert it.node("n").loaded() <= {"lab/slow"}
        disturbed += [said(chunk) for chunk in stream]
        assert other.result()[0] == 200
    assert disturbed == undisturbed
    assert it.node("n").loaded() == {"lab/b"}


def said(chunk) -> tuple[str | None, str | None]:
    """Return what one event of a stream says, without what differs between any two answers."""
    return (chunk.choices[0].delta.content, chunk.choices[0].finish_reason) if chunk.choices else (None, None)


def test_a_load_that_waits_for_room_is_dropped_when_nobody_wants_it_any_more(it):
    before = it.loads("lab/b")

    async def run() -> None:
        async with crowd(it.gateway, ["lab/slow"], stream=True, max_tokens=200) as (running,):
            assert (await running.head()).status == 200
            async with crowd(it.gateway, ["lab/b"]) as (other,):
                await until(lambda: it.gateway.waiting() == 1)
                other.vanish()
                await until(lambda: it.gateway.waiting() == 0)
            assert (await running.body()).endswith(b"data: [DONE]\n\n")

    asyncio.run(run())
    assert it.gateway.ask("lab/slow")[0] == 200
    assert it.loads("lab/b") == before
    assert it.node("n").loaded() == {"lab/slow"}


def test_six_who_want_three_models_in_turn_cause_three_loads(it):
    async def run() -> None:
        before = it.loads()
        async with crowd(it.gateway, ["lab/a", "lab/b", "lab/c"] * 2) as clients:
            assert {answer.status for answer in await answers(clients)} == {200}
        assert it.loads() - before <= 3

    asyncio.run(run())


def test_under_endless_traffic_for_one_model_another_gets_its_turn(it):
    async def run() -> None:
        async with traffic(it.gateway, "lab/slow", max_tokens=60):
            await until(lambda: it.node("n").loaded() == {"lab/slow"})
            async with crowd(it.gateway, ["lab/c"]) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}

    asyncio.run(run())


def test_models_of_equal_rank_alternate_both_ways(it):
    before = it.loads()
    for model in ("lab/a", "lab/b", "lab/a", "lab/b"):
        status, answer = it.gateway.ask(model)
        assert status == 200, answer
        assert it.node("n").loaded() == {model}
    assert it.loads() - before == 4


def test_models_of_unequal_rank_that_cannot_take_turns_are_told_beforehand(it, tmp_path, quick):
    shutil.copy(it.gateway.folder / "cortex.toml", tmp_path)
    write_catalogue(tmp_path, [entry("lab/high", quick, 3000, priority=5), entry("lab/low", quick, 3000)])
    check = [sys.executable, "-P", "-m", "cortex", "check", "--neurons", "--config", str(tmp_path / "cortex.toml")]
    ended = subprocess.run(check, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    told = [line for line in ended.stdout.splitlines() if line.startswith("note: lab/low (priority 0)")]
    assert len(told) == 1, ended
    assert "not beside lab/high (priority 5)" in told[0]


def test_eviction_increments_lifecycle_cycles(it):
    assert it.gateway.ask("lab/a")[0] == 200
    before = it.node("n").cycles()
    assert it.gateway.ask("lab/b")[0] == 200
    assert it.node("n").cycles() == before + 1
