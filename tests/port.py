"""Ports of this host that stay free until a test's own process takes them, whatever runs beside it.

A port that the kernel gives out and that is closed again may be given to the next one who asks: to a test of another
worker, or to any connection. These are none that the kernel gives out by itself, and every worker has its own share
of them. Source: Linux, Documentation/networking/ip-sysctl.rst, ``ip_local_port_range``.
"""

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LOWEST = 10_000
"""Below, programs have ports of their own: the defaults of engines, databases and of this software."""

HIGHEST = 65_535
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens; the same one comes again only when all the others have come."""
    return next(port for port in _turns if _is_free(host, port))


def _share(first: int, last: int, worker: int, workers: int) -> range:
    """Return the ports of one worker, counted from 0. ``first`` to ``last`` are those that the kernel gives out.

    They are of the larger side of those, and next to each other.
    """
    below, above = range(LOWEST, first), range(last + 1, HIGHEST + 1)
    free = max(below, above, key=len)
    size = len(free) // workers
    return free[worker * size : (worker + 1) * size]


def _turn() -> Iterator[int]:
    first, last = map(int, EPHEMERAL.read_text().split())
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = _share(first, last, worker, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    # Another run on this host is most likely somewhere else in the share.
    begin = os.getpid() * 97 % len(ports)
    return itertools.cycle((*ports[begin:], *ports[:begin]))


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_turns = _turn()
