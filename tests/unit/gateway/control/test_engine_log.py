"""The logs of engines, through a real client of a neuron whose every line is written by hand."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest
from tests.unit.fleet.builder import Fleet, a_profile

from cortex.contract.error import CapacityError, ModelNotFound, NodeNotFound, NodeRefused, UpstreamError
from cortex.fleet.event import NodeLost
from cortex.gateway.control import engine_log
from cortex.gateway.control.engine_log import EngineLogDesk
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.kit.http_client import HttpClient
from cortex.testing.fake_neuron import FakeLog, FakeNeuron

PATIENCE_S = 30.0


class Scene:
    def __init__(self, neuron: FakeNeuron, http: HttpClient) -> None:
        self.fleet = Fleet(["beast"], [a_profile("org/m", aliases=("short",))])
        self.neuron = neuron
        self.log = neuron.logs["org/m"] = FakeLog("one", "two", "three")
        clients = {"beast": NeuronClient(http, neuron.url, token="secret")}
        self.desk = EngineLogDesk(self.fleet.dispatcher, clients, self._resolve, look_s=0.005)

    def _resolve(self, name: str) -> str:
        model = self.fleet.dispatcher.canonical_id(name)
        if not model:
            raise ModelNotFound(f"no model '{name}'")
        return model

    async def until_said(self, wanted: str, lines: int = 10) -> list[str]:
        """Follow until a line comes; return what came."""
        seen: list[str] = []
        async with aclosing(self.desk.follow("org/m", "beast", lines)) as log:
            async for some in log:
                seen += some
                if wanted in seen:
                    break
        return seen


def play(test: Callable[[Scene], Awaitable[None]], *, token: str | None = "secret") -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            async with asyncio.timeout(PATIENCE_S), FakeNeuron(token=token) as neuron:
                await test(Scene(neuron, http))
                for log in neuron.logs.values():
                    await log.until_followed_by(0)
        finally:
            await http.close()

    asyncio.run(run())


async def to_the_end(log: AsyncGenerator[tuple[str, ...]]) -> None:
    async for _ in log:
        pass


def test_the_last_lines_are_told_with_the_neurons_credential_and_by_an_alias() -> None:
    async def test(it: Scene) -> None:
        assert await it.desk.tail("short", "beast", 2) == ("two", "three")

    play(test)


def test_what_is_followed_begins_with_the_last_lines_and_ends_with_the_engine() -> None:
    async def test(it: Scene) -> None:
        seen: list[str] = []
        async with aclosing(it.desk.follow("org/m", "beast", 1)) as log:
            async for some in log:
                seen += some
                if seen == ["three"] and some:
                    it.log.write("four", "five")
                elif "five" in seen and some:
                    it.log.end()
        assert seen == ["three", "four", "five"]
        assert it.desk.readers == 0

    play(test)


def test_a_reader_that_leaves_lets_go_of_the_neuron() -> None:
    async def test(it: Scene) -> None:
        assert await it.until_said("three") == ["one", "two", "three"]
        assert it.desk.readers == 0

    play(test)  # which waits until the neuron has no reader either


def test_silence_is_told_as_nothing_while_the_node_is_healthy() -> None:
    async def test(it: Scene) -> None:
        log = it.desk.follow("org/m", "beast", 10)
        while not (await anext(log)):
            pass
        assert await anext(log) == ()
        await log.aclose()

    play(test)


def test_a_node_that_does_not_answer_any_more_ends_it() -> None:
    async def test(it: Scene) -> None:
        log = it.desk.follow("org/m", "beast", 10)
        assert await anext(log) in ((), ("one", "two", "three"))
        it.fleet.tell(NodeLost("beast", "connection refused"))
        with pytest.raises(UpstreamError, match="beast does not answer any more: connection refused"):
            await to_the_end(log)
        assert it.desk.readers == 0

    play(test)


def test_a_connection_that_breaks_is_told_with_the_node() -> None:
    async def test(it: Scene) -> None:
        log = it.desk.follow("org/m", "beast", 10)
        await it.log.until_followed_by(0)
        await anext(log)
        await it.neuron.stop()
        with pytest.raises(UpstreamError) as caught:
            await to_the_end(log)
        assert caught.value.details["node"] == "beast"

    play(test)


def test_a_close_ends_every_reader() -> None:
    async def test(it: Scene) -> None:
        reading = asyncio.get_running_loop().create_task(it.until_said("never"))
        await it.log.until_followed_by(1)
        it.desk.close()
        assert set(await reading) <= {"one", "two", "three"}

    play(test)


def test_lines_that_are_no_text_or_endless_are_made_harmless() -> None:
    async def test(it: Scene) -> None:
        it.log.write("x" * 10_000, "end")
        seen = await it.until_said("end")
        assert max(map(len, seen)) == engine_log.MAX_LINE_CHARS
        assert max(map(len, await it.desk.tail("org/m", "beast", 2))) == engine_log.MAX_LINE_CHARS

    play(test)


@pytest.mark.parametrize(
    ("model", "node", "error", "words"),
    [
        ("other", "beast", ModelNotFound, "no model 'other'"),
        ("org/m", "baest", NodeNotFound, "did you mean 'beast'"),
    ],
)
def test_what_is_not_known_is_refused_at_once(model: str, node: str, error: type[Exception], words: str) -> None:
    async def test(it: Scene) -> None:
        with pytest.raises(error, match=words):
            it.desk.follow(model, node, 10)
        with pytest.raises(error, match=words):
            await it.desk.tail(model, node, 10)

    play(test)


def test_a_neuron_that_refuses_is_quoted() -> None:
    async def test(it: Scene) -> None:
        del it.neuron.logs["org/m"]
        with pytest.raises(NodeRefused, match="beast refused: no model 'org/m'") as caught:
            await it.desk.tail("org/m", "beast", 10)
        assert caught.value.details["cause"] == "model_not_found"
        with pytest.raises(NodeRefused, match="beast refused: no model 'org/m'"):
            await anext(it.desk.follow("org/m", "beast", 10))
        assert it.desk.readers == 0

    play(test)


def test_there_are_not_too_many_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_log, "MAX_READERS", 1)

    async def test(it: Scene) -> None:
        log = it.desk.follow("org/m", "beast", 10)
        await anext(log)
        with pytest.raises(CapacityError, match="1 readers follow logs"):
            it.desk.follow("org/m", "beast", 10)
        await log.aclose()
        assert await it.until_said("three")

    play(test)


def test_lines_wait_at_the_node_while_their_reader_is_slow() -> None:
    async def test(it: Scene) -> None:
        count = 600
        log = it.desk.follow("org/m", "beast", 1)
        while not await anext(log):
            pass
        it.log.write(*["x" * 64_000] * count)  # 38 MB: more than all sockets hold
        it.log.write("end")
        for _ in range(5000):  # whoever could take them has the time to
            await asyncio.sleep(0)
        assert it.log.told < count
        seen = 0
        async with aclosing(log):
            async for some in log:
                seen += len(some)
                if "end" in some:
                    break
        assert seen == count + 1

    play(test)
