"""Starts the engine processes of one harness entry, each on a port of its own, and finds those that run already.

What the command line says is the harness's matter; that an engine sees its devices only, has a port, a log, and an
environment that names its generation, is the same for all.
"""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.adoption import NONCE_VARIABLE
from cortex.neuron.harness.interface import EngineExit, Launch, Site
from cortex.neuron.process.child import Child, attach, spawn
from cortex.neuron.process.log_tail import size_bytes
from cortex.neuron.process.port import HostPorts
from cortex.neuron.process_engine import EngineKind, ProcessEngine, not_started
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle, Record
from cortex.neuron.visible_device import device_environment


class Command(NamedTuple):
    """What starts one engine, and how it is spoken to then."""

    argv: tuple[str, ...]
    engine_model: str
    """The name that it answers to."""
    prefix: str = ""
    """The path before ``/v1/…``: its fence, where it has one there."""
    credential: str | None = None
    """The key that it asks for: its fence, where it has one there."""
    env: Mapping[str, str] = {}
    """Added to its environment."""


class ProcessHost:
    """The processes of one entry."""

    def __init__(self, entry: HarnessEntry, site: Site, kind: EngineKind) -> None:
        self.env: Mapping[str, str] = {**site.env, **entry.env}
        """What every engine of the entry inherits."""
        self._port_range = entry.port_range
        self._site = site
        self._kind = kind
        self._ports = HostPorts(site.bind_host, entry.port_range)

    def start(self, launch: Launch, command: Callable[[int], Command]) -> ProcessEngine | EngineExit:
        """Spawn the engine that ``command`` describes for a port, or say why there is none."""
        port = self._ports.take()
        if port is None:
            ports = f"of {self._port_range[0]} to {self._port_range[1]} " if self._port_range else ""
            return not_started("no_free_port", f"every port {ports}is busy", launch.log)
        said = command(port)
        visible = device_environment(launch.devices, launch.ordinals)
        env = {**self.env, **visible, **said.env, NONCE_VARIABLE: launch.nonce}
        begin = size_bytes(launch.log)
        try:
            child = spawn(said.argv, env, launch.log, is_tethered=self._site.is_tethered)
        except OSError as error:
            self._ports.give_back(port)
            return not_started("engine_failed", f"{said.argv[0]} cannot be started: {error.strerror}", launch.log)
        handle = Handle(
            pid=child.pid,
            start_ticks=child.start_ticks,
            port=port,
            url=f"http://{reachable(self._site.bind_host)}:{port}{said.prefix}",
            engine_model=said.engine_model,
            credential=said.credential,
        )
        return self._engine(child, handle, launch.log, begin)

    def recover(self, record: Record, log: Path) -> ProcessEngine | None:
        """Return the engine that a record is of, if it still runs."""
        child = attach(record.handle.pid, record.handle.start_ticks)
        if child is None:
            return None
        self._ports.claim(record.handle.port)
        return self._engine(child, record.handle, log, 0)

    def _engine(self, child: Child, handle: Handle, log: Path, begin: int) -> ProcessEngine:
        return ProcessEngine(self._kind, child, handle, self._ports, self._site.http, log, begin)


def reachable(host: str) -> str:
    """Return the address for a URL, on this host, of a server that listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
