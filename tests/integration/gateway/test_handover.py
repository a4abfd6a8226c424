"""A gateway is replaced while it serves: no request fails, no stream is cut, no connection is refused."""

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.integration.gateway.gateway_process import GatewayProcess, a_moment, gateway_process, start, until
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, HostileEngine, Turn, event, good, last_event
from tests.integration.gateway.raw_client import LIMIT_S, RawClient, connected

from cortex.testing.fake_neuron import FakeNeuron

STREAMS = 6
MODELS = '[[models]]\nid = "org/m"\nharness = "llamacpp"\nvram_mb = 1000\n'
ASK = {"model": "org/m", "messages": [{"role": "user", "content": "hi"}]}
SLOW = {**ASK, "stream": True, "user": "slow"}


def in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 5 * LIMIT_S))

    return run


class Site(NamedTuple):
    """A gateway process before one node, whose slow streams go on until ``go_on`` is set."""

    gateway: GatewayProcess
    engine: HostileEngine
    neuron: FakeNeuron
    go_on: asyncio.Event
    doors: dict[str, socket.socket]

    async def slow_stream(self) -> str:
        """Have a stream begin and end; return its text."""
        async with connected(self.gateway.port) as client:
            await client.ask(SLOW)
            return (await client.answer()).body.decode()

    def asking(self, name: str) -> "Traffic":
        return Traffic(self.gateway.port, name)


