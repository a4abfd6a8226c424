"""Loads and unloads at random, by us and by others, on one mistral.rs server: it is never made worse than it is."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.neuron.fake_node import FakeNode, FakeProbe, a_node
from tests.unit.neuron.harness.builder import a_site

from cortex.contract.instance import LoadRequest, UnloadRequest
from cortex.kit.http_client import HttpClient
from cortex.neuron.mistralrs.shared import SharedMistralRs
from cortex.neuron.refusal import Busy, Held
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.shared_server import Pace
from cortex.testing.fake_mistralrs import FakeModel
from cortex.testing.fake_mistralrs_server import FakeMistralRs

MODELS = ("a", "b", "c")
ROUNDS = 12
AT_ONCE = 5


class Witness(FakeMistralRs):
    """Notes in what state a model was when somebody asked for its reload."""

    def __init__(self, **options: Any) -> None:
        super().__init__({name: FakeModel(load_s=0.002) for name in MODELS}, **options)
        self.asked_for: list[str] = []

    async def _post_reload(self, request: web.Request) -> web.Response:
        name = (await request.json())["model_id"]
        self.asked_for.append(self.table.status(name))
        return await super()._post_reload(request)


class Rig:
    """A node with the harness, its server, and somebody else who uses that, too."""

    def __init__(self, node: FakeNode, server: Witness, other: aiohttp.ClientSession, rng: Random) -> None:
        self.node = node
        self.server = server
        self.other = other
        self.rng = rng

    async def act(self) -> None:
        """Do one thing or another; a refusal is an answer as well."""
        name = self.rng.choice(MODELS)
        try:
            match self.rng.choice(("load", "load", "unload", "force", "steal")):
                case "load":
                    await self.node.supervisor.load(LoadRequest(model_id=name, harness="mistralrs", vram_mb=10))
                case "unload":
                    await self.node.supervisor.unload(UnloadRequest(model_id=name))
                case "force":
                    await self.node.supervisor.unload(UnloadRequest(model_id=name, wait=False, force=True))
                case _:
                    await self.post("/v1/models/unload", {"model_id": name})
        except (Busy, Held):
            pass

    async def post(self, path: str, body: dict[str, object]) -> int:
        async with self.other.post(self.server.url + path, json=body) as answer:
            await answer.read()
            return answer.status

    async def settle(self) -> None:
        """Let time pass until what the neuron says is so, and holds memory, and nothing else does."""
        for _ in range(1000):
            await self.node.supervisor.look()
            turn = asyncio.create_task(asyncio.sleep(0))
            await self.node.let_pass(turn.done)
            loaded = [name for name in MODELS if self.server.table.status(name) == "loaded"]
            said = [name for name in MODELS if self.node.status(name) == "loaded"]
            reserved, residents = self.node.booked()
            if loaded == said == sorted(residents) and not reserved:
                return
        raise AssertionError([(self.node.status(name), self.server.table.status(name)) for name in MODELS])


async def played(tmp_path: Path, seed: int, version: str) -> None:
    rng, http = Random(seed), HttpClient()
    async with Witness(version=version) as server, aiohttp.ClientSession() as other:
        harness = SharedMistralRs(HarnessEntry(name="mistralrs", endpoint=server.url), a_site(http=http), Pace(0.002))
        harness.detail = await harness.probe()  # type: ignore[attr-defined]
        async with a_node(tmp_path, harness, probe=FakeProbe((1000,))) as node:  # type: ignore[arg-type]
            rig = Rig(node, server, other, rng)
            await node.supervisor.adopt([])
            for _ in range(ROUNDS):
                acts = [asyncio.create_task(rig.act()) for _ in range(AT_ONCE)]
                await node.let_pass(lambda acts=acts: all(act.done() for act in acts))  # type: ignore[misc]
                await asyncio.gather(*acts)
                await rig.settle()
                assert server.table.reloading == [], "nobody has marked a model for ever"
            assert set(server.asked_for) == {"unloaded"}
            for name in MODELS:
                assert await rig.post("/v1/chat/completions", {"model": name, "messages": []}) == 200
        await http.close()


@pytest.mark.parametrize("version", ["0.9.2", "0.9.5"])
@pytest.mark.parametrize("seed", range(4))
def test_no_reload_goes_to_what_is_not_unloaded_and_the_books_are_right(
    tmp_path: Path, seed: int, version: str
) -> None:
    asyncio.run(played(tmp_path, seed, version))
