"""The whole control plane, put together from settings, against scripted neurons over HTTP in real time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from cortex.contract.error import ConfigError, CortexError, LoadFailed, ModelNotFound, NoHealthyNode, ShuttingDown
from cortex.contract.instance import InstanceError
from cortex.contract.profile import Profile
from cortex.fleet.effect import Grant
from cortex.gateway.control.assembly import Control, build_control
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.cause import NOTHING, Cause
from cortex.kit.clock import SystemClock
from cortex.kit.fleet_token import VARIABLE
from cortex.kit.task import TaskOwner
from cortex.testing.fake_neuron import FakeNeuron, Refused

PROFILES = (
    Profile(id="org/m", harness="llamacpp", vram_mb=1000, aliases=("short",)),
    Profile(id="org/wide", harness="llamacpp", vram_mb=1000, min_devices=2),
)


class Caller:
    """A waiter as a future."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Grant | CortexError] = asyncio.get_running_loop().create_future()

    def cause(self) -> Cause:
        return NOTHING

    def granted(self, grant: Grant) -> None:
        self.answer.set_result(grant)

    def refused(self, error: CortexError, model: str, node: str) -> None:
        self.answer.set_result(error)


class Gateway:
    """A control plane and its neurons."""

    def __init__(self, control: Control, neurons: list[FakeNeuron]) -> None:
        self.control = control
        self.neurons = neurons

    async def ask(self, name: str) -> Grant:
        """Acquire, wait for the grant, release."""
        caller = Caller()
        ticket = self.control.leases.acquire(name, caller)
        answer = await caller.answer
        assert isinstance(answer, Grant), answer
        self.control.leases.release(ticket)
        return answer

    async def refusal(self, name: str) -> CortexError:
        caller = Caller()
        self.control.leases.acquire(name, caller)
        answer = await caller.answer
        assert isinstance(answer, CortexError), answer
        return answer

    def is_at_rest(self) -> bool:
        dispatcher = self.control.dispatcher
        return not list(dispatcher.in_flight()) and not dispatcher.waiting()


def gateway(test: Callable[[Gateway], Awaitable[None]], *, neurons: int = 2, poll_s: float = 0.05) -> None:
    async def run() -> None:
        fleet = [FakeNeuron(engine_url=f"http://127.0.0.1:{i + 1}") for i in range(neurons)]
        for neuron in fleet:
            await neuron.start()
        tasks = TaskOwner()
        settings = GatewaySettings(
            gateway=GatewaySection(poll_s=poll_s, poll_timeout_s=5),
            neurons=tuple(NeuronEntry(name=f"n{i}", endpoint=neuron.url) for i, neuron in enumerate(fleet)),
        )
        control = build_control(settings, PROFILES, clock=SystemClock(), tasks=tasks, rng=Random(1), gateway_id="test")
        try:
            await control.start()
            it = Gateway(control, fleet)
            await test(it)
            assert it.is_at_rest()
        finally:
            await control.stop()
            await tasks.stop()
            for neuron in fleet:
                await neuron.stop()

    asyncio.run(run())


def test_first_request_waits_for_the_first_round_of_polls_and_the_load() -> None:
    async def run(it: Gateway) -> None:
        grant = await it.ask("short")
        assert grant.target.model == "org/m"
        assert grant.is_cold_start
        assert not (await it.ask("org/m")).is_cold_start
        assert sum(neuron.count("POST /models/load") for neuron in it.neurons) == 1

    gateway(run)


def test_of_two_gateways_with_one_name_the_older_says_so_and_both_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run(it: Gateway) -> None:
        (neuron,) = it.neurons
        neuron.parallel = 2
        neuron.put("org/m")
        await it.ask("org/m")
        tasks = TaskOwner()
        settings = GatewaySettings(
            gateway=GatewaySection(poll_s=0.05), neurons=(NeuronEntry(name="n0", endpoint=neuron.url),)
        )
        double = build_control(settings, PROFILES, clock=SystemClock(), tasks=tasks, rng=Random(2), gateway_id="test")
        try:
            await double.start()
            other = Gateway(double, it.neurons)
            await other.ask("org/m")
            await neuron.until(lambda: it.control.reads.health()["status"] == "degraded")
            for _ in range(3):
                await it.ask("org/m")
                await other.ask("org/m")
            assert double.reads.health()["status"] == "ok"
        finally:
            await double.stop()
            await tasks.stop()
        ((told,),) = (node["troubles"] for node in it.control.reads.health()["nodes"])  # type: ignore[attr-defined]
        assert "another gateway goes by the gateway_id 'test'" in told
        assert it.control.admin.view().nodes[0].troubles == (told,)
        names = {post.gateway_id for post in neuron.posts}
        assert len(names) == 2
        assert "test" in names

    gateway(run, neurons=1)
    assert sum("another gateway goes by" in line for line in caplog.messages) == 1


def test_model_that_is_loaded_somewhere_is_used_there() -> None:
    async def run(it: Gateway) -> None:
        it.neurons[1].put("org/m")
        grant = await it.ask("org/m")
        assert (grant.target.node, grant.target.url) == ("n1", "http://127.0.0.1:2")
        assert not grant.is_cold_start
        assert sum(neuron.count("POST /models/load") for neuron in it.neurons) == 0

    gateway(run)


def test_fifty_first_requests_cause_one_load() -> None:
    async def run(it: Gateway) -> None:
        for neuron in it.neurons:
            neuron.load_gate.clear()
        asked = [asyncio.create_task(it.ask("org/m")) for _ in range(50)]
        loader = await loading(it)
        for neuron in it.neurons:
            neuron.load_gate.set()
        grants = await asyncio.gather(*asked)
        assert {grant.target.node for grant in grants} == {loader}
        assert sum(neuron.count("POST /models/load") for neuron in it.neurons) == 1

    gateway(run)


