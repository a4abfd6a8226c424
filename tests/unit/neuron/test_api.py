"""The API by the contract: paths, bodies, headers, errors, and who is let in."""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.unit.neuron.asgi_call import Reply, call
from tests.unit.neuron.fake_node import MODEL, FakeHarness, FakeNode, a_node

from cortex import __version__
from cortex.contract.instance import EVENT_HEADER, START_ID_HEADER
from cortex.kit.json_call import MAX_BODY_BYTES
from cortex.kit.loop_lag import LoopLag
from cortex.neuron.api import Api
from cortex.neuron.caller import Door
from cortex.neuron.endpoint import Endpoints
from cortex.neuron.harness.interface import Activity
from cortex.neuron.node import Node
from cortex.neuron.settings import PRIVATE_NETWORKS

LOAD = {"model_id": MODEL, "harness": "fake", "vram_mb": 100}
MISSION_LOAD = {**LOAD, "quant": "Q4_K_M", "tensor_parallel": 1, "devices": [0]}


class Desk:
    """An API over a node; ``token`` is the credential it wants."""

    def __init__(self, node: FakeNode, token: str | None, advertise_host: str | None, relayed: tuple[str, ...]) -> None:
        self.node = node
        endpoints = Endpoints("0.0.0.0", advertise_host, relayed)
        self.api = Api(Door(token, PRIVATE_NETWORKS), endpoints, node.events, LoopLag(node.clock.now_s))

    def open(self) -> None:
        node = self.node
        self.api.node = Node(
            node.inventory,
            [harness.detail for harness in node.harnesses],
            node.supervisor,
            node.sampler,
            node.admission,
            node.events,
            node.clock,
            node.leases,
            headroom_mb=7,
            started_s=node.clock.now_s(),
        )

    async def ask(self, method: str, target: str, body: object = None, **more: object) -> Reply:
        return await call(self.api, method, target, body, **more)  # type: ignore[arg-type]

    async def loaded(self, model_id: str = MODEL) -> None:
        assert (await self.ask("POST", "/models/load", {**LOAD, "model_id": model_id})).status == 200
        await self.node.until(model_id, "loaded")


def at_desk(
    tmp_path: Path,
    scenario: Callable[[Desk], Awaitable[None]],
    *,
    is_open: bool = True,
    token: str | None = None,
    advertise_host: str | None = None,
    relayed: tuple[str, ...] = (),
) -> None:
    async def run() -> None:
        async with a_node(tmp_path, FakeHarness()) as node:
            desk = Desk(node, token, advertise_host, relayed)
            if is_open:
                desk.open()
            await scenario(desk)
            await desk.api.close()

    asyncio.run(run())


