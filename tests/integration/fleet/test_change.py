"""What changes under way: the catalogue, and engines that are started anew.

| no. | what others got wrong |
|---|---|
| 13 | a catalogue that was read again while models loaded and answered lost them, or had no effect on them |
| 14 | an engine's restart failed requests though another node could have served them |
"""

import asyncio
from collections.abc import Iterator

import pytest
from tests.integration.fleet.crowd import answers, crowd, traffic, until
from tests.integration.fleet.fleet import Fleet, entry, fleet


@pytest.fixture
def one_node(tmp_path, quick, slow) -> Iterator[Fleet]:
    models = [entry("lab/m", slow, 3000, parallel=2), entry("lab/other", quick, 3000)]
    with fleet(tmp_path / "fleet", {"a": (8000,)}, models, gateway="access_log = false\n") as running:
        yield running
        running.wait_until(running.gateway.is_at_rest)


def test_a_catalogue_that_is_read_again_takes_effect_for_new_requests_and_what_runs_goes_on(one_node, quick, slow):
    it, board = one_node, one_node.node("a").board

    async def run() -> None:
        board.hold_loads(True)
        async with crowd(it.gateway, ["lab/m"]) as clients:
            await until(lambda: it.node("a").states().get("lab/m") == "loading")
            await asyncio.to_thread(it.change, entry("lab/m", slow, 3000, parallel=3), entry("lab/new", quick, 3000))
            board.hold_loads(False)
            assert [answer.status for answer in await answers(clients)] == [200]
        await until(lambda: it.gateway.ask("lab/m")[0] == 200 and it.node("a").neuron.report("lab/m")["parallel"] == 3)
        async with crowd(it.gateway, ["lab/m"], stream=True, max_tokens=150) as (running,):
            assert (await running.head()).status == 200
            assert await running.piece()
            await asyncio.to_thread(it.change, entry("lab/m", slow, 3000, parallel=4))
            async with crowd(it.gateway, ["lab/m", "lab/new"]) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}
            assert (await running.body()).endswith(b"data: [DONE]\n\n")
        await until(lambda: it.gateway.ask("lab/m")[0] == 200 and it.node("a").neuron.report("lab/m")["parallel"] == 4)

    asyncio.run(run())


def test_a_harness_that_has_to_be_restarted_fails_no_request_where_another_node_can_serve(tmp_path, slow, quick):
    models = [entry("lab/m", slow, 3000, parallel=4), entry("lab/x", quick, 3000)]
    section = "access_log = false\n[eviction]\ndefrag_after_cycles = 2\n"
    with fleet(tmp_path / "fleet", {"a": (8000,), "b": (4000,)}, models, gateway=section) as it:
        assert it.gateway.ask("lab/m")[0] == 200
        (home,) = it.where("lab/m")
        for _ in range(2):
            it.node(home).load(it.catalogue["lab/x"])
            assert it.node(home).neuron.unload("lab/x")[0] == 200
        assert it.node(home).cycles() == 2

        async def run() -> None:
            async with traffic(it.gateway, "lab/m", max_tokens=20):
                await until(lambda: it.node(home).cycles() < 2)

        before = it.gateway.decisions()
        asyncio.run(run())
        it.wait_until(it.gateway.is_at_rest)
        told, (other,) = it.gateway.decided(before), set(it.nodes) - {home}
        leaves = [number for number, (kind, _, at) in enumerate(told) if at == home and kind in ("unload", "restart")]
        assert told.index(("load", "lab/m", other)) < leaves[0], told
        assert it.gateway.log.count("restarting llamacpp on ") == 1
        assert it.gateway.metric("cortex_request_errors_total") == 0


def test_a_restart_without_another_node_is_a_pause_that_ends(one_node):
    it = one_node

    async def run() -> None:
        async with crowd(it.gateway, ["lab/m"], stream=True, max_tokens=150) as (running,):
            assert (await running.head()).status == 200
            assert await running.piece()
            restart = asyncio.create_task(asyncio.to_thread(it.node("a").neuron.get, "/harnesses/llamacpp/restart", {}))
            await until(lambda: it.node("a").states()["lab/m"] == "draining")
            async with crowd(it.gateway, ["lab/m"] * 5) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}
            assert (await running.body()).endswith(b"data: [DONE]\n\n")
            assert (await restart)[0] == 200

    asyncio.run(run())
    assert it.loads("lab/m") == 2
