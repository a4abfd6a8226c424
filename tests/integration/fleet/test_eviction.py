"""Who has to go when room is short: by default the one that was used longest ago, never one that is pinned or busy."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.integration.fleet.crowd import answers, crowd, until
from tests.integration.fleet.fleet import Fleet, entry, fleet


@pytest.fixture(scope="module")
def it(tmp_path_factory, quick, slow) -> Iterator[Fleet]:
    """One node with room for two models."""
    models = [entry(f"lab/{name}", quick, 3000) for name in "abc"]
    models += [entry("lab/pinned", quick, 3000, pinned_on=["n"]), entry("lab/slow", slow, 3000, parallel=2)]
    section = "access_log = false\n"
    with fleet(tmp_path_factory.mktemp("eviction") / "fleet", {"n": (7000,)}, models, gateway=section) as running:
        yield running


@pytest.fixture(autouse=True)
def at_rest(it) -> Iterator[None]:
    with it.from_nothing():
        yield
    assert it.refusals() == []


def victims_for(it: Fleet, model: str) -> list[str]:
    """Return who would have to go for a model now."""
    plan = it.gateway.get(f"/admin/v1/plan?model={model}")[1]
    return [instance["model"] for instance in plan["evicts"]]


def test_the_model_that_was_used_longest_ago_goes(it):
    for model in ("lab/a", "lab/b"):
        assert it.gateway.ask(model)[0] == 200
    it.wait_until(lambda: not any(it.node("n").neuron.report(model)["protected_s"] for model in ("lab/a", "lab/b")))
    assert it.gateway.ask("lab/a")[0] == 200
    # The gateway hears of the end of a protection with its next report only, and takes who is not protected.
    it.wait_until(lambda: victims_for(it, "lab/c") == ["lab/b"])
    assert it.gateway.ask("lab/c")[0] == 200
    assert it.node("n").loaded() == {"lab/a", "lab/c"}


def test_a_pinned_model_stays_though_it_was_used_longest_ago(it):
    for model in ("lab/pinned", "lab/a", "lab/b"):
        assert it.gateway.ask(model)[0] == 200
    assert it.node("n").loaded() == {"lab/pinned", "lab/b"}


def test_a_model_that_is_answering_stays_though_the_other_was_used_later(it):
    async def run() -> None:
        async with crowd(it.gateway, ["lab/slow"], stream=True, max_tokens=200) as (running,):
            assert (await running.head()).status == 200
            assert await running.piece()
            async with crowd(it.gateway, ["lab/a"]) as clients:
                assert [answer.status for answer in await answers(clients)] == [200]
            async with crowd(it.gateway, ["lab/b"]) as clients:
                assert [answer.status for answer in await answers(clients)] == [200]
            await until(lambda: it.node("n").loaded() == {"lab/slow", "lab/b"})
            assert (await running.body()).endswith(b"data: [DONE]\n\n")

    asyncio.run(run())
