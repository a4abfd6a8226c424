"""Binds a port and serves an ASGI application on it inside the running event loop, with uvicorn and httptools.

The caller keeps what uvicorn likes to take: the event loop, the signals and the logging set-up. Binding is apart from
serving, so that a daemon can fail on a busy port before it has started anything else.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from cortex.contract.error import ConfigError
from cortex.kit.task import TaskOwner

_LISTENING = "0A"
"""State column of a listening socket in ``/proc/net/tcp``. Source: Linux, include/net/tcp_states.h."""


class Serving(NamedTuple):
    """A server that is up; ``ended`` is done only if it died by itself or after the block was left."""

    host: str
    port: int
    ended: asyncio.Task[None]


def bind(host: str, port: int, *, reuse_port: bool = False, backlog: int = 2048) -> socket.socket:
    """Return a listening socket; port 0 takes a free one, ``reuse_port`` shares the port with other processes.

    Raises: ConfigError that names the address and, for a busy port, who has it.
    """
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise ConfigError(f"port {port} is out of range: ports go from 0 to 65535", host=host, port=port)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error}", host=host, port=port) from error
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(backlog)  # two that only bind would both succeed
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not(host, port, error), host=host, port=port) from error
    return listener


@contextlib.asynccontextmanager
async def serving(
    app: Any, sock: socket.socket, *, grace_s: float = 5.0, keep_alive_s: int = 75, backlog: int = 2048
) -> AsyncIterator[Serving]:
    """Serve ``app`` on the listening ``sock`` until the block is left, then let running requests finish.

    After ``grace_s`` they are cancelled. The socket belongs to the server from here on and is closed by it.
    """
    host, port = sock.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        backlog=backlog,
    )
    server, owner = _Server(config), TaskOwner()
    task = owner.start(server.serve([sock]), f"serving {host}:{port}")
    up = owner.start(server.is_up.wait(), f"waiting for {host}:{port}")
    try:
        await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield Serving(host, port, task)
    finally:
        server.leave()
        await asyncio.wait((task,))
        await server.finish()
        await owner.stop()
        sock.close()


class _Server(uvicorn.Server):
    """A uvicorn server without signal handlers that can be waited for and told to leave."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._is_leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        # uvicorn wakes ten times a second to see whether it should exit; once is enough for its Date header.
        tick = 0
        while not await self.on_tick(tick * 10):
            tick += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._is_leaving.wait()

    def leave(self) -> None:
        self.should_exit = True
        self._is_leaving.set()

    async def finish(self) -> None:
        """Wait for requests that were cancelled at the end of the grace time, and cut what is still connected."""
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=1.0)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use{occupant(port)}; stop that process or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs privileges: ports below 1024 do; choose a higher one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def occupant(port: int, proc: Path = Path("/proc")) -> str:
    """Return ``" by process <pid> (<command>)"`` for whoever listens on ``port``, or nothing where that is hidden."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    for process in proc.glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in sockets:
                        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        return f" by process {process.name} ({command.strip()[:120]})"
    return ""


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(columns[9])
    return inodes
