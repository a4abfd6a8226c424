"""The fleet that cortex was asked for: its own files, three simulated nodes; requests say where its models go."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
from tests.integration.gateway.hostile_engine import HostileEngine, good
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.scene import ASK, Counters, Scene, look_often, no_error_logged, until
from tests.unit.gateway.test_catalogue import EXAMPLE_MB, GATEWAY, MISSION

from cortex.gateway.app import Gateway
from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import GatewaySettings, load_gateway_settings
from cortex.kit.clock import SystemClock
from cortex.testing.fake_neuron import FakeNeuron

CODER, VISION, SMALLER = (
    "Qwen/Qwen3-Coder-30B-A3B-Instruct",
    "Qwen/Qwen3-VL-8B",
    "Qwen/Qwen2.5-Coder-14B-Instruct",
)


def at(neurons: dict[str, FakeNeuron], settings: GatewaySettings) -> GatewaySettings:
    """Return the settings with each neuron where it is here, and with ports that are free."""
    entries = tuple(msgspec.structs.replace(one, endpoint=neurons[one.name].url) for one in settings.neurons)
    section = msgspec.structs.replace(
        settings.gateway, listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", poll_s=0.5, access_log=False
    )
    return msgspec.structs.replace(settings, gateway=section, neurons=entries)


async def play(folder: Path, counters: Counters) -> None:
    (folder / "cortex.toml").write_text(GATEWAY)
    (folder / "models.toml").write_text(MISSION)
    async with contextlib.AsyncExitStack() as stack:
        complaints = stack.enter_context(no_error_logged())
        engine = await stack.enter_async_context(HostileEngine(good))
        neurons = {
            name: await stack.enter_async_context(
                FakeNeuron(
                    engine_url=f"http://127.0.0.1:{engine.port}/i/{name}", vram_mb=vram_mb, harnesses=("mistralrs",)
                )
            )
            for name, vram_mb in EXAMPLE_MB.items()
        }
        settings = at(neurons, load_gateway_settings(folder / "cortex.toml", {}))
        gateway = Gateway(settings, read_catalogue(folder / "models.toml"), clock=SystemClock(), rng=Random(1))
        counters.append(gateway.in_flight)
        it = Scene(gateway, list(neurons.values()), [engine])
        look_often(gateway)
        await gateway.start()
        try:
            await until(it.dispatcher.are_all_nodes_tried)
            async with asyncio.timeout(LIMIT_S):
                await told_as_it_was_asked_for(it, neurons)
            await it.at_rest()
        finally:
            await gateway.stop(0)
        assert complaints == []


async def told_as_it_was_asked_for(it: Scene, neurons: dict[str, FakeNeuron]) -> None:
    for model in (SMALLER, CODER, VISION):  # the first while another node has more room
        answer = await it.ask({**ASK, "model": model})
        assert answer.status == 200, answer.body
    loads = {one.model_id: (name, one) for name, neuron in neurons.items() for one in neuron.loads}
    assert set(loads) == {CODER, SMALLER, VISION}
    where, order = loads[CODER]
    assert (where, order.devices, order.quant, order.harness) == ("beast", (0, 1), "Q4_K_M", "mistralrs")
    where, order = loads[SMALLER]
    assert (where, order.devices, order.quant) == ("benjy", (0,), "Q6_K"), "a pin ranks first"
    where, order = loads[VISION]
    assert where in neurons
    assert (len(order.devices), order.vram_mb) == (1, 10_000)
    listed = {one["id"]: one for one in (await it.get("/v1/models")).json()["data"]}
    assert {model: [place["node"] for place in one["nodes"]] for model, one in listed.items()} == {
        CODER: ["beast"], SMALLER: ["benjy"], VISION: [where],
    }  # fmt: skip


def test_the_models_of_the_example_are_loaded_where_it_says_by_requests_for_them(
    tmp_path: Path, in_flight_zero: Counters, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(play(tmp_path, in_flight_zero))
