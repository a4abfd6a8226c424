"""The life of a gateway's process: signals, files that are read again, and its end."""

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
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest
from tests.heap import set_aside
from tests.unit.gateway.test_app import ASK, LIMIT_S, PROFILES, a_settings

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.gateway import lifetime
from cortex.gateway.lifetime import serve
from cortex.gateway.settings import GatewaySettings, NeuronEntry
from cortex.gateway.tls_opening import GatewayTls
from cortex.kit.notify import Notifier


class Process:
    """What ``serve`` runs in, seen from a thread beside it: its log, its ports, its signals."""

    def __init__(self) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.loop = ""
        self.profiles: Iterable[Profile] | Exception = PROFILES
        self.settings: GatewaySettings | Exception | None = None
        self.port = self.metrics_port = 0

    def reload(self) -> Iterable[Profile]:
        """Give the catalogue anew; called within the gateway's event loop."""
        self.loop = type(asyncio.get_running_loop()).__module__
        if isinstance(self.profiles, Exception):
            raise self.profiles
        return self.profiles

    def reread(self) -> GatewaySettings:
        """Give the settings anew."""
        if isinstance(self.settings, Exception):
            raise self.settings
        assert self.settings is not None
        return self.settings

    def hear(self, words: str) -> str:
        """Wait until something is logged."""
        while words not in (said := self.said.get(timeout=LIMIT_S)):
            pass
        return said

    def kill(self, number: signal.Signals) -> None:
        os.kill(os.getpid(), number)

    def models(self) -> list[str]:
        return [model["id"] for model in json.loads(self.get("/v1/models")[1])["data"]]

    def metric(self, name: str) -> float:
        lines = self.get("/metrics", self.metrics_port)[1].decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    def get(self, path: str, port: int = 0) -> tuple[int, bytes, str | None]:
        """Return status, body and what is said of the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=LIMIT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("connection")
        finally:
            connection.close()


class Ear(logging.Handler):
    def __init__(self, said: "queue.Queue[str]") -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.put(record.getMessage())


@pytest.fixture(scope="module", autouse=True)
def heap() -> Iterator[None]:
    """Let ``serve`` collect what is its own, quickly, and collect at the end what it has set aside for good."""
    gc.freeze()
    yield
    set_aside()


@pytest.fixture
def process() -> Iterator[Process]:
    """Yield a process to be, and put back what ``serve`` changes of this one."""
    thresholds, files = gc.get_threshold(), resource.getrlimit(resource.RLIMIT_NOFILE)
    logger, found = logging.getLogger("cortex"), Process()
    ear, level = Ear(found.said), logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(ear)
    logger.setLevel(level)
    gc.set_threshold(*thresholds)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


def served(process: Process, act: Callable[[], None], settings: GatewaySettings, **more: Any) -> None:
    """Serve in this thread, the main one, while ``act`` happens in another, and end it afterwards."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            words = process.hear("API on ")
            process.port, process.metrics_port = (int(part.rpartition(":")[2]) for part in words.split(", metrics on "))
            act()
        except BaseException as failure:
            failures.append(failure)
        finally:
            process.kill(signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    process.settings = process.settings or settings
    assert serve(settings, PROFILES, process.reload, reread=process.reread, **more) == 0
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


def changed(settings: GatewaySettings, **keys: Any) -> GatewaySettings:
    return msgspec.structs.replace(settings, gateway=msgspec.structs.replace(settings.gateway, **keys))


def test_a_hangup_takes_what_can_be_taken_and_says_what_needs_a_restart(process: Process) -> None:
    settings = a_settings()

    def act() -> None:
        assert process.get("/livez")[0] == 200
        process.settings = changed(settings, trusted_networks=("192.0.2.0/24",), poll_s=3, keep_alive_s=9)
        process.kill(signal.SIGHUP)
        assert process.hear("configuration reloaded") == "configuration reloaded: keep_alive_s, trusted_networks"
        assert "[gateway] poll_s" in process.hear("only after a restart")
        assert process.get("/livez")[0] == 403
        process.settings = settings
        process.kill(signal.SIGHUP)
        process.hear("configuration reloaded: keep_alive_s, trusted_networks")
        assert process.get("/livez")[0] == 200

    served(process, act, settings)


def test_a_file_that_cannot_be_used_keeps_the_configuration_and_is_seen_in_a_metric(process: Process) -> None:
    settings = a_settings()

    def act() -> None:
        assert process.metric("cortex_config_reload_success") == 1
        began_s = process.metric("cortex_config_reload_seconds")
        process.settings = ConfigError("cortex.toml: [gateway] listen: expected host:port")
        process.kill(signal.SIGHUP)
        assert "listen: expected host:port" in process.hear("the configuration was not reloaded, the old one stays")
        assert process.metric("cortex_config_reload_success") == 0
        assert process.metric("cortex_config_reload_seconds") == began_s
        process.settings = settings
        process.kill(signal.SIGHUP)
        process.hear("configuration reloaded: nothing has changed")
        assert process.metric("cortex_config_reload_success") == 1
        assert process.metric("cortex_config_reload_seconds") >= began_s

    served(process, act, settings)


def test_a_hangup_reads_certificates_anew(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    read = logging.getLogger("cortex.certificates").info
    monkeypatch.setattr(GatewayTls, "reload", lambda _: read("certificates are read"))

    def act() -> None:
        process.kill(signal.SIGHUP)
        process.hear("certificates are read")

    served(process, act, a_settings())


def test_a_drain_delay_takes_requests_while_it_tells_everybody_to_go(process: Process) -> None:
    def act() -> None:
        process.kill(signal.SIGTERM)
        process.hear("for 600 s requests are still taken")
        status, body, connection = process.get("/readyz")
        assert (status, json.loads(body), connection) == (503, {"status": "stopping"}, "close")
        assert process.get("/v1/models")[0] == 200

    served(process, act, a_settings(drain_delay_s=600))  # the second signal comes at the end


def test_a_second_request_for_a_successor_and_one_at_the_end_are_refused(process: Process) -> None:
    hangs = [sys.executable, "-c", "import signal; signal.pause()"]

    def act() -> None:
        process.kill(signal.SIGUSR2)
        process.hear("starting a successor")
        process.kill(signal.SIGUSR2)
        process.hear("a successor is being started already")
        process.kill(signal.SIGTERM)
        process.hear("stopping: for 600 s")
        process.kill(signal.SIGUSR2)
        process.hear("this gateway is about to end")

    served(process, act, a_settings(drain_delay_s=600), command=hangs)


def test_a_successor_that_is_told_to_end_before_it_is_the_service_does(process: Process) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT_S)
    theirs.setblocking(False)

    def end_it() -> None:
        assert ours.recv(100) == b"ready\n"
        process.kill(signal.SIGTERM)

    settings = a_settings()
    door = socket.create_server(("127.0.0.1", 0))
    door.setblocking(False)
    thread = threading.Thread(target=end_it)
    thread.start()
    with ours:
        assert serve(settings, PROFILES, handed={"api": [door], "handover": [theirs]}) == 0
    thread.join()


def test_the_first_process_of_a_container_is_not_replaced(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> None:
        own = os.getpid()
        monkeypatch.setattr(lifetime.os, "getpid", lambda: 1)
        os.kill(own, signal.SIGUSR2)
        process.hear("the container would end with it")
        monkeypatch.undo()

    served(process, act, a_settings())


def test_no_sign_of_life_is_given_when_nobody_keeps_time_for_requests(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifetime, "STUCK_S", -1)
    said: list[str] = []

    class Heard(Notifier):
        def _tell(self, *lines: str) -> None:
            said.extend(lines)

    served(process, lambda: None, a_settings(), notifier=Heard("/nowhere", 10))
    assert "no sign of life is given to the service manager: requests have had nobody to keep time" in caplog.text
    assert "STOPPING=1" in said
    assert "WATCHDOG=1" not in said
