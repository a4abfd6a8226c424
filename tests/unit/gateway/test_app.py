"""A gateway as a whole: it takes its ports, serves, and leaves nothing behind when it stops."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cortex import __version__
from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.gateway.app import MAX_SCRAPERS, MAX_SCRAPERS_PER_ADDRESS, Gateway
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.clock import SystemClock
from cortex.testing.fake_neuron import FakeNeuron

HERE = "127.0.0.1:0"
PROFILES = (Profile(id="org/m", harness="llamacpp", vram_mb=1000),)
ASK = b'{"model":"org/m","stream":true}'
LIMIT_S = 20.0


def a_settings(*neurons: NeuronEntry, **keys: Any) -> GatewaySettings:
    keys = {"listen": HERE, "metrics_listen": HERE, "poll_s": 0.05, "access_log": False} | keys
    return GatewaySettings(gateway=GatewaySection(**keys), neurons=neurons)


def a_gateway(settings: GatewaySettings) -> Gateway:
    return Gateway(settings, PROFILES, clock=SystemClock(), rng=Random(1))


def open_sockets() -> int:
    return sum(os.readlink(entry).startswith("socket:") for entry in links(Path("/proc/self/fd")))


def links(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_symlink()]


# in a loop of the test's own


def running(test: Callable[[Gateway], Awaitable[None]], settings: GatewaySettings | None = None) -> None:
    """Run a test with a started gateway, and look for what is left when it has stopped."""

    async def run() -> None:
        before = open_sockets()
        gateway = a_gateway(settings or a_settings())
        await gateway.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await test(gateway)
        finally:
            await gateway.stop(0)
        assert gateway.in_flight() == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert open_sockets() == before

    asyncio.run(run())


async def ask(port: int, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    return reader, writer


async def get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await ask(port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


def test_a_gateway_without_nodes_serves_and_stops() -> None:
    async def run(gateway: Gateway) -> None:
        assert (await get(gateway.port, "/livez"))[0] == 200
        assert (await get(gateway.port, "/health"))[0] == 503
        status, body = await get(gateway.port, "/v1/models")
        assert (status, [model["id"] for model in json.loads(body)["data"]]) == (200, ["org/m"])

    running(run)


@pytest.mark.parametrize(
    ("section", "is_written"),
    [({"access_log": True}, True), ({"access_log": False}, False), ({"access_log": True, "log_level": "warn"}, False)],
    ids=["on", "off", "level-warn"],
)
def test_requests_are_logged_where_the_settings_say_so(
    section: dict[str, object], is_written: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(gateway: Gateway) -> None:
        head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2"
        reader, writer = await ask(gateway.port, head + "\r\n\r\n{}")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()

    running(run, a_settings(**section))
    assert ("embeddings 400 refused" in capsys.readouterr().err) is is_written


def test_a_stopped_gateway_gives_its_ports_back() -> None:
    ports = []

    async def run(gateway: Gateway) -> None:
        ports.extend([gateway.port, gateway.metrics_port])

    running(run)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_the_metrics_door_has_gauges_of_everything() -> None:
    async def run(gateway: Gateway) -> None:
        _, idle = await asyncio.open_connection("127.0.0.1", gateway.port)
        await get(gateway.port, "/livez")
        status, body = await get(gateway.metrics_port, "/metrics")
        assert status == 200
        families = {family.name: family.samples for family in text_string_to_metric_families(body.decode())}
        assert families["cortex_gateway_info"][0].labels == {"version": __version__, "gateway_id": gateway.id}
        assert families["cortex_requests_waiting"][0].value == 0
        assert families["cortex_client_connections"][0].value >= 1
        node = families["cortex_node_healthy"][0]
        assert (node.labels, node.value) == ({"node": "n"}, 0)
        assert families["cortex_requests_in_flight"] == []
        assert families["cortex_loads_under_way"] == []
        idle.close()
        await idle.wait_closed()

    running(run, a_settings(NeuronEntry(name="n", endpoint="http://127.0.0.1:9"), gateway_id="one"))


def test_the_metrics_door_has_room_for_scrapers_and_not_for_every_descriptor() -> None:
    async def run(gateway: Gateway) -> None:
        inside = [
            await asyncio.open_connection("127.0.0.1", gateway.metrics_port) for _ in range(MAX_SCRAPERS_PER_ADDRESS)
        ]
        assert (await get(gateway.metrics_port, "/metrics"))[0] == 503
        assert (await get(gateway.port, "/livez"))[0] == 200
        for _, writer in inside:
            writer.close()
            await writer.wait_closed()

    running(run)


def test_strangers_at_the_metrics_door_keep_no_trusted_scraper_out() -> None:
    async def run(gateway: Gateway) -> None:
        crowd = [
            await asyncio.open_connection("127.0.0.1", gateway.metrics_port, local_addr=(f"127.0.1.{number % 4}", 0))
            for number in range(MAX_SCRAPERS)
        ]
        assert (await get(gateway.metrics_port, "/metrics"))[0] == 200
        for _, writer in crowd:
            writer.transport.abort()

    running(run, a_settings(trusted_networks=("127.0.0.1/32",)))


def test_a_request_that_waits_when_the_gateway_stops_is_told_so() -> None:
    async def run() -> None:
        async with FakeNeuron() as neuron:
            neuron.load_gate.clear()
            gateway = a_gateway(a_settings(NeuronEntry(name="n", endpoint=neuron.url)))
            await gateway.start()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(ASK)}\r\n\r\n"
            reader, writer = await ask(gateway.port, head + ASK.decode())
            await neuron.until(lambda: neuron.loads != [])
            assert gateway.in_flight() == 1
            await gateway.stop(0)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"shutting_down"' in answer
            assert gateway.in_flight() == 0
            writer.close()

    asyncio.run(asyncio.wait_for(run(), LIMIT_S))


def test_stopping_twice_is_stopping_once() -> None:
    async def run(gateway: Gateway) -> None:
        await gateway.stop(0)

    running(run)


def test_a_catalogue_can_be_taken_while_running() -> None:
    async def run(gateway: Gateway) -> None:
        gateway.take_catalogue([Profile(id="other", harness="llamacpp", vram_mb=1)])
        _, body = await get(gateway.port, "/v1/models")
        assert [model["id"] for model in json.loads(body)["data"]] == ["other"]

    running(run)


def test_gateways_have_ids_of_their_own_unless_told() -> None:
    async def run(gateway: Gateway) -> None:
        other = a_gateway(a_settings())
        assert gateway.id != other.id
        await other.start()
        await other.stop(0)

    running(run)


# what it needs is not to be had


def refused(settings: GatewaySettings) -> str:
    async def run() -> str:
        before = open_sockets()
        with pytest.raises(ConfigError) as refusal:
            a_gateway(settings)
        assert open_sockets() == before
        return refusal.value.message

    return asyncio.run(run())


@pytest.mark.parametrize("reuse_port", [False, True])
def test_one_address_cannot_be_both_doors(reuse_port: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    said = refused(a_settings(listen=address, metrics_listen=address, reuse_port=reuse_port))
    assert said == f"[gateway] listen and metrics_listen are both {address}: give one another port"


@pytest.mark.parametrize("key", ["listen", "metrics_listen"])
def test_a_busy_port_is_told_and_nothing_is_kept(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in refused(a_settings(**{key: f"127.0.0.1:{port}"}))


def test_a_token_that_cannot_be_read_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    neuron = NeuronEntry(name="n", endpoint="http://127.0.0.1:9", token_file=str(tmp_path / "none"))
    assert "neurons.n.token_file" in refused(a_settings(neuron))


def test_several_gateways_share_a_port_if_all_are_told_to() -> None:
    async def run(gateway: Gateway) -> None:
        shared = a_settings(listen=f"127.0.0.1:{gateway.port}", reuse_port=True)
        other = a_gateway(shared)
        assert other.port == gateway.port
        await other.start()
        await other.stop(0)

    running(run, a_settings(reuse_port=True))


def test_gateways_that_share_a_port_do_not_share_their_metrics() -> None:
    """Each scrape would meet another one, and every counter seem to start anew."""

    async def run(gateway: Gateway) -> None:
        metrics = f"127.0.0.1:{gateway.metrics_port}"
        shared = a_settings(listen=f"127.0.0.1:{gateway.port}", metrics_listen=metrics, reuse_port=True)
        with pytest.raises(ConfigError, match=f"port {gateway.metrics_port} on 127.0.0.1 is in use"):
            a_gateway(shared)

    running(run, a_settings(reuse_port=True))
