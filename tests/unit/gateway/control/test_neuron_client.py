"""The typed client of the neuron API, against the fake neuron and against servers that are none."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from aiohttp import web
from tests.unit.not_json import ENDLESS

from cortex.contract.error import UpstreamBroken, UpstreamTimeout
from cortex.contract.event import NodeChange
from cortex.contract.instance import LoadRequest, PinRequest, UnloadRequest
from cortex.contract.lease import LeasePost
from cortex.contract.node import MaintenanceRequest
from cortex.gateway.control import neuron_client as module
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused, NodeMessage
from cortex.kit.http_client import HttpClient
from cortex.testing.fake_neuron import FakeNeuron, Refused


def with_neuron(
    test: Callable[[FakeNeuron, NeuronClient], Awaitable[None]], *, token: str | None = None, given: str | None = None
) -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            async with FakeNeuron(vram_mb=(24_000, 12_000), token=token) as neuron:
                await test(neuron, NeuronClient(http, neuron.url + "/", gateway_id="gate way/1", token=given))
        finally:
            await http.close()

    asyncio.run(run())


def test_discovery_and_health_are_typed() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        discovery, health = await client.discovery(), await client.health()
        assert [device.vram_total_mb for device in discovery.devices] == [24_000, 12_000]
        assert [reading.vram_free_mb for reading in health.devices] == [24_000, 12_000]

    with_neuron(run)


def test_models_come_with_the_version_of_their_headers() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.put("org/m")
        answer = await client.models()
        assert [report.id for report in answer.models] == ["org/m"]
        assert (answer.start_id, answer.event) == ("life-1", neuron.event)

    with_neuron(run)


def test_ids_and_the_gateways_name_are_quoted() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.put("org/m odd?#%")
        assert (await client.endpoint("org/m odd?#%")).generation == 1
        assert neuron.holders == {"gate way/1"}

    with_neuron(run)


def test_who_reports_no_leases_does_not_become_a_holder() -> None:
    async def run(neuron: FakeNeuron, _: NeuronClient) -> None:
        neuron.put("org/m")
        http = HttpClient()
        assert (await NeuronClient(http, neuron.url).endpoint("org/m")).generation == 1
        assert neuron.holders == set()
        await http.close()

    with_neuron(run)


def test_pins_and_maintenance_are_told_and_answered() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.put("org/m")
        assert (await client.pin(PinRequest(model_id="org/m", pinned=True))).pinned
        assert neuron.models["org/m"].pinned
        assert (await client.maintain(MaintenanceRequest(on=True))).maintenance
        assert neuron.maintenance
        with pytest.raises(NeuronRefused, match="no model 'other'"):
            await client.pin(PinRequest(model_id="other", pinned=True))

    with_neuron(run)


def test_load_and_unload_are_told_as_json() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        request = LoadRequest(model_id="org/m", harness="llamacpp", devices=(1,), args=("--x",))
        assert (await client.load(request)).status == "loading"
        assert neuron.loads == [request]
        await client.models()
        assert (await client.load(request)).status == "loaded"
        assert (await client.unload(UnloadRequest(model_id="org/m"))).status == "unloaded"

    with_neuron(run)


def test_an_unload_that_is_not_waited_for_has_the_deadline_of_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_DEADLINE_S", 0.0)

    async def run(neuron: FakeNeuron, _: NeuronClient) -> None:
        neuron.put("org/m")
        neuron.answer_gate.clear()
        http = HttpClient()
        client = NeuronClient(http, neuron.url, ask_s=0.02)
        with pytest.raises(UpstreamTimeout, match=r"0\.02 s"):
            await client.unload(UnloadRequest(model_id="org/m", wait=False))
        neuron.answer_gate.set()
        await http.close()

    with_neuron(run)


def test_refusal_carries_the_neurons_own_words() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.load_refusals.append(Refused(409, "no_room", "too little"))
        with pytest.raises(NeuronRefused, match="too little") as caught:
            await client.load(LoadRequest(model_id="m", harness="x"))
        assert (caught.value.status, caught.value.neuron_code) == (409, "no_room")

    with_neuron(run)


def test_token_is_sent() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        assert (await client.discovery()).hostname == "fake"

    with_neuron(run, token="secret", given="secret")


def test_without_the_token_the_neuron_refuses() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        with pytest.raises(NeuronRefused) as caught:
            await client.discovery()
        assert caught.value.neuron_code == "unauthorized"

    with_neuron(run, token="secret")


def against_stranger(status: int, body: bytes, test: Callable[[NeuronClient], Awaitable[None]]) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner, http = web.AppRunner(app), HttpClient()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await test(NeuronClient(http, f"http://127.0.0.1:{runner.addresses[0][1]}", gateway_id="g"))
        finally:
            await http.close()
            await runner.cleanup()

    asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [b"<html>", b'[{"id": 1}]', b"", b'[{"id": "\xff"}]', ENDLESS],
    ids=["no json", "wrong shape", "empty", "no text", "endless"],
)
def test_answer_that_is_not_by_the_contract_is_broken(body: bytes) -> None:
    async def run(client: NeuronClient) -> None:
        with pytest.raises(UpstreamBroken):
            await client.models()

    against_stranger(200, body, run)


def test_an_error_that_is_nested_without_end_is_a_refusal_all_the_same() -> None:
    async def run(client: NeuronClient) -> None:
        with pytest.raises(NeuronRefused, match="GET /health was answered 502"):
            await client.health()

    against_stranger(502, ENDLESS, run)


def test_error_that_is_not_by_the_contract_is_told_as_it_is() -> None:
    async def run(client: NeuronClient) -> None:
        with pytest.raises(NeuronRefused, match="GET /health was answered 502: Bad Gateway") as caught:
            await client.health()
        assert caught.value.neuron_code == "http_502"

    against_stranger(502, b"Bad Gateway", run)


def test_unknown_fields_of_a_newer_neuron_are_ignored() -> None:
    async def run(client: NeuronClient) -> None:
        answer = await client.models()
        assert answer.models[0].id == "m"
        assert (answer.start_id, answer.event) == ("", 0)

    against_stranger(200, b'[{"id": "m", "harness": "x", "status": "loaded", "new": {}}]', run)


def test_leases_are_posted_and_answered() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.put("m")
        answer = await client.leases(LeasePost(gateway_id="g", seq=3))
        assert (answer.start_id, answer.event, answer.snapshot) == ("life-1", neuron.event, True)
        with pytest.raises(NeuronRefused) as caught:
            await client.leases(LeasePost(gateway_id="g", seq=3))
        assert (caught.value.neuron_code, caught.value.details["seq"]) == ("stale", 3)

    with_neuron(run)


async def first_events(client: NeuronClient, count: int, last_id: str | None = None) -> list[NodeMessage]:
    async with aclosing(client.events(last_id)) as messages:
        return [await anext(messages) for _ in range(count)]


def test_events_come_with_their_ids_and_go_on_from_one() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.put("m", "loading")
        (whole,) = await first_events(client, 1)
        assert (whole.is_snapshot, whole.id) == (True, f"life-1:{neuron.event}")
        neuron.put("m", "loaded")
        (change,) = await first_events(client, 1, whole.id)
        assert (change.is_snapshot, change.change.models[0].status) == (False, "loaded")
        neuron.restart("life-2")
        (other,) = await first_events(client, 1, change.id)
        assert (other.is_snapshot, other.change.start_id) == (True, "life-2"), "the gap itself is passed over"

    with_neuron(run)


def test_stream_that_is_refused_says_why() -> None:
    async def run(neuron: FakeNeuron, client: NeuronClient) -> None:
        neuron.refuse_all = Refused(503, "starting", "adopting engines")
        with pytest.raises(NeuronRefused, match="adopting engines"):
            await first_events(client, 1)

    with_neuron(run)


def test_comments_and_unknown_kinds_of_a_stream_are_passed_over_and_nonsense_is_not() -> None:
    async def run(client: NeuronClient) -> None:
        (message,) = await first_events(client, 1)
        assert message == NodeMessage("a:7", NodeChange(start_id="a", event=7), is_snapshot=False)

    known = b'event: change\nid: a:7\ndata: {"start_id": "a", "event": 7}\n\n'
    against_stranger(200, b": hello\n\nevent: news\ndata: 1\n\n" + known, run)

    async def fail(client: NeuronClient) -> None:
        with pytest.raises(UpstreamBroken):
            await first_events(client, 1)

    against_stranger(200, b"event: change\ndata: {}\n\n", fail)
