"""A catalogue that changes while engines load and answer (no. 13 of what others got wrong).

What runs finishes byte for byte; what is asked for from then on is served by the new revision; a file that cannot be
used changes nothing.
"""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from tests.integration.fleet.crowd import until
from tests.integration.fleet.fleet import Entry, Fleet, chat, entry, fleet, write_catalogue
from tests.integration.gateway.raw_client import RawClient, connected

MODEL = "lab/m"
TOKENS = 300
"""Of an answer that runs for two seconds and more."""


@pytest.fixture
def models(slow) -> list[Entry]:
    return [entry(MODEL, slow, 3000, parallel=2, context=4096)]


@pytest.fixture
def it(request, tmp_path, models) -> Iterator[Fleet]:
    """One node, on which there is no room for another instance, or as many as a test asks for."""
    nodes = ("a", "b")[: getattr(request, "param", 1)]
    with fleet(tmp_path / "fleet", dict.fromkeys(nodes, (4000,)), models) as running:
        yield running


def change(it: Fleet, models: list[Entry], *, at_once: bool = False, **keys: object) -> None:
    """Put another catalogue in the place of the gateway's, and wait until it is read; ``at_once``: tell the gateway."""
    before = it.gateway.log.count("catalogue reloaded")
    write_catalogue(it.gateway.folder, [{**one, **keys} for one in models])
    if at_once:
        it.gateway.process.send_signal(signal.SIGHUP)
    it.wait_until(lambda: it.gateway.log.count("catalogue reloaded") > before)


def revisions(it: Fleet) -> set[str]:
    """Return the revisions that are loaded now."""
    reports = [node.neuron.report(MODEL) for node in it.nodes.values() if MODEL in node.loaded()]
    return {report["revision"] for report in reports}


async def answer_of(client: RawClient, **more: object) -> bytes:
    await client.ask(chat(MODEL, stream=True, **more))
    await client.head()
    return await client.body()


@pytest.mark.parametrize("it", [1, 2], ids=["no-room-beside-it", "room-elsewhere"], indirect=True)
def test_what_runs_finishes_and_what_comes_is_served_by_the_new_revision(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    (old,) = revisions(it)

    async def run() -> tuple[bytes, bytes]:
        async with connected(it.gateway.port) as first, connected(it.gateway.port) as second:
            running = asyncio.create_task(answer_of(first, max_tokens=TOKENS))
            await until(lambda: it.gateway.metric("cortex_requests_in_flight") == 1)
            await asyncio.to_thread(change, it, models, at_once=True, context=2048)
            assert not running.done(), "the answer is too short to see what becomes of it"
            later = await answer_of(second, max_tokens=4)
            return await running, later

    whole, later = asyncio.run(run())
    assert whole.endswith(b"data: [DONE]\n\n")
    assert whole.count(b'"content"') >= TOKENS
    assert later.endswith(b"data: [DONE]\n\n")
    it.wait_until(lambda: len(revisions(it)) == 1)
    assert revisions(it) != {old}
    assert it.loads(MODEL) == 2


def test_a_change_of_where_it_goes_and_how_long_it_stays_reloads_nothing(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    change(it, models, vram_mb=3001, idle_unload_s=900, aliases=["other"])
    assert it.gateway.ask("other")[0] == 200
    assert it.loads(MODEL) == 1


def test_a_change_during_the_load_is_served_by_the_new_revision(it, models):
    board = it.node("a").board

    async def run() -> bytes:
        board.hold_loads(True)
        async with connected(it.gateway.port) as client:
            asking = asyncio.create_task(answer_of(client, max_tokens=4))
            await until(lambda: it.loads(MODEL) == 1)
            await asyncio.to_thread(change, it, models, context=2048)
            board.hold_loads(False)
            return await asking

    assert asyncio.run(run()).endswith(b"data: [DONE]\n\n")
    it.wait_until(lambda: it.gateway.ask(MODEL)[0] == 200 and it.loads(MODEL) == 2 and len(revisions(it)) == 1)


def test_a_file_that_cannot_be_used_changes_nothing(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    (it.gateway.folder / "models.toml").write_text('[[models]]\nid = "lab/m"\nharness = ')
    it.wait_until(lambda: "the old one stays" in it.gateway.log)
    assert it.gateway.ask(MODEL)[0] == 200
    change(it, models, aliases=["other"])
    assert it.gateway.ask("other")[0] == 200
    assert it.loads(MODEL) == 1
