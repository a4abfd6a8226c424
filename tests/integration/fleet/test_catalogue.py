"""A catalogue whose file changes: what is loaded anew and where, and what is not.

Beside no. 13 of what others got wrong, which ``test_change.py`` has where there is no room for two revisions.
"""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from tests.integration.fleet.fleet import Entry, Fleet, chat, entry, fleet, write_catalogue
from tests.integration.gateway.raw_client import connected

MODEL = "lab/m"
TOKENS = 3000
"""Of an answer that runs for twenty seconds and more, and is not waited for."""


@pytest.fixture
def models(slow) -> list[Entry]:
    return [entry(MODEL, slow, 3000, parallel=2, context=4096)]


@pytest.fixture
def it(tmp_path, models) -> Iterator[Fleet]:
    with fleet(tmp_path / "fleet", {"a": (4000,), "b": (4000,)}, models) as running:
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


def test_where_another_node_has_room_the_new_revision_serves_while_the_old_one_goes_on(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    (old,) = revisions(it)

    async def run() -> None:
        async with connected(it.gateway.port) as client:
            await client.ask(chat(MODEL, stream=True, max_tokens=TOKENS))
            await client.head()
            assert b'"content"' in await client.piece()
            await asyncio.to_thread(change, it, models, at_once=True, context=2048)
            assert (await asyncio.to_thread(it.gateway.ask, MODEL))[0] == 200
            assert it.gateway.metric("cortex_requests_in_flight") == 1
            assert b'"content"' in await client.piece()
            client.vanish()

    asyncio.run(run())
    it.wait_until(lambda: len(revisions(it)) == 1)
    assert revisions(it) != {old}
    assert it.loads(MODEL) == 2


def test_a_change_of_where_it_goes_and_how_long_it_stays_reloads_nothing(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    change(it, models, vram_mb=3001, idle_unload_s=900, aliases=["other"])
    assert it.gateway.ask("other")[0] == 200
    assert it.loads(MODEL) == 1


def test_a_file_that_cannot_be_used_changes_nothing(it, models):
    assert it.gateway.ask(MODEL)[0] == 200
    (it.gateway.folder / "models.toml").write_text('[[models]]\nid = "lab/m"\nharness = ')
    it.wait_until(lambda: "the old one stays" in it.gateway.log)
    assert it.gateway.ask(MODEL)[0] == 200
    change(it, models, aliases=["other"])
    assert it.gateway.ask("other")[0] == 200
    assert it.loads(MODEL) == 1
