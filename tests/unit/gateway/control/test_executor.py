"""Loads followed over real HTTP against a scripted neuron, on a clock moved by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from cortex.contract.instance import InstanceError, LoadRequest, UnloadRequest
from cortex.contract.node import RestartRequest
from cortex.fleet.effect import FetchEndpoint, RestartHarness, Slow, StartLoad, UnloadModel
from cortex.fleet.event import (
    EndpointFailed,
    EndpointFetched,
    Event,
    LoadFailed,
    LoadSucceeded,
    RestartFinished,
    UnloadFinished,
)
from cortex.gateway.control import neuron_client
from cortex.gateway.control.executor import Executor, FollowTiming
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner
from cortex.testing.fake_neuron import FakeNeuron, Refused
from cortex.testing.virtual_clock import VirtualClock

LOAD = StartLoad("a", LoadRequest(model_id="org/m", harness="llamacpp", devices=(0,)))


class Desk:
    """An executor with its neuron; collects what is posted."""

    def __init__(self, neuron: FakeNeuron, http: HttpClient, tasks: TaskOwner, ask_s: float) -> None:
        self.neuron = neuron
        self.clock = VirtualClock()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.executor = Executor(
            {"a": NeuronClient(http, neuron.url, gateway_id="g/1", ask_s=ask_s)},
            self.clock,
            tasks,
            timing=FollowTiming(load_timeout_s=60),
            sleep=self.clock.sleep,
        )

    def begin(self, effect: Slow = LOAD) -> None:
        self.executor.carry_out(effect, self.events.put_nowait)

    async def outcome(self, step_s: float = 1.0, meanwhile: Callable[[], object] = lambda: None) -> Event:
        """Let time pass until something is posted; after every step ``meanwhile`` happens."""
        waiting = asyncio.create_task(self.events.get())
        while not waiting.done():
            asleep = asyncio.create_task(self.clock.until_asleep())
            await asyncio.wait({waiting, asleep}, return_when=asyncio.FIRST_COMPLETED)
            if asleep.done():
                self.clock.advance(step_s)
                meanwhile()
            asleep.cancel()
        return waiting.result()


def at_desk(test: Callable[[Desk], Awaitable[None]], *, ask_s: float = 5.0) -> None:
    async def run() -> None:
        http, tasks = HttpClient(), TaskOwner()
        try:
            async with FakeNeuron(engine_url="http://engine:1") as neuron:
                await test(Desk(neuron, http, tasks, ask_s))
        finally:
            await tasks.stop()
            await http.close()

    asyncio.run(run())


def test_load_ends_with_the_endpoint_of_the_loaded_generation() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.parallel = 4
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadSucceeded)
        assert (event.node, event.model, event.parallel) == ("a", "org/m", 4)
        assert (event.endpoint.url, event.endpoint.generation) == ("http://engine:1", 1)
        assert desk.neuron.loads == [LOAD.request]
        assert desk.neuron.holders == {"g/1"}

    at_desk(run)


def test_slow_load_is_looked_at_ever_less_often_until_it_is_there() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        began_s = desk.clock.now_s()
        await desk.clock.until_asleep()
        looks: list[float] = []
        while desk.clock.now_s() - began_s < 20:
            before = desk.neuron.count("GET /models")
            await desk.clock.step(0.05)
            if desk.neuron.count("GET /models") > before:
                looks.append(desk.clock.now_s())
        gaps = [later - earlier for earlier, later in pairwise(looks)]
        assert gaps[0] < 0.2
        assert max(gaps) == pytest.approx(1.0, abs=0.06)
        desk.neuron.load_gate.set()
        assert isinstance(await desk.outcome(), LoadSucceeded)
        assert desk.neuron.count("POST /models/load") == 1

    at_desk(run)


def test_failed_load_passes_on_the_engines_own_words() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_failures.append(InstanceError(code="oom", message="CUDA out of memory", log_tail=("x", "y")))
        desk.begin()
        assert await desk.outcome() == LoadFailed(
            node="a", model="org/m", code="oom", message="CUDA out of memory", log_tail=("x", "y")
        )

    at_desk(run)


def test_refused_load_passes_on_the_neurons_code() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_refusals.append(Refused(409, "no_room", "needs 9000 MiB, has 100"))
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert (event.code, event.message) == ("no_room", "needs 9000 MiB, has 100")

    at_desk(run)


def test_starting_neuron_is_asked_again_until_it_takes_the_load() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_refusals.extend([Refused(503, "starting", "wait")] * 3)
        desk.begin()
        assert isinstance(await desk.outcome(), LoadSucceeded)
        assert desk.neuron.count("POST /models/load") == 4

    at_desk(run)


def test_neuron_that_never_gets_ready_to_load_is_given_up() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.refuse_all = Refused(503, "starting", "wait")
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.code == "starting"

    at_desk(run)


def test_unreachable_neuron_fails_the_load_at_once() -> None:
    async def run(desk: Desk) -> None:
        await desk.neuron.stop()
        desk.begin()
        event = await desk.outcome(step_s=0)
        assert isinstance(event, LoadFailed)
        assert event.code == "node_unreachable"

    at_desk(run)


def test_neuron_that_falls_silent_during_the_load_is_given_up_after_a_while() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        await desk.neuron.stop()
        gone_s = desk.clock.now_s()
        event = await desk.outcome(step_s=0.5)
        assert isinstance(event, LoadFailed)
        assert event.code == "node_unreachable"
        assert 15 <= desk.clock.now_s() - gone_s <= 20

    at_desk(run)


def test_neuron_that_is_back_in_time_is_followed_on() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        await desk.neuron.stop()
        await desk.clock.step(5)
        await desk.neuron.start()
        desk.neuron.load_gate.set()
        assert isinstance(await desk.outcome(), LoadSucceeded)

    at_desk(run)


def test_load_that_the_neuron_forgot_is_given_up() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        desk.neuron.remove("org/m")
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.code == "load_lost"

    at_desk(run)


def test_load_that_somebody_unloads_was_called_off() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        desk.neuron.unload("org/m")
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert (event.code, event.message) == ("unloaded", "it was unloaded while it was being loaded")

    at_desk(run)


def test_load_that_has_made_way_to_others_by_itself_is_lost() -> None:
    """It had ended well by then: at once again, and again, would be for ever."""

    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        desk.neuron.unload("org/m", "pressure")
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.code == "load_lost"

    at_desk(run)


@pytest.mark.parametrize(("code", "level"), [("busy", "INFO"), ("source_missing", "WARNING")])
def test_load_that_is_only_put_off_is_no_warning(code: str, level: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for room asks again every few seconds."""

    async def run(desk: Desk) -> None:
        desk.neuron.load_refusals.append(Refused(409, code, "not now"))
        desk.begin()
        assert isinstance(await desk.outcome(), LoadFailed)

    with caplog.at_level("INFO"):
        at_desk(run)
    assert [record.levelname for record in caplog.records if "not now" in record.message] == [level]


