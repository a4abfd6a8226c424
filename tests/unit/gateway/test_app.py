"""A gateway as a whole: it takes its ports, serves, follows signals, and leaves nothing behind when it stops."""

import asyncio
import gc
import http.client
import importlib.util
import json
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cortex import __version__
from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.gateway.app import Gateway
from cortex.gateway.lifetime import serve
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


# as a process


class Process:
    """What ``serve`` runs in, seen from a thread beside it: its log, its ports, its signals."""

    def __init__(self) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.loop = ""
        self.profiles: Iterable[Profile] | Exception = PROFILES
        self.port = 0

    def reload(self) -> Iterable[Profile]:
        """Give the catalogue anew; called within the gateway's event loop."""
        self.loop = type(asyncio.get_running_loop()).__module__
        if isinstance(self.profiles, Exception):
            raise self.profiles
        return self.profiles

    def hear(self, words: str) -> str:
        """Wait until something is logged."""
        while words not in (said := self.said.get(timeout=LIMIT_S)):
            pass
        return said

    def kill(self, number: signal.Signals) -> None:
        os.kill(os.getpid(), number)

    def models(self) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request("GET", "/v1/models")
            return [model["id"] for model in json.load(connection.getresponse())["data"]]
        finally:
            connection.close()


class Ear(logging.Handler):
    def __init__(self, said: "queue.Queue[str]") -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.put(record.getMessage())


@pytest.fixture
def process() -> Iterator[Process]:
    """Yield a process to be, and put back what ``serve`` changes of this one."""
    thresholds, files = gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)
    logger, found = logging.getLogger("cortex.gateway"), Process()
    ear, level = Ear(found.said), logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(ear)
    logger.setLevel(level)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


def served(process: Process, act: Callable[[], None], settings: GatewaySettings) -> None:
    """Serve in this thread, the main one, while ``act`` happens in another, and end it afterwards."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            words = process.hear("API on ")
            process.port = int(words.partition("API on 127.0.0.1:")[2].partition(",")[0])
            act()
        except BaseException as failure:
            failures.append(failure)
        finally:
            process.kill(signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    assert serve(settings, PROFILES, process.reload) == 0
    thread.join()
    if failures:
        raise failures[0]


LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.mark.parametrize("wanted", [*LOOPS, "auto"])
def test_a_hangup_reads_the_catalogue_anew_on_every_event_loop(process: Process, wanted: str) -> None:
    def act() -> None:
        assert process.models() == ["org/m"]
        process.profiles = (Profile(id="new", harness="llamacpp", vram_mb=1),)
        process.kill(signal.SIGHUP)
        assert "1 models" in process.hear("catalogue reloaded")
        assert process.models() == ["new"]
        process.profiles = ConfigError("models.toml, line 3: what is this?")
        process.kill(signal.SIGHUP)
        assert "line 3" in process.hear("the old one stays")
        assert process.models() == ["new"]

    served(process, act, a_settings(event_loop=wanted))
    expected = LOOPS[-1] if wanted == "auto" else wanted
    assert process.loop.partition(".")[0] == expected


def test_an_event_loop_that_is_not_there_is_told(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ConfigError, match="not installed"):
        serve(a_settings(event_loop="uvloop"), PROFILES)


def test_without_uvloop_the_choice_is_asyncio(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    def act() -> None:
        process.kill(signal.SIGHUP)
        process.hear("catalogue reloaded")

    served(process, act, a_settings(event_loop="auto"))
    assert process.loop.partition(".")[0] == "asyncio"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_running_requests_and_a_second_one_does_not(
    process: Process, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """The only node says nothing, so the request waits for it until it is cut."""

    def act() -> None:
        with (
            socket.create_connection(("127.0.0.1", process.port), timeout=LIMIT_S) as idle,
            socket.create_connection(("127.0.0.1", process.port), timeout=LIMIT_S) as waiting,
        ):
            waiting.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n")
            waiting.sendall(b"content-length: %d\r\n\r\n" % len(ASK))
            assert waiting.recv(100).startswith(b"HTTP/1.1 100 ")
            waiting.sendall(ASK)
            process.kill(number)
            assert idle.recv(100) == b""  # closed at once: the first signal was taken in
            process.kill(number)
            answer = b"".join(iter(lambda: waiting.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"shutting_down"' in answer

    with socket.create_server(("127.0.0.1", 0)) as silent:
        neuron = NeuronEntry(name="n", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        served(process, act, a_settings(neuron, shutdown_grace_s=600, access_log=True, poll_timeout_s=600))
    assert "error=shutting_down" in capsys.readouterr().err
