"""Listening to a neuron's event stream, over real HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from cortex.fleet.event import Event, NodeChanged
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.gateway.control.stream import Stream
from cortex.kit.http_client import HttpClient
from cortex.testing.fake_neuron import FakeNeuron, Refused
from cortex.testing.virtual_clock import VirtualClock


class Ear:
    """A stream, and what it has told."""

    def __init__(self, neuron: FakeNeuron, http: HttpClient) -> None:
        self.neuron = neuron
        self.clock = VirtualClock()
        self.heard: list[NodeChanged] = []
        self._news = asyncio.Event()
        client = NeuronClient(http, neuron.url)
        self.stream = Stream("a", client, self.post, self.clock, Random(1), longest_wait_s=4.0, sleep=self.clock.sleep)

    def post(self, event: Event) -> None:
        assert isinstance(event, NodeChanged)
        self.heard.append(event)
        self._news.set()

    async def until(self, count: int) -> None:
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()

    def told(self) -> list[tuple[str, int, bool]]:
        return [(one.change.start_id, one.change.event, one.is_snapshot) for one in self.heard]


def listening(test: Callable[[Ear], Awaitable[None]]) -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            async with FakeNeuron() as neuron:
                await test(Ear(neuron, http))
        finally:
            await http.close()

    asyncio.run(run())


async def end(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_stream_begins_with_a_snapshot_and_tells_every_change() -> None:
    async def run(ear: Ear) -> None:
        ear.neuron.put("m", "loading")
        task = asyncio.create_task(ear.stream.listen())
        await ear.until(1)
        ear.neuron.put("m", "loaded")
        ear.neuron.drain("m")
        await ear.until(3)
        event = ear.neuron.event
        assert ear.told() == [("life-1", event - 2, True), ("life-1", event - 1, False), ("life-1", event, False)]
        assert [one.change.models[0].status for one in ear.heard] == ["loading", "loaded", "draining"]
        await end(task)

    listening(run)


def test_stream_that_broke_goes_on_where_it_was() -> None:
    async def run(ear: Ear) -> None:
        task = asyncio.create_task(ear.stream.run())
        await ear.until(1)
        await ear.neuron.stop()
        ear.neuron.put("m")
        await ear.neuron.start()
        await ear.clock.until_asleep()
        ear.clock.advance(1)
        await ear.until(2)
        assert ear.told()[1] == ("life-1", ear.neuron.event, False), "no snapshot was needed"
        await end(task)

    listening(run)


def test_stream_of_another_life_begins_with_a_snapshot() -> None:
    async def run(ear: Ear) -> None:
        task = asyncio.create_task(ear.stream.run())
        await ear.until(1)
        ear.neuron.restart("life-2")
        await ear.clock.until_asleep()
        ear.clock.advance(1)
        await ear.until(2)
        assert ear.told()[1] == ("life-2", ear.neuron.event, True)
        await end(task)

    listening(run)


def test_stream_that_cannot_be_had_is_tried_ever_less_often_and_soon_again_after_one_that_lasted() -> None:
    async def run(ear: Ear) -> None:
        await ear.neuron.stop()
        delays = [await ear.stream.listen() for _ in range(6)]
        assert delays == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 4.0], rel=0.11)
        await ear.neuron.start()
        task = asyncio.create_task(ear.stream.listen())
        await ear.until(1)
        ear.clock.advance(20)
        await ear.neuron.stop()
        assert await task == pytest.approx(0.25, rel=0.11)

    listening(run)


def test_neuron_without_a_stream_is_asked_once_a_minute_and_one_that_starts_soon() -> None:
    async def run(ear: Ear) -> None:
        ear.neuron.has_leases = False
        assert await ear.stream.listen() == pytest.approx(60, rel=0.11)
        ear.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        assert await ear.stream.listen() == pytest.approx(0.25, rel=0.11)

    listening(run)


def test_defect_of_ours_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    async def run(ear: Ear) -> None:
        ear.stream._post = lambda event: 1 / 0  # type: ignore[assignment,return-value]
        assert await ear.stream.listen() == pytest.approx(0.25, rel=0.11)

    listening(run)
    assert "ZeroDivisionError" in caplog.text


def test_stream_of_one_of_many_nodes_waits_for_its_turn() -> None:
    async def run(ear: Ear) -> None:
        ear.stream._first_wait_s = 3.0
        task = asyncio.create_task(ear.stream.run())
        await ear.clock.until_asleep()
        assert ear.neuron.count("GET /events") == 0
        ear.clock.advance(3)
        await ear.until(1)
        await end(task)

    listening(run)
