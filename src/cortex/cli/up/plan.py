"""What a local fleet consists of: ports, a private directory, and the three configuration files in it.

Everything listens on loopback. Only the API's port is fixed; the others are free ones unless asked for, so that a
second fleet beside the first touches nothing of it. Keys and usage are kept while it runs, where that is installed.
"""

import importlib.util
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from cortex.cli.up.model import LocalModel
from cortex.contract.error import ConfigError
from cortex.kit.listener import bind

LOOPBACK = "127.0.0.1"
SERVICE_MANAGER = ("NOTIFY_", "WATCHDOG_", "LISTEN_")
"""Variables by which a service manager speaks with the process that it has started, and with no other."""

_Tree = Mapping[str, object]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the person asked for; a port that is None or 0 may be any."""

    model: str | None = None
    port: int = 8000
    neuron_port: int | None = None
    metrics_port: int | None = None
    engine_port: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A local fleet before it runs."""

    model: LocalModel
    home: Path
    port: int
    neuron_port: int
    metrics_port: int
    engine_port: int | None

    @property
    def gateway_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def neuron_url(self) -> str:
        return f"http://{LOOPBACK}:{self.neuron_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def gateway_config(self) -> Path:
        return self.home / "cortex.toml"

    @property
    def neuron_config(self) -> Path:
        return self.home / "neuron.toml"

    def log_of(self, member: str) -> Path:
        return self.home / f"{member}.log"


def make_plan(wish: Wish, model: LocalModel, home: Path) -> Plan:
    """Settle the ports. Raises: ConfigError when one that was asked for is taken, or was asked for twice."""
    named = {
        "--port": wish.port,
        "--neuron-port": wish.neuron_port,
        "--metrics-port": wish.metrics_port,
        "--engine-port": wish.engine_port,
    }
    seen: dict[int, str] = {}
    for option, port in named.items():
        if port:
            if port in seen:
                raise ConfigError(f"{option} {port}: that is {seen[port]} already; choose another port", port=port)
            seen[port] = option
            _check_free(option, port)
    neuron_port, metrics_port, port = _free_ports(3)
    return Plan(
        model=model,
        home=home,
        port=wish.port or port,
        neuron_port=wish.neuron_port or neuron_port,
        metrics_port=wish.metrics_port or metrics_port,
        engine_port=wish.engine_port or None,
    )


def write_files(plan: Plan) -> None:
    """Write the configuration of both daemons and the catalogue into the plan's directory."""
    plan.gateway_config.write_text(_toml(_gateway_tree(plan)))
    plan.neuron_config.write_text(_toml(_neuron_tree(plan)))
    catalogue = {"models": [{"id": plan.model.id, "harness": "llamacpp", "source": plan.model.source}]}
    (plan.home / "models.toml").write_text(_toml(catalogue))


def has_store() -> bool:
    """Tell whether what keys and usage are kept with is installed: the extra ``store``."""
    return importlib.util.find_spec("sqlalchemy") is not None and importlib.util.find_spec("alembic") is not None


def environment(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    """Return the daemons' environment: the person's own, without what would undo the plan or is for `up` alone."""
    undoing = set()
    for prefix, tree in (("CORTEX_", _gateway_tree(plan)), ("CORTEX_NEURON_", _neuron_tree(plan))):
        for section, value in tree.items():
            undoing.add(f"{prefix}{section}".upper())
            if isinstance(value, Mapping):
                undoing.update(f"{prefix}{section}__{key}".upper() for key in value)
    return {key: value for key, value in env.items() if key not in undoing and not key.startswith(SERVICE_MANAGER)}


def _gateway_tree(plan: Plan) -> _Tree:
    return {
        "gateway": {
            "listen": f"{LOOPBACK}:{plan.port}",
            "metrics_listen": f"{LOOPBACK}:{plan.metrics_port}",
            "models": "models.toml",
            "shutdown_grace_s": 5,
        },
        "neurons": [{"name": "local", "endpoint": plan.neuron_url}],
        **({"store": {"url": "sqlite:///cortex.db"}} if has_store() else {}),
    }


def _neuron_tree(plan: Plan) -> _Tree:
    entry: dict[str, object] = {"name": "llamacpp", "binary": "llama-server"}
    if plan.engine_port is not None:
        entry["port_range"] = [plan.engine_port, plan.engine_port]
    return {
        "port": plan.neuron_port,
        "host": LOOPBACK,
        "state_dir": str(plan.home / "neuron"),
        "drain_timeout_s": 5,
        "keep_engines": False,
        "cpu_device": True,  # where there is a GPU, the embedded engine cannot use it
        "harnesses": [entry],
    }


def _check_free(option: str, port: int) -> None:
    try:
        bind(LOOPBACK, port).close()
    except ConfigError as exc:
        raise ConfigError(f"{exc.message}, for example with {option} {_free_port_after(port)}", port=port) from exc


def _free_port_after(port: int) -> int:
    for near in range(port + 1, min(port + 20, 65536)):
        with suppress(ConfigError):
            bind(LOOPBACK, near).close()
            return near
    return _free_ports(1)[0]


def _free_ports(count: int) -> list[int]:
    """Return ports that were free at this moment, all different."""
    listeners = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _toml(tree: _Tree) -> str:
    """Write plain keys first, then ``[tables]`` and ``[[lists of tables]]`` of plain keys; more is not needed here."""
    lines = [_pair(key, value) for key, value in tree.items() if not _is_table(value)]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *(_pair(*item) for item in value.items())]
        elif isinstance(value, list) and _is_table(value):
            for table in value:
                lines += ["", f"[[{key}]]", *(_pair(*item) for item in table.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(item, Mapping) for item in value))


def _pair(key: str, value: object) -> str:
    # A JSON string is a TOML string once DEL is escaped and nothing is written as a surrogate pair.
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
