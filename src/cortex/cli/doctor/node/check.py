"""The list of a node's checks: each joins what ``look.py`` gathers to the judge of it."""

from collections.abc import Iterable
from pathlib import Path

from cortex import __version__
from cortex.cli.doctor import access, file, port
from cortex.cli.doctor.examination import Check, Fact, in_thread
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.host import file_state
from cortex.cli.doctor.look import firewall, secret_files, tls_checks
from cortex.cli.doctor.node import memory
from cortex.cli.doctor.node.device_check import of_engines, of_gpus
from cortex.cli.doctor.node.look import NodeLook, addresses_of, is_here
from cortex.cli.doctor.node.room_check import of_disks, of_host, of_memory
from cortex.cli.doctor.tls import Certificate, certificate_of
from cortex.contract.error import ConfigError
from cortex.kit.fleet_token import has_fleet_token
from cortex.kit.tls import TlsFiles
from cortex.neuron.process.port import is_free
from cortex.neuron.settings import HarnessEntry

SEARCHED = "$CORTEX_NEURON_CONFIG, ./neuron.toml, ~/.config/cortex/neuron.toml, /etc/cortex/neuron.toml"
TOKEN = "set token_file; or name your own networks in trusted_networks"
MOST_NAMED = 5


def checks(look: NodeLook) -> tuple[Check, ...]:
    """Return all checks of a node."""
    return (
        *_of_files(look),
        *_of_ports(look),
        *_of_access(look),
        *of_gpus(look),
        *of_engines(look),
        *of_disks(look),
        *of_memory(look),
        *of_host(look),
    )


def _of_files(look: NodeLook) -> Iterable[Check]:
    async def config() -> Finding:
        try:
            found = await in_thread(look.find)
        except ConfigError as exc:
            do = "correct it; cortex-neuron check says whether it is right"
            return fail(exc.message, "the neuron does not start", do)
        if found.path is None:
            means = "all is by default, and there are no harnesses: this neuron can load nothing"
            return warn(f"no file at {SEARCHED}", means, "write /etc/cortex/neuron.toml, or name one with --config")
        return ok(str(found.path))

    async def mode() -> Finding:
        path, _ = await look.configured()
        state = await in_thread(file_state, path) if path else None
        return file.judge_config(path, state, await look.identity(), holds_secret=False)

    async def secrets() -> list[Finding]:
        settings = (await look.configured()).settings
        named = {"token_file": settings.token_file, "tls_key": settings.tls_key}
        named |= {"headers_file": settings.trace.headers_file}
        named |= {f"{entry.name}: key_file": entry.key_file for entry in settings.harnesses}
        files = {key: Path(path) for key, path in named.items() if path}
        return await secret_files(files, await look.identity(), look.env)

    return Check("config.file", config), Check("config.mode", mode), Check("config.secret", secrets)


def _of_ports(look: NodeLook) -> Iterable[Check]:
    async def api() -> Finding:
        return port.judge_port(await look.port(), "port", __version__, daemon="cortex-neuron")

    async def ready() -> Finding:
        said = (await look.running()).ready
        if said == "ready":
            return ok("a neuron runs here, and is ready")
        if said == port.CLOSED:
            return skipped(port.WHY_CLOSED)
        if not said:
            return skipped("no neuron answers here", do="systemctl enable --now cortex-neuron")
        return warn(
            "the neuron here is starting", "gateways use it as soon as it is ready", "journalctl -u cortex-neuron"
        )

    async def engines() -> list[Finding]:
        settings = (await look.configured()).settings
        ranges = [entry for entry in settings.harnesses if entry.port_range]
        ours = await in_thread(look.engine_pids, await look.state_path())
        found = [await in_thread(_range, look, settings.host, entry, ours) for entry in ranges]
        return found or [ok("engines take any free port")]

    async def advertised() -> Finding:
        host = (await look.configured()).settings.advertise_host
        addresses, why_not = await addresses_of(host) if host else ((), "")
        here = any(is_here(address) for address in addresses)
        return memory.judge_advertised(host, addresses, why_not, is_here=here)

    async def through_firewall() -> list[Finding]:
        settings = (await look.configured()).settings
        port = settings.port
        ports = {} if access.is_loopback(settings.host) or not port else {"port": (port, port)}
        for entry in settings.harnesses if ports else ():
            if entry.port_range and not entry.relay:
                ports[f"{entry.name}: port_range"] = entry.port_range
        return await firewall(look.programs, ports, {"port": "cortex-neuron"})

    return (
        Check("port.api", api),
        Check("port.ready", ready),
        Check("port.engine", engines),
        Check("port.advertise", advertised),
        Check("port.firewall", through_firewall),
    )


def _range(look: NodeLook, host: str, entry: HarnessEntry, ours: frozenset[int]) -> Finding:
    """Look at the ports of one harness; of those that are taken the first few are asked who has them."""
    first, last = entry.port_range or (0, -1)
    taken = [number for number in range(first, last + 1) if not is_free(host, number)]
    states = [port.look_at(host, number, look.root) for number in taken[:MOST_NAMED]]
    held = tuple(
        f"{state.port} is held by {state.process or 'a process of another user'}"
        for state in states
        if state.refusal and state.pid not in ours
    )
    return memory.judge_range(entry.name, first, last, last - first + 1 - len(taken), held)


def _of_access(look: NodeLook) -> Iterable[Check]:
    async def door() -> Finding:
        settings = (await look.configured()).settings
        env, _ = await look.surroundings()
        has_token = has_fleet_token(settings.token_file, env)
        shown = "only callers with a credential (token_file)" if has_token else ""
        if settings.tls_client_ca:
            shown = "only callers with a certificate (tls_client_ca)"
        return access.judge_door(settings.host, shown, settings.trusted_networks, TOKEN)

    async def certificate() -> Certificate | None:
        settings = (await look.configured()).settings
        files = TlsFiles(cert=settings.tls_cert, key=settings.tls_key, ca=settings.tls_client_ca)
        return await in_thread(certificate_of, files) if settings.tls_cert else None

    return Check("access.key", door), *tls_checks(Fact(certificate), look.clock)