def test_discovery_has_the_fields_of_the_contract(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        reply = await desk.ask("GET", "/discovery")
        assert reply.headers["content-type"] == "application/json"
        found = reply.json
        assert {"hostname", "os", "kernel", "cuda_version", "driver_version"} <= set(found)
        assert found["devices"] == [
            {
                "index": 0, "name": "cuda device", "vram_total_mb": 1000, "compute_capability": None,
                "kind": "cuda", "uuid": None, "numa": None, "unified": False,
            }
        ]  # fmt: skip
        assert (found["harnesses"], found["harness_details"][0]["kind"]) == (["fake"], "fake")
        assert (found["headroom_mb"], found["start_id"], found["neuron_version"]) == (7, "start-1", __version__)

    at_desk(tmp_path, scenario)


def test_an_entry_that_cannot_be_used_is_told_with_its_reason_and_not_offered(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.node.harness.detail = type(desk.node.harness.detail)(name="fake", kind="x", usable=False, why_not="no")
        desk.open()
        found = (await desk.ask("GET", "/discovery")).json
        assert (found["harnesses"], found["harness_details"][0]["why_not"]) == ([], "no")

    at_desk(tmp_path, scenario)


def test_health_is_the_cached_sample_with_its_age(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.node.probe.uses = {0: {1: 300}}
        await desk.node.sampler.refresh()
        desk.node.clock.advance(2)
        found = (await desk.ask("GET", "/health")).json
        assert (found["uptime_secs"], found["sample_age_s"]) == (2, 2)
        assert found["devices"] == [
            {
                "index": 0, "vram_used_mb": 300, "vram_free_mb": 700, "utilization_pct": None, "temp_c": None,
                "power_w": None, "strangers_mb": 300, "reserved_mb": 0, "sample_age_s": 2, "recovery_action": None,
                "trouble": None,
            }
        ]  # fmt: skip
        (harness,) = found["harnesses"]
        assert harness == {
            "name": "fake", "kind": "fake", "healthy": True, "cycles": 0, "leaking_cycles": 0, "restart_due": False,
        }  # fmt: skip

    at_desk(tmp_path, scenario)


def test_the_missions_load_is_taken_and_shows_in_the_list(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", "/models")).json == []
        reply = await desk.ask("POST", "/models/load", MISSION_LOAD)
        assert (reply.status, reply.json["status"]) == (200, "loading")
        await desk.node.until(MODEL, "loaded")
        assert (await desk.ask("POST", "/models/load", MISSION_LOAD)).json["status"] == "loaded"
        (report,) = (await desk.ask("GET", "/models")).json
        assert {"id", "harness", "status", "devices", "vram_used_mb", "generation", "error", "port"} <= set(report)
        assert (report["id"], report["harness"], report["status"], report["devices"]) == (MODEL, "fake", "loaded", [0])

    at_desk(tmp_path, scenario)


def test_an_unload_is_answered_when_it_is_done_or_at_once_when_asked(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        reply = await desk.ask("POST", "/models/unload", {"model_id": MODEL, "wait": False})
        assert (reply.status, reply.json) == (202, {"status": "draining"})
        await desk.node.until(MODEL, "unloaded")
        reply = await desk.ask("POST", "/models/unload", {"model_id": MODEL})
        assert (reply.status, reply.json) == (200, {"status": "unloaded"})
        assert (await desk.ask("POST", "/models/unload", {"model_id": "no"})).error == (404, "model_not_found")

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize("path", ["lab/model", "lab%2Fmodel", "lab%2fmodel"])
def test_an_id_may_be_written_with_raw_or_quoted_slashes(tmp_path: Path, path: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        reply = await desk.ask("GET", f"/models/{path}/endpoint?gateway=g%2F1")
        launch, engine = desk.node.harness.launches[0], desk.node.harness.engines[0]
        assert reply.json == {
            "url": engine.handle.url,
            "generation": launch.generation,
            "engine_model": "m",
            "credential": None,
            "slots": 0,
            "kind": "fake",
            "context": None,
        }

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize("model_id", ["endpoint", "load", "a/endpoint", "models/x/logs", "ü b?#%25", "a//b"])
def test_odd_ids_are_found_too(tmp_path: Path, model_id: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded(model_id)
        assert (await desk.ask("GET", f"/models/{quote(model_id, safe='')}/endpoint")).status == 200
        assert (await desk.ask("GET", f"/models/{quote(model_id)}/endpoint")).status == 200

    at_desk(tmp_path, scenario)


def test_an_endpoint_is_named_only_while_the_model_is_loaded(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", "/models/what/endpoint")).error == (404, "model_not_found")
        await desk.loaded()
        desk.node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        await desk.ask("POST", "/models/unload", {"model_id": MODEL, "wait": False})
        reply = await desk.ask("GET", f"/models/{MODEL}/endpoint")
        assert reply.error == (409, "not_loaded")
        assert reply.json["error"]["details"] == {"status": "draining"}

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("advertise_host", "url"),
    [(None, "http://10.0.0.5:9000/i/8388609"), ("beast.example", "http://beast.example:9000/i/8388609")],
    ids=["reached", "advertised"],
)
def test_a_caller_from_another_host_is_never_given_loopback(
    tmp_path: Path, advertise_host: str | None, url: str
) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        path = f"/models/{MODEL}/endpoint"
        far = await desk.ask("GET", path, client="10.0.0.9", server=("10.0.0.5", 9090))
        near = await desk.ask("GET", path, client="10.0.0.5", server=("10.0.0.5", 9090))
        assert (far.json["url"], near.json["url"]) == (url, "http://127.0.0.1:9000/i/8388609")

    at_desk(tmp_path, scenario, advertise_host=advertise_host)


def test_a_relayed_entrys_endpoint_is_under_the_neurons_own_port(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        reply = await desk.ask("GET", f"/models/{MODEL}/endpoint", client="10.0.0.9", server=("10.0.0.5", 9999))
        assert reply.json["url"] == f"http://10.0.0.5:9999/relay/{desk.node.harness.launches[0].nonce}"

    at_desk(tmp_path, scenario, relayed=("fake",))


def test_logs_are_told_from_the_end(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        desk.node.harness.launches[0].log.write_text("one\ntwo\nthree\n")
        assert (await desk.ask("GET", f"/models/{MODEL}/logs?lines=2")).json == {"id": MODEL, "lines": ["two", "three"]}
        assert len((await desk.ask("GET", f"/models/{MODEL}/logs")).json["lines"]) == 3
        for lines in ("0", "-1", "x", "2001", "%C2%B2", "9" * 5000):
            reply = await desk.ask("GET", f"/models/{MODEL}/logs?lines={lines}")
            assert reply.error == (400, "malformed_request")
        assert (await desk.ask("GET", "/models/what/logs")).error == (404, "model_not_found")

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "path_not_found")),
        ("GET", "/models/", (404, "path_not_found")),
        ("POST", "/nothing/here", (404, "path_not_found")),
        ("GET", "/models/load", (405, "method_not_allowed")),
        ("DELETE", "/models", (405, "method_not_allowed")),
        ("OPTIONS", "/models/load", (405, "method_not_allowed")),
    ],
)
def test_a_wrong_path_or_method_is_told_in_the_same_shape(
    tmp_path: Path, method: str, path: str, expected: tuple[int, str]
) -> None:
    async def scenario(desk: Desk) -> None:
        reply = await desk.ask(method, path)
        assert reply.error == expected
        assert path in reply.json["error"]["message"]
        assert ("allow" in reply.headers) == (expected[0] == 405)

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing required field `model_id`"),
        (b"{", "The body is no JSON"),
        (b'{"model_id": "\xff"}', "The body is no JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"harness": "fake"}', "missing required field `model_id`"),
        (b'{"model_id": "m"}', "missing required field `harness`"),
        (b'{"model_id": 1, "harness": "fake"}', "Expected `str`, got `int` - at `$.model_id`"),
        (b'{"model_id": "m", "harness": "fake", "device": [0]}', "its fields are: model_id, harness, quant"),
        (b'{"model_id": "m", "harness": "fake", "parallel": 0}', "parallel: expected at least 1, got 0"),
        (b'{"model_id": "m", "harness": "fake", "tensor_parallel": 2, "devices": [0]}', "make them agree"),
    ],
)
def test_a_load_that_cannot_be_understood_is_told_what_would_be_right(tmp_path: Path, body: bytes, words: str) -> None:
    async def scenario(desk: Desk) -> None:
        reply = await desk.ask("POST", "/models/load", body)
        assert reply.error == (400, "malformed_request")
        assert words in reply.json["error"]["message"]

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"harness": "vllm"}, (400, "unknown_harness")),
        ({"devices": [3]}, (400, "no_such_device")),
        ({"vram_mb": 5000}, (409, "no_room")),
    ],
)
def test_a_load_that_cannot_be_done_is_refused_with_its_code(
    tmp_path: Path, more: dict, expected: tuple[int, str]
) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("POST", "/models/load", {**LOAD, **more})).error == expected

    at_desk(tmp_path, scenario)


