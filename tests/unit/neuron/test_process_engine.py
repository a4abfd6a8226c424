"""One engine process: when it is ready, what it does, why it ended; around a real process and a real HTTP server."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from tests.port import free_port

from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import Activity
from cortex.neuron.named_question import NamedQuestions
from cortex.neuron.process.child import Child, spawn
from cortex.neuron.process.port import HostPorts
from cortex.neuron.process_engine import EngineKind, PathQuestions, ProcessEngine, not_started
from cortex.neuron.state_dir import Handle

METRICS = "3 9"


def read(text: str) -> Activity:
    in_flight, work = map(int, text.split())
    return Activity(in_flight=in_flight, work=work)


KIND = EngineKind("abacus", PathQuestions("/health", "/metrics", read))
Answer = tuple[int, bytes]


class Http:
    """What the engine answers under its prefix: the next one of these, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[str] = []
        self.keys: list[str | None] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append(request.path)
        self.keys.append(request.headers.get("authorization"))
        answers = self.answers.get(request.path, [(404, b"")])
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.Response(status=status, body=body)


class Desk(NamedTuple):
    engine: ProcessEngine
    http: Http
    ports: HostPorts
    port: int
    """The only one in the range."""
    log: Path


def with_engine(
    tmp_path: Path,
    words: str,
    test: Callable[[Desk], Awaitable[None]],
    *,
    before: str = "",
    is_up: bool = True,
    kind: EngineKind = KIND,
    key: str | None = None,
) -> None:
    """Run a test with an engine whose process is a shell with these words and whose server answers as it is told."""

    async def run() -> None:
        http, client, log = Http(), HttpClient(), tmp_path / "log"
        server = web.ServerRunner(web.Server(http.handle, access_log=None))
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{server.addresses[0][1]}/i/n"
        if not is_up:
            await server.cleanup()
        log.write_text(before)
        port = free_port()
        ports = HostPorts("127.0.0.1", (port, port))
        assert ports.take() == port
        child = spawn(["sh", "-c", words], {"PATH": os.environ["PATH"]}, log, is_tethered=False)
        handle = Handle(
            pid=child.pid, start_ticks=child.start_ticks, port=port, url=url, engine_model="m", credential=key
        )
        engine = ProcessEngine(kind, child, handle, ports, client, log, len(before))
        try:
            await test(Desk(engine, http, ports, port, log))
        finally:
            if child.is_running:
                await child.stop(0)
            await client.close()
            await server.cleanup()

    os.mkfifo(tmp_path / "fifo")
    asyncio.run(run())


def forever(tmp_path: Path) -> str:
    return f"read -r line <> {tmp_path}/fifo"


LOADING = (503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}')