def test_failure_of_an_earlier_generation_is_not_taken_for_this_ones() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.put("org/m", "loaded")
        desk.neuron.fail("org/m", InstanceError(code="crashed", message="earlier"))
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadSucceeded)
        assert event.endpoint.generation == 2

    at_desk(run)


def test_load_that_takes_longer_than_the_time_out_fails() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.code == "load_timeout"
        desk.neuron.load_gate.set()

    at_desk(run)


def test_load_that_makes_progress_is_followed_for_longer_than_the_time_out() -> None:
    """A large file comes over a slow line: to give it up would be to fetch it on another node as well."""

    async def run(desk: Desk) -> None:
        began_s = desk.clock.now_s()

        def fetch() -> None:
            """Get on for 100 s, and then not any more."""
            done = min(100.0, desk.clock.now_s() - began_s) / 200
            desk.neuron.put("org/m", "loading", progress=done)

        desk.neuron.load_gate.clear()
        desk.begin()
        event = await desk.outcome(meanwhile=fetch)
        assert isinstance(event, LoadFailed)
        assert event.code == "load_timeout"
        assert desk.clock.now_s() - began_s == pytest.approx(160, abs=3)
        desk.neuron.load_gate.set()

    at_desk(run)


def test_endpoint_is_fetched_for_an_id_with_slashes() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.put("org/m")
        desk.begin(FetchEndpoint("a", "org/m"))
        event = await desk.outcome()
        assert isinstance(event, EndpointFetched)
        assert event.endpoint.engine_model == "org/m"
        assert event.asked_s == desk.clock.now_s()

    at_desk(run)


@pytest.mark.parametrize(("status", "code"), [("draining", "not_loaded"), (None, "model_not_found")])
def test_endpoint_that_is_refused_says_the_neurons_code(status: str | None, code: str) -> None:
    async def run(desk: Desk) -> None:
        if status is not None:
            desk.neuron.put("org/m", "draining")
        desk.begin(FetchEndpoint("a", "org/m"))
        event = await desk.outcome()
        assert isinstance(event, EndpointFailed)
        assert event.code == code

    at_desk(run)


