"""Binds a port and listens on it, apart from whatever will serve there, and says who has a port that is taken.

So a daemon can fail on a busy port before it has started anything else.
"""

import contextlib
import errno
import os
import socket
from pathlib import Path

from cortex.contract.error import ConfigError

BACKLOG = 2048
"""Connections that may wait in the kernel to be accepted."""
ACCEPTS_AT_ONCE = 32
"""What a loop is told instead: asyncio accepts that many in one turn, and without a free descriptor it fails as often,
each time with a timer of its own (CPython 3.11)."""

USUAL = {
    8000: "many a development server",
    8080: "many a web server, and llama-server",
    9090: "Cockpit (enabled on Fedora Server: systemctl disable --now cockpit.socket) or Prometheus",
    9100: "Prometheus' node_exporter",
}
"""Whose port it is elsewhere. Source: firewalld's and Fedora's lists of services, 2026-11."""

_LISTENING = "0A"
"""State column of a listening socket in ``/proc/net/tcp``. Source: Linux, include/net/tcp_states.h."""


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
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
        listener.listen(BACKLOG)  # two that only bind would both succeed
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not(host, port, error), host=host, port=port) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        usual = f"; this is the port of {USUAL[port]}" if port in USUAL else ""
        return f"port {port} on {host} is in use{occupant(port)}{usual}; stop that process or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs privileges: ports below 1024 do; choose a higher one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def occupant(port: int, proc: Path = Path("/proc")) -> str:
    """Return ``" by process <pid> (<command>)"`` for whoever listens on ``port``, or nothing where that is hidden."""
    pid = occupant_pid(port, proc)
    if pid:
        with contextlib.suppress(OSError):  # gone meanwhile
            command = (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            return f" by process {pid} ({command.strip()[:120]})"
    return ""


def occupant_pid(port: int, proc: Path = Path("/proc")) -> int:
    """Return the process that listens on ``port``; 0 where that is hidden, as another user's is.

    Of several not the first of all, which holds sockets for the services that it starts.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    holder = 0
    for process in proc.glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in sockets:
                        holder = int(process.name)
        if holder > 1:
            break
    return holder


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(columns[9])
    return inodes