def test_it_is_ready_once_its_health_is_good(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/health"] = [LOADING, LOADING, (200, b'{"status":"ok"}')]
        await desk.engine.ready()
        assert desk.http.calls == ["/i/n/health"] * 3

    with_engine(tmp_path, forever(tmp_path), run)


def test_once_it_is_ready_it_says_how_long_a_request_may_be(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/health"] = [(200, b"")]
        desk.http.answers["/i/n/v1/models"] = [(200, b'{"data":[{"id":"m","max_model_len":4096}]}')]
        await desk.engine.ready()
        assert desk.engine.handle.context == 4096

    with_engine(tmp_path, forever(tmp_path), run, kind=EngineKind("abacus", NamedQuestions("/health")))


@pytest.mark.parametrize(("is_up", "answer"), [(True, LOADING), (True, (404, b"")), (False, LOADING)])
def test_it_is_not_ready_while_it_loads_or_is_another_or_nobody_listens(
    tmp_path: Path, is_up: bool, answer: Answer
) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/health"] = [answer]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await desk.engine.ready()

    with_engine(tmp_path, forever(tmp_path), run, is_up=is_up)


def test_its_activity_is_what_its_metrics_say(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/metrics"] = [(200, METRICS.encode())]
        assert await desk.engine.activity() == Activity(in_flight=3, work=9)

    with_engine(tmp_path, forever(tmp_path), run)


@pytest.mark.parametrize(
    "answer",
    [(501, METRICS.encode()), (200, b"\xff"), (200, b"much work"), LOADING],
    ids=["not offered", "no text", "no number", "loading"],
)
def test_an_engine_that_does_not_say_is_not_taken_for_idle(tmp_path: Path, answer: Answer) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/metrics"] = [answer]
        assert await desk.engine.activity() is None

    with_engine(tmp_path, forever(tmp_path), run)


def test_one_that_nobody_can_reach_does_not_say(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        assert await desk.engine.activity() is None

    with_engine(tmp_path, forever(tmp_path), run, is_up=False)


def test_an_engine_without_counts_is_not_asked_for_them(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        assert await desk.engine.activity() is None
        assert desk.http.calls == []

    with_engine(tmp_path, forever(tmp_path), run, kind=EngineKind("abacus", PathQuestions("/v1/models")))


@pytest.mark.parametrize(("key", "shown"), [("k3y", "Bearer k3y"), (None, None)], ids=["with a key", "without"])
def test_an_engine_is_asked_with_the_key_of_its_generation(tmp_path: Path, key: str | None, shown: str | None) -> None:
    async def run(desk: Desk) -> None:
        desk.http.answers["/i/n/health"] = [(200, b"")]
        await desk.engine.ready()
        assert desk.http.keys == [shown]

    with_engine(tmp_path, forever(tmp_path), run, key=key)


POLITE = "trap 'echo asked; exit 5' INT; trap '' TERM; echo up > {up}; while :; do read -r line <> {fifo}; done"
"""Ends on SIGINT only; says on a pipe that it is that far."""


def polite(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "up")
    return POLITE.format(up=tmp_path / "up", fifo=tmp_path / "fifo")


def test_a_kind_is_stopped_by_the_signal_that_it_goes_by(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        await asyncio.to_thread((tmp_path / "up").read_text)
        assert await desk.engine.stop(30)
        ended = await desk.engine.exited()
        assert (ended.error.message, ended.error.log_tail[-1]) == ("abacus ended with code 5: asked", "asked")

    kind = KIND._replace(stop_signal=signal.SIGINT)
    with_engine(tmp_path, polite(tmp_path), run, kind=kind)


@pytest.mark.parametrize(("asked_s", "own_s"), [(30, 0.01), (0, 30)], ids=["its own grace", "at once"])
def test_a_kind_has_a_grace_of_its_own_unless_it_must_end_at_once(tmp_path: Path, asked_s: float, own_s: float) -> None:
    async def run(desk: Desk) -> None:
        await asyncio.to_thread((tmp_path / "up").read_text)
        assert await desk.engine.stop(asked_s)
        assert "SIGKILL" in (await desk.engine.exited()).error.message

    with_engine(tmp_path, polite(tmp_path), run, kind=KIND._replace(stop_grace_s=own_s))


BUSY = "0.00.012 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8100"
OOM = "0.00.012 E ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory"


@pytest.mark.parametrize(
    ("said", "code", "message", "is_port_taken"),
    [
        (BUSY, "engine_failed", "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8100", True),
        (OOM, "out_of_memory", "cudaMalloc failed: out of memory", False),
        ("0.00.012 E error: something", "engine_failed", "something", False),
    ],
    ids=["port taken", "out of memory", "anything else"],
)
def test_why_it_ended_is_read_from_its_own_log(
    tmp_path: Path, said: str, code: str, message: str, is_port_taken: bool
) -> None:
    async def run(desk: Desk) -> None:
        exit = await desk.engine.exited()
        assert exit.error.code == code
        assert exit.error.message == f"abacus ended with code 1: {message}"
        assert exit.error.log_tail == (said,)
        assert exit.is_port_taken == is_port_taken

    with_engine(tmp_path, f'echo "{said}"; exit 1', run, before=f"{OOM}\n{BUSY}\n")


def test_a_cause_far_above_the_last_lines_is_found(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        error = (await desk.engine.exited()).error
        assert error.code == "out_of_memory"
        assert error.message == "abacus ended with code 1: cudaMalloc failed: out of memory"
        assert len(error.log_tail) == 40

    with_engine(tmp_path, f'echo "{OOM}"; for n in $(seq 200); do echo "  at frame $n"; done; exit 1', run)


def test_one_that_ends_without_a_word_is_told_by_its_code(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        assert (await desk.engine.exited()).error.message == "abacus was killed by SIGSEGV"

    with_engine(tmp_path, "kill -SEGV $$", run)


@pytest.mark.parametrize(
    ("said", "why"),
    [("0.00.012 I init: listening on http://127.0.0.1", ""), (OOM, ": cudaMalloc failed: out of memory")],
    ids=["what it did", "a cause"],
)
def test_one_that_was_killed_is_not_told_by_what_it_did_before(tmp_path: Path, said: str, why: str) -> None:
    async def run(desk: Desk) -> None:
        error = (await desk.engine.exited()).error
        assert error.message == f"abacus was killed by SIGKILL (perhaps by the kernel, for want of memory){why}"
        assert error.code == ("out_of_memory" if why else "engine_killed"), "who was killed may do better another time"

    with_engine(tmp_path, f'echo "{said}"; kill -KILL $$', run)


def test_once_it_has_ended_its_port_is_free(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        assert desk.ports.take() is None
        await desk.engine.exited()
        assert desk.ports.take() == desk.port

    with_engine(tmp_path, "exit 0", run)


def test_a_port_that_another_engine_has_meanwhile_stays_its_own(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        await desk.engine.exited()
        assert desk.ports.take() == desk.port
        await desk.engine.exited()
        await desk.engine.stop(30)
        assert desk.ports.take() is None

    with_engine(tmp_path, "exit 0", run)


def test_stopped_it_is_gone_and_its_port_is_free(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        assert await desk.engine.stop(30)
        assert desk.ports.take() == desk.port
        assert (await desk.engine.exited()).error.message == "abacus was killed by SIGTERM"

    with_engine(tmp_path, forever(tmp_path), run)


def test_one_that_cannot_be_ended_keeps_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.neuron.process.child.KILL_WAIT_S", 0.01)

    async def run(desk: Desk) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", lambda *_: None)
            assert not await desk.engine.stop(0.01)
        assert desk.ports.take() is None

    with_engine(tmp_path, forever(tmp_path), run)


def test_let_go_it_runs_on_where_its_handle_says(tmp_path: Path) -> None:
    async def run(desk: Desk) -> None:
        desk.engine.let_go()
        again = Child(desk.engine.handle.pid, is_ours=True)
        assert again.start_ticks == desk.engine.handle.start_ticks
        assert await again.stop(30)

    with_engine(tmp_path, forever(tmp_path), run)


def test_an_engine_that_never_ran_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("fetching\n")
    exit = not_started("fetch_failed", "no such file", tmp_path / "log")
    assert (exit.error.code, exit.error.message, exit.error.log_tail) == (
        "fetch_failed",
        "no such file",
        ("fetching",),
    )
    assert not exit.is_port_taken
