"""The watch over one node, against a scripted neuron over real HTTP, on a clock moved by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import pytest

from cortex.contract.lease import LeasePost
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.effect import AskDiscovery, Effect, PostLeases
from cortex.fleet.event import Event, LeasesAnswered, LeasesRefused, NodeDiscovered, NodeMissed, NodeSampled, PollDue
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.gateway.control.poller import Poller
from cortex.gateway.control.reads import FleetReader
from cortex.gateway.control.report import Reporter
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner
from cortex.testing.fake_neuron import FakeNeuron, Refused
from cortex.testing.virtual_clock import VirtualClock

T = TypeVar("T")


class Watch:
    """A neuron, the poller of its node, and a dispatcher that hears all of it and has it reported to."""

    def __init__(self, neuron: FakeNeuron, http: HttpClient, tasks: TaskOwner, *, ask_s: float = 5.0) -> None:
        self.neuron = neuron
        self.clock = VirtualClock()
        self.events: list[Event] = []
        profiles = [Profile(id="catalogued", harness="llamacpp")]
        self.dispatcher = Dispatcher(["a"], profiles, policy=Policy(misses=3, discovery_s=60), gateway_id="g")
        self.reads = FleetReader(self.dispatcher, self.clock)
        self.client = NeuronClient(http, neuron.url, gateway_id="g", ask_s=ask_s)
        self.reporter = Reporter({"a": self.client}, self.clock, tasks)
        self.asked: asyncio.Event = asyncio.Event()
        self.poller = Poller(
            self.dispatcher.desk("a"), self.reporter, self.post, Random(1), poll_s=10, sleep=self.clock.sleep
        )

    def post(self, event: Event) -> None:
        self.events.append(event)
        for effect in self.dispatcher.handle(event, self.clock.now_s()):
            self._carry_out(effect)
        if isinstance(event, NodeDiscovered) or (isinstance(event, NodeMissed) and event.is_discovery):
            self.asked.set()

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, AskDiscovery):
            self.asked.clear()
        if isinstance(effect, PostLeases | AskDiscovery):
            self.reporter.carry_out(effect, self.post)

    def kinds(self) -> list[type]:
        """Return what has happened, discoveries and the polls themselves left out."""
        polls = [event for event in self.events if not (isinstance(event, NodeMissed) and event.is_discovery)]
        return [type(event) for event in polls if not isinstance(event, PollDue | NodeDiscovered)]

    async def poll(self, after_s: float = 0.0) -> float:
        """Poll once, and wait for the discovery that goes with it."""
        self.clock.advance(after_s)
        pause_s = await self.poller.poll()
        await self.asked.wait()
        return pause_s

    @property
    def is_healthy(self) -> bool:
        return self.reads.health()["status"] == "ok"

    def status_of(self, model: str) -> str:
        entry = next(entry for entry in self.reads.model_entries() if entry["id"] == model)
        return str(entry["status"])

    def ids(self) -> list[str]:
        return [str(entry["id"]) for entry in self.reads.model_entries()]


def watching(test: Callable[[Watch], Awaitable[T]], *, ask_s: float = 5.0) -> T:
    async def run() -> T:
        http, tasks = HttpClient(), TaskOwner()
        try:
            async with FakeNeuron() as neuron:
                return await test(Watch(neuron, http, tasks, ask_s=ask_s))
        finally:
            await tasks.stop()
            await http.close()

    return asyncio.run(run())


def test_poller_discovers_models() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.put("org/found", "loaded")
        await watch.poll()
        assert watch.kinds() == [LeasesAnswered]
        answered = next(event for event in watch.events if isinstance(event, LeasesAnswered))
        assert [report.id for report in answered.answer.models] == ["org/found"]
        assert "org/found" in watch.ids()

    watching(run)


def test_poller_updates_gateway_models_endpoint() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        assert watch.ids() == ["catalogued"]
        watch.neuron.put("org/found", "loading")
        await watch.poll(10)
        assert watch.ids() == ["catalogued", "org/found"]
        assert watch.status_of("org/found") == "loading"
        watch.neuron.put("org/found", "loaded")
        await watch.poll(10)
        assert watch.status_of("org/found") == "loaded"

    watching(run)


def test_polls_of_many_drift_apart_by_a_tenth_of_their_interval() -> None:
    async def run(watch: Watch) -> None:
        pauses_s = [await watch.poll(10) for _ in range(30)]
        assert all(9 <= pause_s <= 11 for pause_s in pauses_s)
        assert max(pauses_s) - min(pauses_s) > 1

    watching(run)


def test_poller_marks_unreachable_node_unhealthy() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        assert watch.reads.health()["status"] == "ok"
        await watch.neuron.stop()
        await watch.poll(10)
        assert watch.reads.health()["status"] == "down"
        (node,) = watch.dispatcher.view(0).nodes
        assert not node.is_healthy
        assert "no connection" in node.why

    watching(run)


def test_poller_removes_stale_models() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.put("org/found", "loaded")
        watch.neuron.put("catalogued", "loaded")
        await watch.poll()
        watch.neuron.remove("org/found")
        watch.neuron.remove("catalogued")
        await watch.poll(10)
        assert watch.ids() == ["catalogued"], "the catalogue's models stay"
        assert watch.status_of("catalogued") == "unloaded"

    watching(run)


def test_time_out_counts_only_after_three_in_a_row() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        watch.neuron.answer_gate.clear()
        for _ in range(2):
            await watch.poll(10)
        assert watch.is_healthy
        watch.neuron.answer_gate.set()
        await watch.poll(10)
        watch.neuron.answer_gate.clear()
        for _ in range(2):
            await watch.poll(10)
        assert watch.is_healthy, "an answer in between starts the count anew"
        await watch.poll(10)
        assert not watch.is_healthy
        (node,) = watch.dispatcher.view(0).nodes
        assert "no answer within" in node.why
        watch.neuron.answer_gate.set()

    watching(run, ask_s=0.05)


def test_starting_neuron_is_a_missed_poll_and_not_an_empty_node() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.put("org/found", "loaded")
        await watch.poll()
        watch.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        await watch.poll(10)
        assert watch.ids() == ["catalogued", "org/found"]
        assert watch.is_healthy

    watching(run)


def test_answer_by_another_contract_is_a_missed_poll() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        watch.neuron.refuse_all = Refused(404, "not_a_neuron", "wrong port")
        for _ in range(3):
            await watch.poll(10)
        (node,) = watch.dispatcher.view(0).nodes
        assert (node.is_healthy, node.why) == (False, "wrong port")

    watching(run)


def test_node_that_never_answered_is_lost_with_the_first_failure_so_that_nobody_waits_for_it() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        await watch.poll()
        assert watch.kinds() == [LeasesRefused]
        assert watch.reads.is_ready()

    watching(run)


def test_lost_node_is_asked_again_soon_and_ever_less_often() -> None:
    async def run(watch: Watch) -> None:
        await watch.neuron.stop()
        delays = [await watch.poll() for _ in range(9)]
        assert delays[0] == pytest.approx(0.25, rel=0.11)
        assert delays[2] == pytest.approx(1.0, rel=0.11)
        assert delays[8] == pytest.approx(10.0, rel=0.11)
        await watch.neuron.start()
        assert await watch.poll() == pytest.approx(10.0, rel=0.11)
        assert watch.is_healthy

    watching(run)


def test_healthy_node_that_misses_polls_gets_time_between_them() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        watch.neuron.refuse_all = Refused(503, "starting", "adopting engines")
        delays = [await watch.poll() for _ in range(4)]
        assert delays[:2] == pytest.approx([2.5, 2.5], rel=0.11)
        assert delays[2:] == pytest.approx([0.25, 0.5], rel=0.11)

    watching(run)


def test_defect_of_ours_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        post = watch.poller._post
        watch.poller._post = lambda event: 1 / 0  # type: ignore[assignment,return-value]
        await watch.poll(10)
        watch.poller._post = post
        await watch.poll(10)
        assert watch.kinds()[-1] is LeasesAnswered

    watching(run)
    assert "ZeroDivisionError" in caplog.text


def test_discovery_is_asked_at_start_and_then_every_minute() -> None:
    async def run(watch: Watch) -> None:
        for _ in range(13):
            await watch.poll(10)
        assert watch.neuron.count("GET /discovery") == 3
        assert watch.neuron.count("POST /leases") == 13

    watching(run)


def test_restarted_neuron_is_discovered_anew() -> None:
    async def run(watch: Watch) -> None:
        await watch.poll()
        watch.neuron.restart("life-2")
        await watch.poll(10)
        assert watch.neuron.count("GET /discovery") == 2

    watching(run)


def test_neuron_without_leases_is_asked_for_its_health_and_its_models() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.has_leases = False
        watch.neuron.put("org/found", "loaded")
        for _ in range(3):
            await watch.poll(10)
        assert watch.kinds() == [NodeSampled] * 3
        assert watch.status_of("org/found") == "loaded"
        assert watch.neuron.count("POST /leases") == 1, "it is not asked again and again"

    watching(run)


def test_neuron_that_was_restarted_is_asked_for_leases_again() -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.has_leases = False
        await watch.poll()
        watch.neuron.has_leases = True
        watch.neuron.restart("life-2")
        await watch.poll(10)
        await watch.poll(10)
        assert watch.kinds() == [NodeSampled, NodeSampled, LeasesAnswered]
        assert watch.neuron.posts[-1].gateway_id == "g"

    watching(run)


def test_polls_go_on_by_themselves_until_cancelled() -> None:
    async def run(watch: Watch) -> None:
        task = asyncio.create_task(watch.poller.run())
        await watch.clock.until_asleep()
        await watch.clock.step(11)
        await watch.clock.step(11)
        assert watch.neuron.count("POST /leases") == 3
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    watching(run)


def test_gateway_that_was_there_before_is_not_told_that_a_node_is_unhealthy(caplog: pytest.LogCaptureFixture) -> None:
    async def run(watch: Watch) -> None:
        earlier = LeasePost(gateway_id="g", seq=50, start_id="", seen_event=0)
        await watch.client.leases(earlier)
        await watch.poll()

    with caplog.at_level("INFO", logger="cortex"):
        watching(run)
    assert [record.getMessage() for record in caplog.records if "healthy" in record.getMessage()] == ["a is healthy"]


def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def run(watch: Watch) -> None:
        watch.neuron.put("org/found", "loaded")
        for _ in range(3):
            await watch.poll(10)
        watch.neuron.remove("org/found")
        await watch.poll(10)
        await watch.neuron.stop()
        for _ in range(3):
            await watch.poll(10)

    with caplog.at_level("INFO", logger="cortex"):
        watching(run)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in said] == ["INFO", "INFO", "INFO", "INFO", "WARNING"]
    assert sorted(text.partition(":")[0] for _, text in said[:3]) == ["a", "a", "a is healthy"]
    assert any("Fake GPU (24000 MiB)" in text for _, text in said), "what it is made of"
    assert [text for _, text in said if "appeared" in text] == ["a: models appeared: org/found"]
    assert said[3][1] == "a: models gone: org/found"
    assert said[4][1].startswith("a is not healthy: ")
