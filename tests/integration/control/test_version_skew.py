"""A gateway beside neurons of other versions: of the first shape there was, and of one that says more than is known."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest
from aiohttp import web
from tests.integration.control.test_control import PROFILES, Gateway

from cortex import __version__
from cortex.gateway.control.assembly import build_control
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner
from cortex.testing.fake_neuron import FakeNeuron

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

FIRST_FIELDS = {
    "hostname", "os", "kernel", "cuda_version", "driver_version", "devices", "harnesses",
    "index", "name", "vram_total_mb", "compute_capability",
    "uptime_secs", "vram_used_mb", "vram_free_mb", "utilization_pct", "temp_c",
    "id", "harness", "status", "url", "error", "code", "message", "details",
}  # fmt: skip

MAPS = {"labels", "details"}
"""Their keys are no fields."""


def only_first(body: Json) -> Json:
    """Leave out every field that neurons did not have from the beginning."""
    if isinstance(body, list):
        return [only_first(one) for one in body]
    if isinstance(body, dict):
        return {name: only_first(value) for name, value in body.items() if name in FIRST_FIELDS}
    return body


def with_more(body: Json) -> Json:
    """Put fields of the future into every object."""
    if isinstance(body, list):
        return [with_more(one) for one in body]
    if isinstance(body, dict):
        more: dict[str, Json] = {name: value if name in MAPS else with_more(value) for name, value in body.items()}
        return more | {"mood": {"is": ["good", 1]}, "zeal": None}
    return body


def of_version(version: str) -> Callable[[Json], Json]:
    def changed(body: Json) -> Json:
        return body | {"neuron_version": version} if isinstance(body, dict) and "neuron_version" in body else body

    return changed


class OtherNeuron(FakeNeuron):
    """A neuron whose every answer is put into another shape."""

    def __init__(self, shape: Callable[[Json], Json]) -> None:
        super().__init__()
        self._shape = shape

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response = await super()._guard(request, handler)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            response.body = msgspec.json.encode(self._shape(msgspec.json.decode(response.body)))
        return response


def beside(neuron: OtherNeuron, test: Callable[[Gateway], Awaitable[None]]) -> None:
    async def run() -> None:
        await neuron.start()
        tasks = TaskOwner()
        settings = GatewaySettings(
            gateway=GatewaySection(poll_s=0.05, discovery_s=0.05),
            neurons=(NeuronEntry(name="other", endpoint=neuron.url),),
        )
        control = build_control(settings, PROFILES, clock=SystemClock(), tasks=tasks, rng=Random(1), gateway_id="g")
        try:
            await control.start()
            await test(Gateway(control, [neuron]))
        finally:
            await control.stop()
            await tasks.stop()
            await neuron.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("shape", "has_leases"),
    [
        pytest.param(only_first, False, id="of the first shape"),
        pytest.param(with_more, True, id="of a later version"),
    ],
)
def test_a_model_is_loaded_and_used_on_a_neuron(shape: Callable[[Json], Json], has_leases: bool) -> None:
    async def run(it: Gateway) -> None:
        grant = await it.ask("org/m")
        assert (grant.target.node, grant.target.url, grant.is_cold_start) == ("other", "http://127.0.0.1:9", True)
        assert not (await it.ask("org/m")).is_cold_start
        assert it.control.reads.health()["status"] == "ok"

    neuron = OtherNeuron(shape)
    neuron.has_leases = has_leases
    beside(neuron, run)


def test_a_neuron_too_many_versions_away_is_used_and_everybody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def run(it: Gateway) -> None:
        assert (await it.ask("org/m")).target.node == "other"
        await it.neurons[0].until(lambda: it.neurons[0].count("GET /discovery") > 2)
        health = it.control.reads.health()
        ((told,),) = (node["troubles"] for node in health["nodes"])  # type: ignore[attr-defined]
        assert health["status"] == "degraded"
        assert "99.0.0" in told
        assert it.control.admin.view().nodes[0].troubles == (told,)

    beside(OtherNeuron(of_version("99.0.0")), run)
    assert sum("99.0.0" in line for line in caplog.messages) == 1


def test_a_gateway_tells_neurons_its_version() -> None:
    async def run(it: Gateway) -> None:
        await it.ask("org/m")
        assert {post.gateway_version for post in it.neurons[0].posts} == {__version__}

    beside(OtherNeuron(lambda body: body), run)
