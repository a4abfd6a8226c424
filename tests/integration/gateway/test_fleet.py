"""What the gateway says of its fleet, and how that follows the nodes."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import Turn, good
from tests.integration.gateway.scene import ASK, MODEL, Scene, scene, until

from cortex.contract.profile import Profile


async def models(it: Scene) -> dict[str, dict]:
    """Return the entries of ``/v1/models`` by id."""
    answer = await it.get("/v1/models")
    assert answer.status == 200
    return {entry["id"]: entry for entry in answer.json()["data"]}


async def polled(it: Scene) -> None:
    """Wait until every node was polled twice: by then the answer to the first was taken in."""
    for neuron in it.neurons:
        before = neuron.count("POST /leases")
        await neuron.until(lambda neuron=neuron, before=before: neuron.count("POST /leases") >= before + 2)


@scene(loaded=False, poll_s=0.02)
async def test_poller_discovers_models(it: Scene) -> None:
    it.neuron.put("found/by-itself", devices=(0,))
    await polled(it)
    found = await models(it)
    assert found["found/by-itself"]["status"] == "loaded"
    assert found["found/by-itself"]["nodes"] == [{"node": "n0", "status": "loaded", "devices": [0]}]
    assert found[MODEL]["status"] == "unloaded"
    assert found[MODEL]["nodes"] == []


@scene(nodes=2, poll_s=0.02)
async def test_poller_updates_gateway_models_endpoint(it: Scene) -> None:
    assert "late/comer" not in await models(it)
    it.neurons[1].put("late/comer", "unloaded", devices=())
    await polled(it)
    assert (await models(it))["late/comer"]["status"] == "unloaded"
    it.neurons[1].put("late/comer", "loaded", devices=(0,))
    await polled(it)
    late = (await models(it))["late/comer"]
    assert (late["status"], late["nodes"]) == ("loaded", [{"node": "n1", "status": "loaded", "devices": [0]}])
    assert [place["node"] for place in (await models(it))[MODEL]["nodes"]] == ["n0", "n1"]


@scene(nodes=2, poll_s=0.02)
async def test_poller_marks_unreachable_node_unhealthy(it: Scene) -> None:
    assert (await it.get("/health")).json()["status"] == "ok"
    await it.neurons[1].stop()
    await until(lambda: not it.dispatcher.view(0).nodes[1].is_healthy)
    answer = await it.get("/health")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")
    well, ill = answer.json()["nodes"]
    assert (well["name"], well["healthy"]) == ("n0", True)
    assert (ill["name"], ill["healthy"]) == ("n1", False)
    assert "no connection" in ill["why"]
    assert await it.metric("cortex_node_healthy", node="n1") == 0
    assert await it.metric("cortex_node_healthy", node="n0") == 1


@scene(poll_s=0.02)
async def test_poller_removes_stale_models(it: Scene) -> None:
    it.neuron.put("soon/gone")
    await polled(it)
    assert "soon/gone" in await models(it)
    it.neuron.remove("soon/gone")
    it.neuron.remove(MODEL)
    await polled(it)
    left = await models(it)
    assert "soon/gone" not in left
    assert (left[MODEL]["status"], left[MODEL]["nodes"]) == ("unloaded", []), "the catalogue's own stays"


@scene()
async def test_last_accessed_updated_on_request(it: Scene) -> None:
    """When it begins and when it ends; looking at models is no use of them."""
    go_on = asyncio.Event()

    async def waits(turn: Turn) -> None:
        await go_on.wait()
        await good(turn)

    it.use(waits)
    before_s = it.replica().last_used_s
    async with it.client() as client:
        await client.ask(ASK)
        await it.engine.turn(0)
        begun_s = it.replica().last_used_s
        go_on.set()
        await client.answer()
    ended_s = it.replica().last_used_s
    assert before_s < begun_s < ended_s
    await it.get("/v1/models")
    assert it.replica().last_used_s == ended_s


@scene()
async def test_health(it: Scene) -> None:
    answer = await it.get("/health")
    assert answer.status == 200
    assert answer.json()["status"] == "ok"
    (node,) = answer.json()["nodes"]
    assert {"name": "n0", "healthy": True, "why": "", "models": [MODEL]}.items() <= node.items()


@scene(poll_s=0.02)
async def test_health_without_a_healthy_node_is_503(it: Scene) -> None:
    await it.neuron.stop()
    await until(lambda: not it.dispatcher.view(0).nodes[0].is_healthy)
    answer = await it.get("/health")
    assert (answer.status, answer.json()["status"]) == (503, "down")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/"])
@scene()
async def test_a_small_page_is_served_for_get_and_head(it: Scene, path: str) -> None:
    got = await it.get(path)
    assert (got.status, got.header("content-type")) == (200, "application/json")
    async with it.client() as client:
        await client.ask(b"", path=path, method="HEAD")
        head = await client.answer(has_body=False)
        assert head.status == 200
        assert head.header("content-length") == str(len(got.body))
        await client.ask(b"", path="/livez", method="GET")
        assert (await client.answer()).json() == {"status": "ok"}, "HEAD must send no body"


@scene()
async def test_list_models(it: Scene) -> None:
    answer = await it.get("/v1/models")
    assert answer.json()["object"] == "list"
    (entry,) = answer.json()["data"]
    assert (entry["id"], entry["object"], entry["owned_by"]) == (MODEL, "model", "cortex")
    assert entry["aliases"] == ["short"]
    assert entry["status"] == "loaded"
    assert entry["nodes"] == [{"node": "n0", "status": "loaded", "devices": [0]}]


@pytest.mark.parametrize("path", ["org/m", "org%2Fm", "short"], ids=["raw", "quoted", "alias"])
@scene()
async def test_one_model_is_described_by_id_and_alias(it: Scene, path: str) -> None:
    answer = await it.get(f"/v1/models/{path}")
    assert (answer.status, answer.json()["id"]) == (200, MODEL)


@scene()
async def test_model_not_found(it: Scene) -> None:
    answer = await it.ask({**ASK, "model": "org/n"})
    assert answer.status == 404
    error = answer.error()
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")
    assert "org/n" in error["message"]
    assert "org/m" in error["message"], "it names what is near"
    assert it.turns == []
    described = await it.get("/v1/models/org/n")
    assert (described.status, described.error()["code"]) == (404, "model_not_found")


@scene(poll_s=0.02, loaded=False)
async def test_no_healthy_nodes(it: Scene) -> None:
    await it.neuron.stop()
    await until(lambda: not it.dispatcher.view(0).nodes[0].is_healthy)
    for model in (MODEL, "nobody/knows-it"):
        answer = await it.ask({**ASK, "model": model})
        assert answer.status == 503
        error = answer.error()
        assert (error["type"], error["code"]) == ("unavailable_error", "no_healthy_node")
        assert "n0" in error["message"], "it names the node"
        assert answer.header("retry-after") is not None


@scene(poll_s=0.02)
async def test_an_unhealthy_node_is_used_while_its_engine_answers(it: Scene) -> None:
    await it.neuron.stop()
    await until(lambda: not it.dispatcher.view(0).nodes[0].is_healthy)
    assert (await it.ask()).status == 200


WIDE = Profile(id="org/wide", harness="llamacpp", vram_mb=1000, min_devices=2)


@scene(loaded=False, profiles=(WIDE,), vram_mb=((24_000,), (24_000, 24_000)))
async def test_a_model_of_two_devices_goes_only_to_a_node_with_two(it: Scene) -> None:
    answer = await it.ask({**ASK, "model": "org/wide"})
    assert answer.status == 200
    assert [neuron.count("POST /models/load") for neuron in it.neurons] == [0, 1]
    (load,) = it.neurons[1].loads
    assert sorted(load.devices or ()) == [0, 1]
    assert len(it.engines[1].turns) == 1


@scene(loaded=False, profiles=(WIDE,))
async def test_a_model_that_fits_no_node_is_not_found_and_told_why(it: Scene) -> None:
    answer = await it.ask({**ASK, "model": "org/wide"})
    assert answer.status == 404
    assert "needs 2" in answer.error()["message"]
    assert it.neuron.loads == []
