"""No secret stands in a log, an answer or a metric, whatever goes wrong: all is said at level debug, and read."""

import asyncio
import contextlib
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from tests.integration.gateway.hostile_engine import HostileEngine, Turn, good
from tests.integration.gateway.raw_client import LIMIT_S, connected
from tests.integration.gateway.scene import ASK, ASK_STREAM, MODEL, PROFILES, Scene, is_known, until

from cortex.contract.key import KeyWish
from cortex.gateway.app import Gateway
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry, StoreSection
from cortex.kit import log
from cortex.kit.clock import SystemClock
from cortex.testing.fake_neuron import FakeNeuron

FLEET_TOKEN = "flt-7b1d9c55e0"
DATABASE_WORD = "dbw-93af11c2"
GUESS = "ctx-guessed-by-somebody-0123456789"
FREE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "poll_s": 0.5}


async def dies(turn: Turn) -> None:
    turn.reset()


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Whatever is logged, at level debug and as it would be written."""
    stream, root = io.StringIO(), logging.getLogger()
    before, levels = root.handlers[:], (root.level, logging.getLogger("cortex").level)
    log.configure("debug", "plain", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(levels[0])
    logging.getLogger("cortex").setLevel(levels[1])
    logging.captureWarnings(False)


@contextlib.asynccontextmanager
async def staged(folder: Path, counters: list[Callable[[], int]]) -> AsyncIterator[Scene]:
    """A gateway with a store and a fleet token, and a neuron that asks for it."""
    (folder / "token").write_text(FLEET_TOKEN)
    async with (
        HostileEngine(good, dies, good) as engine,
        FakeNeuron(engine_url=f"http://127.0.0.1:{engine.port}", token=FLEET_TOKEN) as neuron,
    ):
        neuron.put(MODEL)
        settings = GatewaySettings(
            gateway=GatewaySection(**FREE, log_level="debug"),
            neurons=(
                NeuronEntry(name="n0", endpoint=neuron.url, token_file=str(folder / "token")),
                NeuronEntry(name="gone", endpoint="http://127.0.0.1:1", token_file=str(folder / "token")),
            ),
            store=StoreSection(url=f"sqlite:///{folder}/store.db"),
        )
        gateway = Gateway(settings, PROFILES, clock=SystemClock(), rng=Random(1))
        counters.append(gateway.in_flight)
        it = Scene(gateway, [neuron], [engine])
        await gateway.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await until(lambda: is_known(it, is_loaded=False))
                yield it
        finally:
            await gateway.stop(0)


async def everything(it: Scene, *headers: str) -> str:
    """Ask for all that can be read; return what was answered, in one text."""
    answers = []
    for path in (
        *("/v1/models", "/health", "/readyz", "/", "/api/tags", "/nowhere", "/admin/v1/nodes", "/admin/v1/models"),
        *("/admin/v1/callers", "/admin/v1/keys", "/admin/v1/usage", "/admin/v1/usage/requests", "/admin/v1/decisions"),
        *("/admin/v1/queues", "/admin/v1/instances", "/admin/v1/openapi.json", "/admin/v1/activity", "/dashboard/"),
        *("/admin/v1/keys/none", "/admin/v1/nodes/none", "/admin/v1/explain?model=none"),
    ):
        answer = await it.get(path, *headers)
        answers.append(repr(answer.headers) + answer.body.decode(errors="replace"))
    async with connected(it.gateway.metrics_port) as client:
        await client.ask(b"", path="/metrics", method="GET")
        answers.append((await client.answer()).body.decode())
    return "\n".join(answers)


async def play(folder: Path, counters: list[Callable[[], int]]) -> tuple[str, dict[str, str]]:
    """Make keys, use and misuse them; return all that was answered, and the secrets."""
    async with staged(folder, counters) as it:
        keys, book = it.gateway._keys.keys, it.gateway._keys.book
        assert keys is not None
        assert book is not None
        admin = (await keys.create(KeyWish(name="ops", scope="admin"))).secret
        await until(lambda: book.find(admin.encode()) is not None)
        as_admin = f"authorization: Bearer {admin}"
        made = await it.ask({"name": "alice"}, as_admin, "content-type: application/json", path="/admin/v1/keys")
        user = str(made.json()["secret"])
        told = []
        for shown in (f"authorization: Bearer {user}", f"x-api-key: {user}", f"api-key: {user}"):
            for ask in (ASK, ASK_STREAM, {**ASK, "model": "none"}, b"{", b'{"model":1}'):
                answer = await it.ask(ask, shown)
                told.append(answer.body.decode(errors="replace"))
        for shown in (f"authorization: Bearer {GUESS}", f"authorization: Basic {GUESS}", f"x-api-key: {GUESS}", ""):
            for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses", "/admin/v1/keys"):
                answer = await it.ask(ASK, *([shown] if shown else []), path=path)
                assert answer.status in (401, 403), (shown, path)
                told.append(answer.body.decode())
        assert (await it.get("/admin/v1/nodes", f"authorization: Bearer {user}")).status == 403
        told.append(await everything(it, as_admin))
        told.append(await everything(it, f"authorization: Bearer {user}"))
        headers = [turn.headers for turn in it.turns]
        assert headers
        told.append(repr(headers))  # an engine is shown no credential of a caller
    return "\n".join(told), {"admin": admin, "user": user}


@pytest.mark.parametrize("where", ["answers", "log"])
def test_no_secret_is_told(
    where: str, said: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str], in_flight_zero: list
) -> None:
    told, secrets = asyncio.run(play(tmp_path, in_flight_zero))
    text = told if where == "answers" else said.getvalue() + "".join(capsys.readouterr())
    assert len(text) > 1000
    for secret in (*secrets.values(), FLEET_TOKEN, GUESS):
        assert secret not in text
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert kept
    for secret in secrets.values():
        assert secret.encode() not in kept


def test_a_database_that_does_not_answer_is_told_without_its_password(said: io.StringIO, tmp_path: Path) -> None:
    async def run() -> str:
        settings = GatewaySettings(
            gateway=GatewaySection(**FREE, log_level="debug"),
            store=StoreSection(url=f"postgresql://cortex:{DATABASE_WORD}@127.0.0.1:1/cortex"),
        )
        gateway = Gateway(settings, PROFILES, clock=SystemClock(), rng=Random(1))
        await gateway.start()
        try:
            return await everything(Scene(gateway, [], []))
        finally:
            await gateway.stop(0)

    text = asyncio.run(run()) + said.getvalue()
    assert "store" in text
    assert DATABASE_WORD not in text
