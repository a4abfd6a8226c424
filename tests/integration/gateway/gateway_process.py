"""``cortex serve`` as a process that may be handed its sockets, as by systemd, and may be replaced by another one."""

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from tests.handed import started

LIMIT_S = 60.0
TAKEN_OVER = re.compile(r"process (\d+) has taken over")


class GatewayProcess:
    """One gateway, and whoever came after it; ``folder`` has its files and one log of all of them."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int, metrics_port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port
        self.metrics_port = metrics_port

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def successors(self) -> list[int]:
        """Return the processes that have taken over, in order."""
        return [int(pid) for pid in TAKEN_OVER.findall(self.log)]

    async def until(self, words: str, times: int = 1) -> None:
        """Wait until something was logged."""
        await until(lambda: self.process.poll() is not None or self.log.count(words) >= times, lambda: self.log)
        assert self.log.count(words) >= times, self.log

    async def ended(self) -> int:
        """Wait for the end of the process that was started first; return its exit code."""
        return await asyncio.to_thread(self.process.wait, LIMIT_S)

    async def stop(self) -> None:
        """End all that is left."""
        for pid in self.successors():
            await end(pid)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                await self.ended()
            finally:
                self.process.kill()
                self.process.wait()


@contextlib.asynccontextmanager
async def gateway_process(
    folder: Path,
    *,
    config: str,
    models: str,
    handed: Mapping[str, socket.socket] | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway with these files until the block is left, ready when it begins."""
    (folder / "cortex.toml").write_text(config)
    (folder / "models.toml").write_text(models)
    running = start(folder, handed or {}, env or {})
    try:
        await running.until("API on ")
        at = re.findall(r"API on [\d.]+:(\d+), metrics on [\d.]+:(\d+)", running.log)[0]
        running.port, running.metrics_port = map(int, at)
        yield running
    finally:
        await running.stop()


def start(folder: Path, handed: Mapping[str, socket.socket], env: Mapping[str, str]) -> GatewayProcess:
    """Start ``cortex serve`` in a folder, with sockets as systemd hands them over; whoever calls this ends it."""
    command = [sys.executable, "-P", "-m", "cortex", "serve", "--config", "cortex.toml"]
    process = started(command, handed, cwd=folder, env=os.environ | env, log=folder / "gateway.log")
    return GatewayProcess(folder, process, 0, 0)


async def end(pid: int) -> None:
    """End a process in order, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not (await asyncio.to_thread(select.select, [descriptor], [], [], LIMIT_S))[0]:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                raise AssertionError(f"process {pid} did not end")
        finally:
            os.close(descriptor)


async def a_moment() -> None:
    """Let other processes do something."""
    await asyncio.to_thread(select.select, [], [], [], 0.02)


async def until(happens: Callable[[], bool], told: Callable[[], str] = lambda: "") -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not happens():
                await a_moment()
    except TimeoutError:
        raise AssertionError(f"it did not happen\n{told()}") from None