def test_a_body_without_end_is_refused_as_soon_as_it_is_too_long(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        pieces = (b" " * 65536 for _ in itertools.count())
        assert (await desk.ask("POST", "/models/load", pieces=pieces)).error == (413, "body_too_large")
        said = {"content-length": str(MAX_BODY_BYTES + 1)}
        assert (await desk.ask("POST", "/models/load", b"", headers=said)).error == (413, "body_too_large")

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content-type": "text/plain"}, (415, "json_required")),
        ({"content-type": "application/x-www-form-urlencoded"}, (415, "json_required")),
        ({"content-type": ""}, (415, "json_required")),
        ({"content-encoding": "gzip"}, (400, "unsupported_encoding")),
        ({"origin": "https://evil.example"}, (403, "forbidden")),
        ({"origin": "null"}, (403, "forbidden")),
    ],
    ids=str,
)
def test_what_a_web_page_could_send_changes_nothing(
    tmp_path: Path, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        for path in ("/models/load", "/models/unload"):
            assert (await desk.ask("POST", path, LOAD, headers=headers)).error == expected
        assert desk.node.status() == "loaded"

    at_desk(tmp_path, scenario)


def test_json_may_come_with_a_charset(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        headers = {"content-type": "Application/JSON; charset=utf-8"}
        assert (await desk.ask("POST", "/models/load", LOAD, headers=headers)).status == 200

    at_desk(tmp_path, scenario)


def test_every_answer_carries_the_version_of_what_it_tells(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        before = await desk.ask("GET", "/models")
        await desk.loaded()
        after = [
            await desk.ask("GET", path) for path in ("/models", "/livez", "/nothing", "/models/x/endpoint", "/relay/x")
        ]
        after.append(await desk.ask("POST", "/models/load", b"{"))
        assert {reply.headers[START_ID_HEADER] for reply in (before, *after)} == {"start-1"}
        assert {reply.headers[EVENT_HEADER] for reply in after} == {str(desk.node.events.event)}
        assert int(before.headers[EVENT_HEADER]) < desk.node.events.event

    at_desk(tmp_path, scenario)


def test_until_it_has_started_everything_but_livez_is_starting(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        calls = [("GET", "/readyz"), ("GET", "/discovery"), ("GET", "/health"), ("GET", "/models"), ("GET", "/what")]
        calls += [("POST", "/models/load"), ("GET", "/models/m/endpoint"), ("POST", "/relay/nonce/v1/completions")]
        for method, path in calls:
            assert (await desk.ask(method, path, LOAD)).error == (503, "starting"), path
        assert (await desk.ask("GET", "/livez")).json == {"status": "alive"}
        desk.open()
        assert (await desk.ask("GET", "/readyz")).json == {"status": "ready"}
        assert (await desk.ask("GET", "/models")).json == []

    at_desk(tmp_path, scenario, is_open=False)


def test_with_a_credential_configured_only_its_bearers_are_served(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "secret"},
            {"authorization": "Bearer"},
        ):
            reply = await desk.ask("GET", "/models", headers=headers)
            assert reply.error == (401, "unauthorized")
            assert reply.headers["www-authenticate"] == "Bearer"
        good = {"authorization": "bearer secret"}
        assert (await desk.ask("GET", "/models", headers=good, client="203.0.113.9")).status == 200
        assert (await desk.ask("GET", "/livez")).status == (await desk.ask("GET", "/readyz")).status == 200

    at_desk(tmp_path, scenario, token="secret")


def test_without_a_credential_only_trusted_networks_are_served(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", "/models", client="203.0.113.9")).error == (403, "forbidden")
        assert (await desk.ask("GET", "/relay/x/v1", client="203.0.113.9")).error == (403, "forbidden")
        for client in ("127.0.0.1", "::1", "10.1.2.3", "::ffff:192.168.1.1", "fd00::1"):
            assert (await desk.ask("GET", "/models", client=client)).status == 200

    at_desk(tmp_path, scenario)


def test_a_relays_path_is_its_own_credential_and_an_old_one_is_gone(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", "/relay/unknown/health", client="203.0.113.9")).error == (404, "generation_gone")

    at_desk(tmp_path, scenario, token="secret")


def test_a_relay_whose_engine_is_dead_says_what_makes_a_gateway_go_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(desk: Desk) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setattr(desk.node.supervisor, "route", lambda _: f"http://127.0.0.1:{port}")
        assert (await desk.ask("GET", "/relay/n/v1/models")).error == (503, "upstream_unreachable")

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("call", "place"),
    [(("POST", "/models/load", LOAD), "load"), (("GET", "/relay/x/v1"), "route")],
    ids=["handler", "relay"],
)
def test_a_defect_is_answered_without_its_details_and_logged_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, call: tuple, place: str
) -> None:
    async def scenario(desk: Desk) -> None:
        def defect(*_: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(desk.node.supervisor, place, defect)
        reply = await desk.ask(*call)
        assert reply.error == (500, "internal_error")
        assert "secret detail" not in reply.body.decode()
        assert START_ID_HEADER in reply.headers

    at_desk(tmp_path, scenario)
    assert "secret detail" in caplog.text


def test_a_harness_is_restarted_for_the_count_that_is_named(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.loaded()
        restarting = asyncio.create_task(desk.ask("POST", "/harnesses/fake/restart", {"cycles": 0}))
        await desk.node.let_pass(restarting.done)
        assert (restarting.result().status, restarting.result().json) == (200, {"status": "restarted", "cycles": 0})
        assert (await desk.ask("POST", "/harnesses/fake/restart", {"cycles": 7})).error == (409, "stale")
        assert (await desk.ask("POST", "/harnesses/what/restart", {})).error == (400, "unknown_harness")

    at_desk(tmp_path, scenario)


def test_metrics_are_served_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        plain = await desk.ask("GET", "/metrics")
        assert (plain.status, plain.headers["content-type"][:10]) == (200, "text/plain")
        assert b"cortex_device_memory_total_bytes" in plain.body
        modern = await desk.ask("GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert modern.headers["content-type"].startswith("application/openmetrics-text")
        assert modern.body.endswith(b"# EOF\n")

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/events?since=x", {}), ("/events", {"last-event-id": "a:b"})],
    ids=["query", "header"],
)
def test_a_stream_of_events_wants_a_number_to_go_on_from(tmp_path: Path, target: str, headers: dict[str, str]) -> None:
    async def scenario(desk: Desk) -> None:
        assert (await desk.ask("GET", target, headers=headers)).error == (400, "malformed_request")

    at_desk(tmp_path, scenario)


def test_a_stream_of_events_is_one(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        assert desk.api.node is not None
        asking = asyncio.create_task(desk.ask("GET", "/events"))
        await desk.node.let_pass(lambda: True)
        desk.api.node.feed.close()
        reply = await asking
        assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")

    at_desk(tmp_path, scenario)
