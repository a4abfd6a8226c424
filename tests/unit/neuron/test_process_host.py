"""How engine processes are started, with port, log and environment, and found again."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.port import free_port
from tests.unit.neuron.harness.builder import a_launch, a_record, a_site

from cortex.contract.node import Device
from cortex.neuron.harness.interface import EngineExit
from cortex.neuron.process_engine import EngineKind, PathQuestions, ProcessEngine
from cortex.neuron.process_host import Command, ProcessHost, reachable
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle

GPU = Device(index=0, name="gpu", vram_total_mb=24000, uuid="GPU-a")
SHELL = ("/bin/sh", "-c")
WAITS = (*SHELL, 'while :; do read -r line; done <> "$0"')


def a_host(*, entry: dict[str, Any] | None = None, **site: Any) -> ProcessHost:
    made = HarnessEntry(name="lab", kind="abacus", **(entry or {}))
    return ProcessHost(made, a_site(is_tethered=False, **site), EngineKind("abacus", PathQuestions()))


def with_engine(
    tmp_path: Path, host: ProcessHost, command: Command, test: Callable[[ProcessEngine], Awaitable[None]], **launch: Any
) -> None:
    async def run() -> None:
        engine = host.start(a_launch(log=tmp_path / "log", **launch), lambda _: command)
        assert isinstance(engine, ProcessEngine)
        try:
            await test(engine)
        finally:
            await engine.stop(0)

    asyncio.run(run())


def test_an_engine_has_the_entrys_environment_its_own_its_devices_and_its_nonce(tmp_path: Path) -> None:
    command = Command((*SHELL, "env"), "m", env={"KEY": "command", "Z": "command"})

    async def test(engine: ProcessEngine) -> None:
        said = dict(line.split("=", 1) for line in (await engine.exited()).error.log_tail)
        assert (
            said.items()
            >= {
                "SITE": "site",
                "X": "entry",
                "KEY": "command",
                "CORTEX_INSTANCE": "abc",
                "CUDA_VISIBLE_DEVICES": "GPU-a",
            }.items()
        )

    host = a_host(entry={"env": {"X": "entry", "KEY": "entry"}}, env={"SITE": "site", "X": "site"})
    with_engine(tmp_path, host, command, test, devices=(GPU,))


def test_it_is_reached_on_its_port_below_its_prefix_with_its_key(tmp_path: Path) -> None:
    port = free_port()
    asked: list[int] = []

    async def run() -> None:
        host = a_host(entry={"port_range": (port, port)}, bind_host="0.0.0.0")

        def command(given: int) -> Command:
            asked.append(given)
            return Command((*WAITS, str(tmp_path / "fifo")), "m", prefix="/i/abc", credential="k3y")

        engine = host.start(a_launch(log=tmp_path / "log"), command)
        assert isinstance(engine, ProcessEngine)
        try:
            handle = engine.handle
            assert (handle.port, handle.engine_model, handle.credential) == (port, "m", "k3y")
            assert handle.url == f"http://127.0.0.1:{port}/i/abc"
            full = host.start(a_launch(log=tmp_path / "log"), command)
            assert isinstance(full, EngineExit)
            assert (full.error.code, full.error.message) == ("no_free_port", f"every port of {port} to {port} is busy")
            assert asked == [port]
        finally:
            assert await engine.stop(0)

    os.mkfifo(tmp_path / "fifo")
    asyncio.run(run())


def test_a_program_that_is_not_there_is_told_and_its_port_given_back(tmp_path: Path) -> None:
    port = free_port()

    async def run() -> None:
        host = a_host(entry={"port_range": (port, port)})
        for _ in range(2):
            ended = host.start(a_launch(log=tmp_path / "log"), lambda _: Command(("/no/such",), "m"))
            assert isinstance(ended, EngineExit)
            assert ended.error.message == "/no/such cannot be started: No such file or directory"

    asyncio.run(run())


def test_an_engine_that_runs_is_found_again_and_its_port_is_its_own(tmp_path: Path) -> None:
    port = free_port()

    async def run() -> None:
        first, second = (a_host(entry={"port_range": (port, port)}) for _ in range(2))
        launch = a_launch(log=tmp_path / "log")
        engine = first.start(launch, lambda _: Command((*WAITS, str(tmp_path / "fifo")), "m", credential="k3y"))
        assert isinstance(engine, ProcessEngine)
        engine.let_go()
        found = second.recover(a_record(handle=engine.handle), launch.log)
        assert found is not None
        try:
            assert found.handle == engine.handle
            assert isinstance(second.start(launch, lambda _: Command(("/no/such",), "m")), EngineExit)
        finally:
            assert await found.stop(0)
        await asyncio.to_thread(os.waitpid, engine.handle.pid, 0)
        assert second.recover(a_record(handle=engine.handle), launch.log) is None

    os.mkfifo(tmp_path / "fifo")
    asyncio.run(run())


def test_nothing_is_found_where_nothing_was_started(tmp_path: Path) -> None:
    async def run() -> None:
        assert a_host().recover(a_record(handle=Handle(pid=os.getpid(), start_ticks=1)), tmp_path / "log") is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("localhost", "localhost"),
        ("10.0.0.7", "10.0.0.7"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("fe80::1", "[fe80::1]"),
    ],
)
def test_what_listens_on_an_address_is_reached_from_this_host(host: str, expected: str) -> None:
    assert reachable(host) == expected