class Traffic:
    """Requests one after another: on connections that are used as long as they may be, or each on its own."""

    def __init__(self, port: int, name: str) -> None:
        self.answered = 0
        self.connections = 0
        self._port = port
        self._keeps = name == "kept connections"
        self._is_over = False

    async def run(self) -> None:
        """Ask until told to end; raises for the first request that is not answered as it should be."""
        while not self._is_over:
            async with connected(self._port) as client:
                self.connections += 1
                while not self._is_over and await self._ask(client):
                    pass

    async def _ask(self, client: RawClient) -> bool:
        """Return whether the connection may be used again."""
        await client.ask(ASK)
        answer = await client.answer()
        assert answer.status == 200, answer
        self.answered += 1
        await a_moment()  # or the processes that are being started would have no time
        return self._keeps and answer.header("connection") != "close"

    def end(self) -> None:
        self._is_over = True

    async def more(self, count: int = 20) -> None:
        """Wait for so many further answers."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted)


def script(go_on: asyncio.Event):
    async def answer(turn: Turn) -> None:
        if b'"slow"' not in await turn.body():
            return await good(turn)
        await turn.send(SSE_HEAD)
        await turn.events(event("first"))
        await go_on.wait()
        await turn.events(event("second"), last_event(), DONE)
        await turn.finish()

    return answer


@contextlib.asynccontextmanager
async def site(folder: Path, more: str = "", handed: bool = False, **env: str) -> AsyncIterator[Site]:
    go_on = asyncio.Event()
    with contextlib.ExitStack() as sockets:
        doors = {name: sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for name in ("api", "metrics")}
        async with (
            HostileEngine(script(go_on)) as engine,
            FakeNeuron(engine_url=f"http://127.0.0.1:{engine.port}") as neuron,
        ):
            neuron.parallel = 2 * STREAMS
            neuron.put("org/m", "loaded")
            listen = 'listen = "127.0.0.1:0"\nmetrics_listen = "127.0.0.1:0"\nlog_level = "debug"'
            config = f'[gateway]\n{listen}\n{more}\n[[neurons]]\nname = "n"\nendpoint = "{neuron.url}"\n'
            passed = doors if handed else None
            async with gateway_process(folder, config=config, models=MODELS, handed=passed, env=env) as gateway:
                yield Site(gateway, engine, neuron, go_on, doors)


@contextlib.asynccontextmanager
async def under_traffic(it: Site) -> AsyncIterator[tuple[list["asyncio.Task[str]"], list[Traffic]]]:
    """Have slow streams open and other requests come without a pause; all must be answered as if nothing happened."""
    async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as group:
        streams = [group.create_task(it.slow_stream()) for _ in range(STREAMS)]
        traffic = [it.asking("kept connections"), it.asking("new connections")]
        for one in traffic:
            group.create_task(one.run())
        await until(lambda: sum(b'"slow"' in turn.text for turn in it.engine.turns) == STREAMS)
        for one in traffic:
            await one.more()
        try:
            yield streams, traffic
        finally:
            it.go_on.set()
            for one in traffic:
                one.end()


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
@in_a_loop
async def test_a_successor_takes_over_while_streams_run_and_requests_come(tmp_path: Path, loop: str) -> None:
    keys = f'gateway_id = "front"\nevent_loop = "{loop}"\nshutdown_grace_s = 5'
    async with site(tmp_path, keys) as it:
        async with under_traffic(it) as (streams, traffic):
            it.gateway.process.send_signal(signal.SIGUSR2)
            await it.gateway.until("has taken over")
            for one in traffic:
                await one.more(50)
            assert it.gateway.process.poll() is None, "it ends before its streams have"
            await it.gateway.until("API on ", times=2)
            os.kill(it.gateway.successors()[0], signal.SIGUSR2)
            await it.gateway.until("has taken over", times=2)
            for one in traffic:
                await one.more()
            assert not any(stream.done() for stream in streams)
            it.go_on.set()
        assert [text.count("data: ") for text in map(asyncio.Task.result, streams)] == [4] * STREAMS
        assert all("second" in stream.result() and "[DONE]" in stream.result() for stream in streams)
        assert await it.gateway.ended() == 0
        async with connected(it.gateway.metrics_port) as client:
            await client.ask(b"", path="/metrics", method="GET")
            assert 'gateway_id="front"' in (await client.answer()).body.decode()
        names = {post.gateway_id for post in it.neuron.posts}
        assert len(names) == 3
        assert "front" in names
        assert all(name.startswith("front") for name in names)
        assert any(post.leaving and post.gateway_id == "front" for post in it.neuron.posts)
        assert "ERROR" not in it.gateway.log
        assert "WARNING" not in it.gateway.log


@in_a_loop
async def test_one_that_was_replaced_is_stopped_like_any_other(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        stream = asyncio.create_task(it.slow_stream())
        await it.engine.turn(0)
        it.gateway.process.send_signal(signal.SIGUSR2)
        await it.gateway.until("has taken over")
        it.gateway.process.send_signal(signal.SIGTERM)
        await it.gateway.until("stopping: running requests have 30 s to finish")
        assert not stream.done()
        it.gateway.process.send_signal(signal.SIGTERM)
        assert '"code":"shutting_down"' in await stream
        assert await it.gateway.ended() == 0
        assert await ask_once(it.gateway.port) == 200, "the successor is not harmed"


@in_a_loop
async def test_a_successor_that_cannot_start_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        good_config = (tmp_path / "cortex.toml").read_text()
        async with under_traffic(it) as (_, traffic):
            (tmp_path / "cortex.toml").write_text("[gateway]\nlisten = 17\n")
            it.gateway.process.send_signal(signal.SIGUSR2)
            await it.gateway.until("no successor: ")
            assert "listen: expected a text" in it.gateway.log or "cortex.toml" in it.gateway.log
            for one in traffic:
                await one.more()
        assert it.gateway.successors() == []
        assert it.gateway.process.poll() is None
        (tmp_path / "cortex.toml").write_text(good_config)
        it.gateway.process.send_signal(signal.SIGUSR2)
        await it.gateway.until("has taken over")
        assert await it.gateway.ended() == 0


@in_a_loop
async def test_a_successor_that_cannot_start_says_so_in_a_log_of_json(tmp_path: Path) -> None:
    async with site(tmp_path, 'log_format = "json"') as it:
        (tmp_path / "cortex.toml").write_text("[gateway]\nlisten = 17\n")
        it.gateway.process.send_signal(signal.SIGUSR2)
        await it.gateway.until("no successor: ")
        said = [json.loads(line)["message"] for line in it.gateway.log.splitlines()]
        assert any("gateway.listen" in message for message in said), said


@in_a_loop
async def test_connections_wait_while_a_gateway_with_handed_sockets_is_restarted(tmp_path: Path) -> None:
    """What systemd does: the sockets stay open between the end of one process and the start of the next."""
    async with site(tmp_path, handed=True) as it:
        assert "the socket that was handed over is used, not 127.0.0.1:0" in it.gateway.log
        stream = asyncio.create_task(it.slow_stream())
        await it.engine.turn(0)
        it.gateway.process.send_signal(signal.SIGTERM)
        await it.gateway.until("stopping: running requests have")
        waiting = [asyncio.create_task(ask_once(it.gateway.port)) for _ in range(5)]
        it.go_on.set()
        assert "second" in await stream
        assert await it.gateway.ended() == 0
        assert not any(one.done() for one in waiting), "nobody has accepted them yet"
        again = start(tmp_path, it.doors, {})
        try:
            assert await asyncio.gather(*waiting) == [200] * 5
        finally:
            await again.stop()


@in_a_loop
async def test_who_supervises_is_told_who_is_the_service(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(LIMIT_S)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}

        async def heard(words: str) -> str:
            while words not in (said := (await asyncio.to_thread(manager.recv, 4096)).decode()):
                pass
            return said

        async with site(tmp_path, **env) as it:
            assert "STATUS=1 of 1 nodes healthy" in await heard("READY=1")
            await heard("WATCHDOG=1")
            it.gateway.process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in await heard("RELOADING=1")
            await heard("READY=1")
            it.gateway.process.send_signal(signal.SIGUSR2)
            said = await heard("MAINPID=")
            assert [int(said.partition("=")[2])] == it.gateway.successors()
            await heard("READY=1")
            assert await it.gateway.ended() == 0
            await heard("WATCHDOG=1")
            await it.gateway.stop()
            await heard("EXTEND_TIMEOUT_USEC=")
            await heard("STOPPING=1")


async def ask_once(port: int) -> int:
    async with connected(port) as client:
        await client.ask(ASK)
        return (await client.answer()).status
