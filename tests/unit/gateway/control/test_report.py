"""Reports carried to a scripted neuron over real HTTP: every one ends in exactly one event."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cortex.contract.error import UpstreamTimeout
from cortex.contract.lease import LeasePost
from cortex.fleet.effect import AskDiscovery, PostLeases
from cortex.fleet.event import Event, LeasesAnswered, LeasesRefused, NodeDiscovered, NodeMissed, NodeSampled
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.gateway.control.report import Reporter
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner
from cortex.testing.fake_neuron import FakeNeuron, Refused
from cortex.testing.virtual_clock import VirtualClock


class Desk:
    """A reporter, and what it has posted."""

    def __init__(self, neuron: FakeNeuron, http: HttpClient, tasks: TaskOwner, ask_s: float) -> None:
        self.neuron = neuron
        self.clock = VirtualClock()
        self.events: list[Event] = []
        self.seq = 0
        client = NeuronClient(http, neuron.url, gateway_id="g", ask_s=ask_s)
        self.reporter = Reporter({"a": client}, self.clock, tasks)

    def next_report(self, **fields: object) -> PostLeases:
        self.seq += 1
        return PostLeases("a", LeasePost(**({"gateway_id": "g", "seq": self.seq} | fields)))  # type: ignore[arg-type]

    async def report(self, **fields: object) -> Event:
        before = len(self.events)
        self.reporter.carry_out(self.next_report(**fields), self.events.append)
        assert len(self.events) == before, "nothing is posted before it returns"
        await self.reporter.settled("a")
        assert len(self.events) == before + 1
        return self.events[-1]

    async def discover(self) -> Event:
        said: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self.reporter.carry_out(AskDiscovery("a"), said.set_result)
        return await said


def reporting(test: Callable[[Desk], Awaitable[None]], *, ask_s: float = 5.0) -> None:
    async def run() -> None:
        http, tasks = HttpClient(), TaskOwner()
        try:
            async with FakeNeuron() as neuron:
                await test(Desk(neuron, http, tasks, ask_s))
                neuron.answer_gate.set()
        finally:
            await tasks.stop()
            await http.close()

    asyncio.run(run())


def test_report_that_is_answered_has_the_time_at_which_it_was_sent() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.put("m")
        sent_s = desk.clock.now_s()
        answered = await desk.report()
        assert isinstance(answered, LeasesAnswered)
        assert (answered.sent_s, answered.post.seq) == (sent_s, 1)
        assert [report.id for report in answered.answer.models] == ["m"]

    reporting(run)


class Held:
    """A neuron of which nothing is heard until the gate is open."""

    def __init__(self, node: str, gate: asyncio.Event, asked: list[str]) -> None:
        self._node = node
        self._gate = gate
        self._asked = asked

    async def leases(self, _post: LeasePost) -> None:
        self._asked.append(self._node)
        await self._gate.wait()
        raise UpstreamTimeout


def test_many_nodes_are_reported_to_at_once_and_not_all_of_a_thousand() -> None:
    async def run() -> None:
        gate, asked, events, tasks = asyncio.Event(), list[str](), list[Event](), TaskOwner()
        clients = {f"n{number}": Held(f"n{number}", gate, asked) for number in range(1000)}
        reporter = Reporter(clients, VirtualClock(), tasks)  # type: ignore[arg-type]
        for node in clients:
            reporter.carry_out(PostLeases(node, LeasePost(gateway_id="g", seq=1)), events.append)
        await asyncio.sleep(0)
        assert 100 <= len(asked) <= 500
        gate.set()
        await asyncio.gather(*(reporter.settled(node) for node in clients))
        assert sorted(asked) == sorted(clients)
        assert {event.node for event in events if isinstance(event, NodeMissed)} == set(clients)
        await tasks.stop()

    asyncio.run(run())


def test_stale_report_tells_the_number_that_is_known() -> None:
    async def run(desk: Desk) -> None:
        await desk.report(seq=7)
        refused = await desk.report(seq=7)
        assert isinstance(refused, LeasesRefused)
        assert (refused.code, refused.known_seq) == ("stale", 7)

    reporting(run)


def test_other_refusals_have_no_number() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        refused = await desk.report()
        assert isinstance(refused, LeasesRefused)
        assert (refused.code, refused.known_seq, refused.message) == ("starting", None, "adopting engines")

    reporting(run)


def test_silence_may_be_business_and_a_refused_connection_is_certain() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.answer_gate.clear()
        missed = await desk.report()
        assert isinstance(missed, NodeMissed)
        assert not missed.is_certain
        desk.neuron.answer_gate.set()
        await desk.neuron.stop()
        missed = await desk.report()
        assert isinstance(missed, NodeMissed)
        assert missed.is_certain
        assert "no connection" in missed.why

    reporting(run, ask_s=0.1)


def test_defect_of_ours_is_a_miss_too(caplog: pytest.LogCaptureFixture) -> None:
    async def run(desk: Desk) -> None:
        desk.reporter._clients = {}
        assert isinstance(await desk.report(), NodeMissed)
        missed = await desk.discover()
        assert isinstance(missed, NodeMissed)
        assert missed.is_discovery

    reporting(run)
    assert "KeyError" in caplog.text


def test_neuron_that_knows_no_leases_is_sampled_until_it_is_another_process() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.has_leases = False
        desk.neuron.put("m")
        for _ in range(2):
            sampled = await desk.report()
            assert isinstance(sampled, NodeSampled)
            assert [report.id for report in sampled.models] == ["m"]
            assert (sampled.start_id, sampled.event) == ("life-1", desk.neuron.event)
        assert desk.neuron.count("POST /leases") == 1
        desk.neuron.has_leases = True
        desk.neuron.restart("life-2")
        assert isinstance(await desk.report(), NodeSampled)
        assert isinstance(await desk.report(), LeasesAnswered)

    reporting(run)


def test_neuron_that_was_out_of_reach_is_asked_for_leases_again() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.has_leases = False
        await desk.report()
        await desk.neuron.stop()
        assert isinstance(await desk.report(), NodeMissed)
        desk.neuron.has_leases = True
        await desk.neuron.start()
        assert isinstance(await desk.report(), LeasesAnswered)

    reporting(run)


def test_discovery_is_told_or_missed() -> None:
    async def run(desk: Desk) -> None:
        discovered = await desk.discover()
        assert isinstance(discovered, NodeDiscovered)
        assert discovered.discovery.hostname == "fake"
        desk.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        missed = await desk.discover()
        assert isinstance(missed, NodeMissed)
        assert (missed.is_discovery, missed.is_certain) == (True, False)

    reporting(run)


def test_nothing_is_under_way_where_nothing_was_reported() -> None:
    async def run(desk: Desk) -> None:
        await desk.reporter.settled("a")
        await desk.reporter.leave([])
        await desk.reporter.stop()

    reporting(run)


def test_who_leaves_gives_up_what_is_under_way_and_says_goodbye() -> None:
    async def run(desk: Desk) -> None:
        await desk.report()
        desk.neuron.answer_gate.clear()
        desk.reporter.carry_out(desk.next_report(), desk.events.append)
        await desk.neuron.until(lambda: desk.neuron.count("POST /leases") == 2)
        leaving = asyncio.create_task(desk.reporter.leave([desk.next_report(leaving=True)]))
        await desk.neuron.until(lambda: desk.neuron.count("POST /leases") == 3)
        desk.neuron.answer_gate.set()
        await leaving
        assert desk.neuron.posts[-1].leaving
        assert len(desk.events) == 1, "nobody waits for the outcome any more"

    reporting(run)


def test_goodbye_is_not_waited_for_for_long_nor_said_where_nobody_understands_it() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.answer_gate.clear()
        await desk.reporter.leave([desk.next_report(leaving=True)], limit_s=0.05)
        desk.neuron.answer_gate.set()
        desk.neuron.has_leases = False
        await desk.report()
        before = desk.neuron.count("POST /leases")
        await desk.reporter.leave([desk.next_report(leaving=True)])
        assert desk.neuron.count("POST /leases") == before

    reporting(run)
