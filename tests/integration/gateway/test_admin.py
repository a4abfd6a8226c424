"""The admin API of a whole gateway over real sockets: what operators see, what they do, and who is let in."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.raw_client import Answer, RawClient, connected
from tests.integration.gateway.scene import ASK, MODEL, Scene, scene, until

from cortex.contract.instance import InstanceError
from cortex.contract.profile import Profile
from cortex.gateway.admin.operation import OPERATIONS, PREFIX

JSON = "content-type: application/json"
BIG = Profile(id="org/big", harness="llamacpp", vram_mb=1_000_000)
PROFILES = (Profile(id=MODEL, harness="llamacpp", vram_mb=1000, aliases=("short",)), BIG)


async def get(it: Scene, path: str, *headers: str) -> Answer:
    return await it.get(PREFIX + path, *headers)


async def post(it: Scene, path: str, body: bytes | object, *headers: str) -> Answer:
    return await it.ask(body, *(headers or (JSON,)), path=PREFIX + path)


def error_of(answer: Answer) -> tuple[int, dict[str, Any]]:
    assert answer.header("content-type") == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    return answer.status, error


@scene(good, nodes=2)
async def test_nodes_models_and_instances_are_shown(it: Scene) -> None:
    nodes = (await get(it, "/nodes")).json()["nodes"]
    assert [(node["name"], node["healthy"], node["loaded"]) for node in nodes] == [
        ("n0", True, [MODEL]),
        ("n1", True, [MODEL]),
    ]
    assert (await get(it, "/nodes/n1")).json()["devices"][0]["vram_total_mb"] == 24_000
    (model,) = (await get(it, "/models")).json()["models"]
    assert (model["status"], model["nodes"]) == ("loaded", ["n0", "n1"])
    instances = (await get(it, "/instances")).json()["instances"]
    assert [(entry["model"], entry["node"], entry["ready"]) for entry in instances] == [
        (MODEL, "n0", True),
        (MODEL, "n1", True),
    ]


@pytest.mark.parametrize("name", [MODEL, MODEL.replace("/", "%2F"), "short"], ids=["raw", "quoted", "alias"])
@scene(good)
async def test_a_model_is_asked_for_with_raw_and_with_quoted_slashes(it: Scene, name: str) -> None:
    answer = await get(it, f"/models/{name}")
    assert (answer.status, answer.json()["id"]) == (200, MODEL)
    assert answer.header("x-request-id") is not None


@scene(good, loaded=False, profiles=PROFILES)
async def test_an_operator_loads_a_model_waits_for_it_and_the_log_says_why(it: Scene) -> None:
    answer = await post(it, "/load", {"model": "short", "wait": True})
    assert (answer.status, answer.json()["status"], answer.json()["node"]) == (200, "loaded", "n0")
    again = await post(it, "/load", {"model": MODEL, "node": "n0"})
    assert (again.status, again.json()["status"]) == (200, "loaded")
    assert it.neuron.count("POST /models/load") == 1
    decisions = (await get(it, f"/decisions?since=0&model={MODEL}")).json()["decisions"]
    assert [(decision["kind"], decision["node"]) for decision in decisions[:2]] == [("placement", "n0"), ("load", "n0")]
    assert decisions[0]["caller"] == "operator"
    (caller,) = (await get(it, "/callers")).json()["callers"]
    assert (caller["caller"], caller["loads"]) == ("operator", 1)


@scene(good, loaded=False)
async def test_a_load_that_is_not_waited_for_is_told_as_under_way(it: Scene) -> None:
    it.neuron.load_gate.clear()
    answer = await post(it, "/load", {"model": MODEL})
    assert (answer.status, answer.json()) == (
        202,
        {"model": MODEL, "node": "n0", "status": "loading", "reason": answer.json()["reason"]},
    )
    it.neuron.load_gate.set()
    await until(lambda: bool(it.dispatcher.view(0.0).models[0].replicas))


@scene(good, loaded=False)
async def test_a_load_that_fails_is_told_in_the_engines_words(it: Scene) -> None:
    it.neuron.load_failures.append(InstanceError(code="engine_failed", message="bad magic"))
    status, error = error_of(await post(it, "/load", {"model": MODEL, "wait": True}))
    assert (status, error["code"], error["details"]["cause"]) == (503, "load_failed", "engine_failed")
    assert "bad magic" in error["message"]


@scene(good, loaded=False, profiles=PROFILES)
async def test_a_load_that_can_never_be_is_refused_at_once(it: Scene) -> None:
    status, error = error_of(await post(it, "/load", {"model": BIG.id, "wait": True}))
    assert (status, error["code"]) == (404, "model_not_found")
    assert "No node of this fleet can serve" in error["message"]


@scene(good, loaded=False, profiles=PROFILES, nodes=2)
async def test_what_would_happen_is_told_and_not_done(it: Scene) -> None:
    plan = (await get(it, "/plan?model=short&node=n1")).json()
    assert (plan["outcome"], plan["node"], plan["devices"], plan["evicts"]) == ("loads", "n1", [0], [])
    never = (await get(it, f"/plan?model={BIG.id}")).json()
    assert (never["outcome"], never["node"]) == ("never", None)
    told = (await get(it, "/explain?model=org%2Fnew&harness=llamacpp&vram_mb=1000&min_devices=2")).json()
    assert [(node["node"], node["verdict"]) for node in told["nodes"]] == [("n0", "never"), ("n1", "never")]
    assert all(neuron.count("POST /models/load") == 0 for neuron in it.neurons)
    assert [one for one in it.dispatcher.decisions.since(0).decisions if one.kind == "placement"] == []


@scene(good)
async def test_an_operator_unloads_and_the_gateway_no_longer_sends_there(it: Scene) -> None:
    answer = await post(it, "/unload", {"model": "short", "node": "n0", "wait": True})
    assert (answer.status, answer.json()) == (200, {"model": MODEL, "node": "n0", "status": "unloaded"})
    await until(lambda: not it.dispatcher.view(0.0).models[0].replicas)
    (decision,) = (await get(it, "/decisions?kind=unload")).json()["decisions"]
    assert (decision["model"], decision["caller"]) == (MODEL, "operator")


@scene(good)
async def test_pins_and_maintenance_reach_the_node(it: Scene) -> None:
    answer = await post(it, "/pin", {"model": MODEL, "node": "n0", "pinned": True})
    assert answer.json() == {"model": MODEL, "node": "n0", "pinned": True}
    assert it.neuron.models[MODEL].pinned
    assert (await post(it, "/nodes/n0/drain", b"")).json() == {"node": "n0", "maintenance": True}
    assert it.neuron.maintenance
    assert (await post(it, "/nodes/n0/undrain", {})).json() == {"node": "n0", "maintenance": False}
    kinds = [decision["kind"] for decision in (await get(it, "/decisions")).json()["decisions"]]
    assert kinds[-3:] == ["pin", "maintenance", "maintenance"]


@scene(good)
async def test_a_nodes_refusal_is_passed_on_with_its_code(it: Scene) -> None:
    it.neuron.remove(MODEL)
    status, error = error_of(await post(it, "/pin", {"model": MODEL, "node": "n0", "pinned": True}))
    assert (status, error["code"], error["details"]["cause"]) == (409, "node_refused", "model_not_found")
    assert error["message"].startswith("n0 refused: ")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/load", {"model": "nope"}, "model_not_found"),
        ("/load", {"model": MODEL, "node": "nope"}, "node_not_found"),
        ("/unload", {"model": "nope", "node": "n0"}, "model_not_found"),
        ("/pin", {"model": MODEL, "node": "nope", "pinned": True}, "node_not_found"),
        ("/nodes/nope/drain", {}, "node_not_found"),
    ],
)
@scene(good)
async def test_names_that_nobody_has_are_404(it: Scene, path: str, body: object, code: str) -> None:
    status, error = error_of(await post(it, path, body))
    assert (status, error["code"]) == (404, code)


@scene(good, parallel=1)
async def test_who_waits_is_shown_in_order(it: Scene) -> None:
    it.engine.scripts = [stuck]
    async with it.client() as first, it.client() as second:
        await first.ask(ASK)
        await until(lambda: it.dispatcher.view(0.0).models[0].replicas[0].in_flight == 1)
        await second.ask(ASK)
        await until(lambda: it.dispatcher.waiting() == 1)
        queues = (await get(it, "/queue")).json()
        assert queues["waiting"] == 1
        (queue,) = queues["queues"]
        assert (queue["model"], queue["waiting"], [request["position"] for request in queue["requests"]]) == (
            MODEL,
            1,
            [0],
        )
        second.vanish()
        first.vanish()
        await until(lambda: not it.gateway.in_flight())
    assert (await get(it, "/queue")).json() == {"waiting": 0, "queues": []}


async def stuck(turn: Any) -> None:
    """Take the request and never answer."""
    await turn.body()
    await turn.line.is_lost.wait()


# who is let in


@scene(good, trusted_networks=("10.0.0.0/8",))
async def test_a_caller_from_elsewhere_is_refused_in_the_plain_shape(it: Scene) -> None:
    status, error = error_of(await get(it, "/nodes"))
    assert (status, error["code"]) == (403, "forbidden")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@scene(good)
async def test_a_foreign_page_gets_nothing(it: Scene, operation: Any) -> None:
    path = PREFIX + operation.path.replace("{name}", "n0").replace("{id}", MODEL)
    body = b"" if operation.method == "GET" else b"{}"
    answer = await it.ask(body, JSON, "origin: http://evil.example", path=path, method=operation.method)
    assert error_of(answer)[1]["code"] == "forbidden"
    assert answer.header("access-control-allow-origin") is None


@scene(good)
async def test_what_is_no_json_is_refused(it: Scene) -> None:
    assert error_of(await post(it, "/load", {"model": MODEL}, "content-type: text/plain"))[0] == 415
    assert error_of(await post(it, "/load", b"{"))[0] == 400
    assert error_of(await post(it, "/load", b"\xff\xfe"))[0] == 400
    assert error_of(await get(it, "/nothing"))[0] == 404
    assert error_of(await get(it, "/load"))[0] == 405


@scene(good)
async def test_a_huge_body_is_cut_off_before_it_fills_the_memory(it: Scene) -> None:
    async with it.client() as client:
        head = f"POST {PREFIX}/load HTTP/1.1\r\nhost: g\r\n{JSON}\r\ncontent-length: {1 << 30}\r\n\r\n"
        await client.send(head.encode() + b" " * 65536)
        assert (await client.head()).status == 413
    async with it.client() as client:
        await client.send(
            f"POST {PREFIX}/load HTTP/1.1\r\nhost: g\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(40):
            await client.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert (await client.head()).status == 413


@scene(good)
async def test_requests_go_on_while_an_admin_call_is_slow(it: Scene) -> None:
    it.neuron.answer_gate.clear()
    async with it.client() as operator:
        await operator.ask({"model": MODEL, "node": "n0", "pinned": True}, JSON, path=f"{PREFIX}/pin")
        assert (await it.ask()).status == 200
        it.neuron.answer_gate.set()
        assert (await operator.answer()).status == 200


# events


async def event(client: RawClient) -> tuple[str, str, Any]:
    """Read one message of a stream: kind, id, body."""
    lines: dict[str, str] = {}
    while True:
        piece = (await client.piece()).decode()
        for line in piece.split("\n"):
            key, _, value = line.partition(": ")
            lines[key] = value
        if "data" in lines:
            return lines["event"], lines.get("id", ""), msgspec.json.decode(lines["data"])


async def listen(client: RawClient, *headers: str) -> None:
    await client.ask(b"", *headers, path=f"{PREFIX}/events", method="GET")
    head = await client.head()
    assert (head.status, head.header("content-type")) == (200, "text/event-stream; charset=utf-8")


@scene(good)
async def test_events_tell_what_is_decided_and_who_comes_back_goes_on(it: Scene) -> None:
    async with it.client() as client:
        await listen(client)
        kind, place, body = await event(client)
        assert (kind, [node["name"] for node in body["nodes"]]) == ("snapshot", ["n0"])
        await post(it, "/nodes/n0/drain", {})
        kind, place, body = await event(client)
        while kind != "decision":
            kind, place, body = await event(client)
        assert (body["kind"], body["node"]) == ("maintenance", "n0")
    await post(it, "/nodes/n0/undrain", {})
    async with it.client() as client:
        await listen(client, f"last-event-id: {place}")
        kind, _, body = await event(client)
        while kind != "decision":
            kind, _, body = await event(client)
        assert body["reason"] == "an operator takes it back"


@scene(good)
async def test_a_thousand_readers_that_come_and_go_leave_nothing(it: Scene) -> None:
    tasks, owned = len(asyncio.all_tasks()), len(it.gateway._tasks)

    async def come_and_go(number: int) -> None:
        async with it.client() as client:
            await listen(client)
            if number % 2:
                await event(client)
            if number % 3:
                client.vanish()

    for start in range(0, 1000, 50):
        await asyncio.gather(*(come_and_go(number) for number in range(start, start + 50)))
        await until(lambda: not it.gateway._feed.readers)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: len(it.gateway._tasks) <= owned)


@scene(good, client_stall_s=0.2)
async def test_a_reader_that_does_not_read_is_cut_and_holds_up_nobody(it: Scene) -> None:
    async with it.client(buffer_bytes=4096) as client:
        await client.ask(b"", path=f"{PREFIX}/events", method="GET")
        await until(lambda: it.gateway._feed.readers == 1)
        while it.gateway._feed.readers:
            for _ in range(200):
                it.gateway._control.admin.log.note("pin", "x" * 2000, now_s=0.0)
            assert (await it.ask()).status == 200
    await until(lambda: not it.gateway._feed.readers)


@scene(good)
async def test_a_gateway_that_stops_ends_the_streams_first(it: Scene) -> None:
    async with connected(it.gateway.port) as client:
        await listen(client)
        await event(client)
        stopping = asyncio.create_task(it.gateway.stop(30))
        assert await client.body() is not None
        await stopping