def test_endpoint_of_an_unreachable_neuron_fails() -> None:
    async def run(desk: Desk) -> None:
        await desk.neuron.stop()
        desk.begin(FetchEndpoint("a", "org/m"))
        event = await desk.outcome()
        assert isinstance(event, EndpointFailed)
        assert event.code == "upstream_unreachable"

    at_desk(run)


def test_loaded_model_whose_endpoint_the_neuron_will_not_name_is_given_up() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.endpoint_refusal = Refused(500, "broken", "no address")
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.message == "the neuron cannot be followed: no address"

    at_desk(run)


@pytest.mark.parametrize("effect", [StartLoad("b", LOAD.request), FetchEndpoint("b", "org/m")], ids=["load", "fetch"])
def test_defect_of_ours_ends_in_an_event_too(
    effect: StartLoad | FetchEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(desk: Desk) -> None:
        desk.begin(effect)
        event = await desk.outcome()
        assert isinstance(event, LoadFailed | EndpointFailed)
        assert (event.code, event.message) == ("internal_error", "KeyError('b')")

    at_desk(run)
    assert "KeyError" in caplog.text


def test_load_request_that_is_not_answered_in_time_is_followed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_client, "LOAD_DEADLINE_S", 0.05)

    async def run(desk: Desk) -> None:
        desk.neuron.load_answer_gate.clear()
        desk.begin()
        assert isinstance(await desk.outcome(), LoadSucceeded)
        desk.neuron.load_answer_gate.set()

    at_desk(run)


def test_load_whose_answer_is_lost_is_followed_all_the_same() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.loses_load_answers = True
        desk.begin()
        assert isinstance(await desk.outcome(), LoadSucceeded)

    at_desk(run)


def test_load_whose_answer_is_lost_and_that_was_not_taken_is_lost_whatever_was_before() -> None:
    """That somebody had it unloaded before is no news of this load."""

    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.neuron.loses_load_answers = True
        desk.begin()
        await desk.neuron.until(lambda: bool(desk.neuron.loads))
        desk.neuron.unload("org/m")
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.code == "load_lost"

    at_desk(run)


def test_failure_without_a_reason_says_so() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        desk.neuron.put("org/m", "failed")
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert event.message == "the neuron gives no reason"

    at_desk(run)


def test_stopped_executor_posts_nothing_more() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_gate.clear()
        desk.begin()
        await desk.clock.until_asleep()
        await desk.executor.stop()
        assert desk.events.empty()
        assert desk.clock.sleepers() == 0

    at_desk(run)


def test_unload_ends_in_one_event_well_or_badly() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.put("org/m", "loaded")
        desk.begin(UnloadModel("a", UnloadRequest(model_id="org/m", steward=3)))
        assert await desk.outcome() == UnloadFinished(node="a", model="org/m")
        desk.neuron.refuse_all = Refused(409, "busy", "it has requests")
        desk.begin(UnloadModel("a", UnloadRequest(model_id="org/m")))
        assert await desk.outcome() == UnloadFinished(node="a", model="org/m", code="busy", message="it has requests")

    at_desk(run)


def test_restart_that_is_refused_ends_in_an_event_that_says_why() -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.refuse_all = Refused(409, "stale", "it has 3 cycles by now")
        desk.begin(RestartHarness("a", "llamacpp", RestartRequest(cycles=2)))
        event = await desk.outcome()
        assert event == RestartFinished(node="a", harness="llamacpp", code="stale", message="it has 3 cycles by now")

    at_desk(run)


@pytest.mark.parametrize(
    ("details", "code", "retry_in_s"),
    [
        ({"retry_in_s": 2.5}, "held", 2.5),
        ({}, "held", None),
        ({"retry_in_s": "soon"}, "held", None),
        ({"retry_in_s": 9, "reason": "failing"}, "failing", 9.0),
    ],
    ids=["told", "untold", "unreadable", "a model that keeps failing"],
)
def test_refusal_of_a_load_says_when_to_ask_again(
    details: dict[str, object], code: str, retry_in_s: float | None
) -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_refusals.append(Refused(409, "held", "later", details))
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert (event.code, event.retry_in_s) == (code, retry_in_s)

    at_desk(run)


@pytest.mark.parametrize(
    ("details", "need_mb"), [({"need_mb": 9000}, 9000), ({}, None), ({"need_mb": "much"}, None)], ids=str
)
def test_refusal_for_want_of_room_says_what_the_model_needs(details: dict[str, object], need_mb: int | None) -> None:
    async def run(desk: Desk) -> None:
        desk.neuron.load_refusals.append(Refused(409, "no_room", "full", details))
        desk.begin()
        event = await desk.outcome()
        assert isinstance(event, LoadFailed)
        assert (event.code, event.need_mb) == ("no_room", need_mb)

    at_desk(run)