async def loading(it: Gateway) -> str:
    """Wait until a neuron was asked for a load; return its name."""
    asked = [asyncio.create_task(neuron.until(lambda neuron=neuron: neuron.loads != [])) for neuron in it.neurons]
    done, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return f"n{asked.index(done.pop())}"


def test_load_that_fails_everywhere_is_refused_with_the_engines_words() -> None:
    async def run(it: Gateway) -> None:
        for neuron in it.neurons:
            neuron.load_failures.append(InstanceError(code="oom", message="CUDA out of memory"))
        refused = await it.refusal("org/m")
        assert isinstance(refused, LoadFailed)
        assert "CUDA out of memory" in refused.message
        assert [neuron.count("POST /models/load") for neuron in it.neurons] == [1, 1]

    gateway(run)


def test_load_that_a_neuron_refuses_is_tried_on_the_other() -> None:
    async def run(it: Gateway) -> None:
        full = Refused(409, "no_room", "no room")
        it.neurons[0].load_refusals.append(full)
        it.neurons[1].put("other")
        grant = await it.ask("org/m")
        assert grant.target.model == "org/m"

    gateway(run)


def test_unknown_model_is_not_found() -> None:
    async def run(it: Gateway) -> None:
        assert isinstance(await it.refusal("org/n"), ModelNotFound)
        wide = await it.refusal("org/wide")
        assert isinstance(wide, ModelNotFound)
        assert "has 1 device, the model needs 2" in wide.message

    gateway(run)


def test_without_a_healthy_node_requests_are_refused_and_served_again_when_it_is_back() -> None:
    async def run(it: Gateway) -> None:
        await it.neurons[0].stop()
        assert isinstance(await it.refusal("org/m"), NoHealthyNode)
        await it.neurons[0].start()
        before = it.neurons[0].count("POST /leases")
        # The second question after the return is asked once the first answer was taken in.
        await it.neurons[0].until(lambda: it.neurons[0].count("POST /leases") >= before + 2)
        assert (await it.ask("org/m")).target.node == "n0"

    gateway(run, neurons=1)


def test_neuron_that_starts_after_the_gateway_is_found() -> None:
    async def run(it: Gateway) -> None:
        await it.neurons[0].stop()
        assert isinstance(await it.refusal("org/m"), NoHealthyNode)
        await it.neurons[0].start()
        await it.neurons[0].until(lambda: it.neurons[0].count("POST /leases") >= 1)

    gateway(run, neurons=1, poll_s=10)


def test_suspected_target_is_checked_and_used_again() -> None:
    async def run(it: Gateway) -> None:
        first = (await it.ask("org/m")).target
        asked = it.neurons[0].count("GET /models/org/m/endpoint")
        it.control.leases.suspect(first, "died")
        assert (await it.ask("org/m")).target is first
        assert it.neurons[0].count("GET /models/org/m/endpoint") == asked + 1

    gateway(run, neurons=1)


def test_restarted_engine_gets_a_new_target() -> None:
    async def run(it: Gateway) -> None:
        first = (await it.ask("org/m")).target
        it.neurons[0].put("org/m", "unloaded")
        it.neurons[0].put("org/m", "loaded")
        it.control.leases.suspect(first, "gone")
        second = (await it.ask("org/m")).target
        assert second is not first
        assert second.generation > first.generation

    gateway(run, neurons=1)


def test_models_and_health_follow_the_neurons() -> None:
    async def run(it: Gateway) -> None:
        await it.ask("org/m")
        entries = it.control.reads.model_entries()
        assert [(entry["id"], entry["status"]) for entry in entries] == [("org/m", "loaded"), ("org/wide", "unloaded")]
        assert it.control.reads.health()["status"] == "ok"

    gateway(run)


def test_stop_refuses_who_waits_and_leaves_the_load_to_the_neuron() -> None:
    async def run(it: Gateway) -> None:
        it.neurons[0].load_gate.clear()
        caller = Caller()
        it.control.leases.acquire("org/m", caller)
        await loading(it)
        await it.control.stop()
        assert isinstance(await caller.answer, ShuttingDown)
        assert it.neurons[0].models["org/m"].status == "loading"

    gateway(run, neurons=1)


@pytest.mark.parametrize("place", ["file", "environment"])
def test_token_of_a_neuron_is_read_from_its_file_or_the_environment(tmp_path: Path, place: str) -> None:
    async def run() -> None:
        secret = tmp_path / "token"
        secret.write_text("s3cret\n")
        tasks = TaskOwner()
        async with FakeNeuron(token="s3cret") as neuron:
            file = str(secret) if place == "file" else None
            control = build_control(
                GatewaySettings(neurons=(NeuronEntry(name="n0", endpoint=neuron.url, token_file=file),)),
                PROFILES,
                clock=SystemClock(),
                tasks=tasks,
                rng=Random(1),
                gateway_id="test",
                env={VARIABLE: "other" if place == "file" else "s3cret"},
            )
            try:
                await control.start()
                await Gateway(control, [neuron]).ask("org/m")
            finally:
                await control.stop()
                await tasks.stop()

    asyncio.run(run())


def test_token_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    entry = NeuronEntry(name="n0", endpoint="http://127.0.0.1:9", token_file=str(tmp_path / "none"))
    settings = GatewaySettings(neurons=(entry,))
    with pytest.raises(ConfigError, match=r"neurons\.n0\.token_file: .*none"):
        build_control(settings, (), clock=SystemClock(), tasks=TaskOwner(), rng=Random(1), gateway_id="test")
