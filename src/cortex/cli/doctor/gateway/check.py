"""The list of a gateway's checks: each joins what ``look.py`` gathers to the judge of it."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cortex import __version__
from cortex.cli.doctor import access, file, limit, port
from cortex.cli.doctor.examination import Check, Fact, in_thread
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.gateway import fleet, neuron, store
from cortex.cli.doctor.gateway.look import GatewayLook
from cortex.cli.doctor.host import disk_of, file_state, kernel_clock_state, limit_of, number_of
from cortex.cli.doctor.look import firewall, secret_files, tls_checks
from cortex.cli.doctor.neuron_look import NeuronLook
from cortex.cli.doctor.tls import Certificate, certificate_of
from cortex.contract.error import ConfigError
from cortex.gateway.catalogue import catalogue_path
from cortex.gateway.remark import remarks
from cortex.gateway.settings import host_port
from cortex.kit.credential import STORE_URL, credential_file
from cortex.kit.tls import TlsFiles

SEARCHED = "$CORTEX_CONFIG, ./cortex.toml, ~/.config/cortex/cortex.toml, /etc/cortex/cortex.toml"
FIRST_KEY = "cortex keys create NAME --admin, with a [store] url; or name your own networks in trusted_networks"
STREAMS = 1000
"""So many at once are what a gateway is to carry."""
STORE_BYTES = 1 << 30
"""Comfortable for a ledger of some months."""


def checks(look: GatewayLook) -> tuple[Check, ...]:
    """Return all checks of a gateway."""
    return (
        *_of_files(look),
        *_of_ports(look),
        *_of_access(look),
        *_of_certificate(look),
        *_of_store(look),
        *_of_nodes(look),
        *_of_host(look),
    )


def _of_files(look: GatewayLook) -> Iterable[Check]:
    async def config() -> Finding:
        try:
            found = await in_thread(look.find)
        except ConfigError as exc:
            return fail(exc.message, "the gateway does not start", "correct it; cortex check says whether it is right")
        if found.path is None:
            means = "all is by default, and there are no nodes: every request is answered 503"
            return warn(f"no file at {SEARCHED}", means, "write /etc/cortex/cortex.toml, or name one with --config")
        return ok(str(found.path))

    async def mode() -> Finding:
        path, settings = await look.configured()
        state = await in_thread(file_state, path) if path else None
        holds_secret = "@" in (settings.store.url or "") and credential_file(STORE_URL, look.env) is None
        return file.judge_config(path, state, await look.identity(), holds_secret=holds_secret)

    async def secrets() -> list[Finding]:
        entries = (await look.configured()).settings.neurons
        named = {f"{each.name}: {key}": getattr(each, key) for each in entries for key in ("token_file", "key_file")}
        settings = (await look.configured()).settings
        named |= {"tls_key": settings.gateway.tls_key, "headers_file": settings.trace.headers_file}
        files = {key: Path(path) for key, path in named.items() if path}
        return await secret_files(files, await look.identity(), look.env)

    async def catalogue() -> Finding:
        path, settings = await look.configured()
        try:
            profiles = await in_thread(look.read_catalogue, path, settings)
        except ConfigError as exc:
            means = "the gateway does not start with it; one that runs keeps the catalogue that it has"
            return fail(exc.message, means, "correct it; cortex check says whether it is right")
        where = catalogue_path(settings.gateway.models, path)
        return ok(f"{where}: {len(profiles)} models" if profiles else "no models; those that nodes have are served")

    async def lint() -> list[Finding]:
        _, settings = await look.configured()
        profiles, nodes = await look.profiles(), await look.views()
        said = remarks(settings, profiles, has_nodes=bool(nodes))
        return fleet.judge_catalogue(said, profiles, nodes, settings.eviction.strategy)

    async def place() -> list[Finding]:
        return list(fleet.judge_placing(await look.profiles(), await look.views()))

    return (
        Check("config.file", config),
        Check("config.mode", mode),
        Check("config.secret", secrets),
        Check("catalogue.file", catalogue),
        Check("catalogue.lint", lint),
        Check("catalogue.place", place),
    )


def _of_ports(look: GatewayLook) -> Iterable[Check]:
    async def api() -> Finding:
        is_shared = (await look.configured()).settings.gateway.reuse_port
        state = await look.api_port()
        return port.judge_port(state, "listen", __version__, daemon="cortex", is_shared=is_shared)

    async def metrics() -> Finding:
        state = await look.metrics_port()
        if state.version:  # it tells no version of its own; the other port does
            state = state._replace(version=(await look.running()).version or state.version)
        return port.judge_port(state, "metrics_listen", __version__, daemon="cortex")

    async def through_firewall() -> list[Finding]:
        gateway = (await look.configured()).settings.gateway
        places = {key: host_port(getattr(gateway, key)) for key in ("listen", "metrics_listen")}
        ports = {
            key: (number, number) for key, (host, number) in places.items() if number and not access.is_loopback(host)
        }
        return await firewall(look.programs, ports, {"listen": "cortex"})

    return (
        Check("port.api", api),
        Check("port.metrics", metrics),
        Check("port.firewall", through_firewall),
    )


def _of_access(look: GatewayLook) -> Iterable[Check]:
    async def door() -> Finding:
        gateway = (await look.configured()).settings.gateway
        host = host_port(gateway.listen)[0]
        seen = None if access.is_loopback(host) else await look.store()
        shown: str | None = ""
        if seen is not None and seen.why_not:
            shown = None
        elif seen is not None and seen.keys:
            shown = f"only callers with one of {seen.keys} keys"
        if gateway.tls_client_ca:
            shown = "only clients with a certificate (tls_client_ca)"
        return access.judge_door(host, shown, gateway.trusted_networks, FIRST_KEY, "see store.reach")

    async def proxies() -> Finding:
        return access.judge_proxies((await look.configured()).settings.gateway.trusted_proxies)

    return Check("access.key", door), Check("access.proxy", proxies)


def _of_certificate(look: GatewayLook) -> Iterable[Check]:
    async def seen() -> Certificate | None:
        gateway = (await look.configured()).settings.gateway
        files = TlsFiles(cert=gateway.tls_cert, key=gateway.tls_key, ca=gateway.tls_client_ca)
        return await in_thread(certificate_of, files) if gateway.tls_cert else None

    return tls_checks(Fact(seen), look.clock)


def _of_store(look: GatewayLook) -> Iterable[Check]:
    async def reach() -> Finding:
        return store.judge_reach(await look.store())

    async def schema() -> Finding:
        return store.judge_schema(await look.store())

    async def clock() -> Finding:
        return store.judge_store_clock(await look.store(), await look.store_url())

    async def disk() -> list[Finding]:
        url = await look.store_url()
        if url is None or url.backend != "sqlite":
            return [ok(store.NO_STORE if url is None else "its disk is the database server's matter")]
        path, identity = Path(url.path), await look.identity()
        seen = await in_thread(disk_of, path, look.root)
        folder = await in_thread(disk_of, path.parent, look.root)
        state = await in_thread(file_state, folder.path)
        return [
            file.judge_directory("[store] url", folder, path.parent, identity, state),
            file.judge_space("[store] url", seen, STORE_BYTES, "keys and usage"),
            store.judge_place(seen, path),
        ]

    return (
        Check("store.reach", reach),
        Check("store.schema", schema),
        Check("store.clock", clock),
        Check("store.disk", disk),
    )


def _of_nodes(look: GatewayLook) -> Iterable[Check]:
    def of_each(id_: str, judge: Callable[[NeuronLook], Finding | None]) -> Check:
        async def judged() -> list[Finding]:
            looks = await look.neurons()
            found = [finding for seen in looks if (finding := judge(seen)) is not None]
            why = "a step before it has failed" if looks else "there are no [[neurons]]"
            return found or [skipped(f"nothing of it was seen: {why}")]

        return Check(id_, judged)

    async def state() -> Iterator[Finding]:
        return neuron.said_of(await look.neurons())

    async def ready() -> Finding:
        return fleet.judge_ready((await look.running()).ready)

    async def seen() -> list[Finding]:
        running = await look.running()
        return fleet.judge_nodes(running.health, running.ready)

    return (
        of_each("node.name", neuron.judge_name),
        of_each("node.connect", neuron.judge_connection),
        of_each("node.answer", neuron.judge_answer),
        of_each("node.token", neuron.judge_token),
        of_each("node.version", lambda one: neuron.judge_version(one, __version__)),
        of_each("node.clock", neuron.judge_node_clock),
        Check("node.state", state),
        Check("gateway.ready", ready),
        Check("gateway.nodes", seen),
    )


def _of_host(look: GatewayLook) -> Iterable[Check]:
    async def files() -> Finding:
        gateway = (await look.configured()).settings.gateway
        pid = (await look.api_port()).pid if (await look.running()).ready else None
        found = limit_of("Max open files", look.root, pid) or limit_of("Max open files", look.root)
        return limit.judge_files(found, max(STREAMS, gateway.max_connections // limit.FILES_PER_STREAM), "cortex")

    async def backlog() -> Finding:
        return limit.judge_backlog(number_of(look.root / "proc/sys/net/core/somaxconn"))

    async def loop() -> Finding:
        name = (await look.configured()).settings.gateway.event_loop
        return limit.judge_loop(name, is_installed=importlib.util.find_spec("uvloop") is not None)

    async def clock() -> Finding:
        return limit.judge_clock(kernel_clock_state())

    return (
        Check("host.files", files),
        Check("host.backlog", backlog),
        Check("host.loop", loop),
        Check("host.clock", clock),
    )
