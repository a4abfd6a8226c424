"""The list of a node's checks: each joins what ``look.py`` gathers to the judge of it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cortex import __version__
from cortex.cli.doctor import access, file, limit, port
from cortex.cli.doctor.examination import RIGHTS, Check, Fact, in_thread
from cortex.cli.doctor.finding import Finding, Skip, fail, ok, skipped, warn
from cortex.cli.doctor.host import disk_of, file_state, kernel_clock_state, limit_of, number_of
from cortex.cli.doctor.look import firewall, secret_files, tls_checks
from cortex.cli.doctor.node import engine, gpu, memory
from cortex.cli.doctor.node.look import (
    NodeLook,
    addresses_of,
    group_limit_of,
    is_here,
    label_of,
    programs_of,
    rules_of,
)
from cortex.cli.doctor.tls import Certificate, certificate_of
from cortex.contract.error import ConfigError
from cortex.kit.tls import TlsFiles
from cortex.neuron.host_memory import ram_mb
from cortex.neuron.process.port import is_free
from cortex.neuron.settings import HarnessEntry

SEARCHED = "$CORTEX_NEURON_CONFIG, ./neuron.toml, ~/.config/cortex/neuron.toml, /etc/cortex/neuron.toml"
TOKEN = "set token_file; or name your own networks in trusted_networks"
STREAMS = 500
"""So many through the neuron's own port are a lot."""
MOST_NAMED = 5
SPREADING = ("vllm", "sglang")
"""Kinds whose engines run a process per GPU, which talk through shared memory."""
OURS = ("cortex-neuron", "llama-server", "mistralrs")
"""Programs whose denials are told."""


def checks(look: NodeLook) -> tuple[Check, ...]:
    """Return all checks of a node."""
    return (
        *_of_files(look),
        *_of_ports(look),
        *_of_access(look),
        *_of_gpus(look),
        *_of_engines(look),
        *_of_disks(look),
        *_of_memory(look),
        *_of_host(look),
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
        named |= {f"{entry.name}: key_file": entry.key_file for entry in settings.harnesses}
        return await secret_files({key: Path(path) for key, path in named.items() if path}, await look.identity())

    return Check("config.file", config), Check("config.mode", mode), Check("config.secret", secrets)


def _of_ports(look: NodeLook) -> Iterable[Check]:
    async def api() -> Finding:
        return port.judge_port(await look.port(), "port", __version__, daemon="cortex-neuron")

    async def ready() -> Finding:
        said = (await look.running()).ready
        if said == "ready":
            return ok("a neuron runs here, and is ready")
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
        ports = {} if access.is_loopback(settings.host) or not settings.port else {"port": settings.port}
        for entry in settings.harnesses if ports else ():
            if entry.port_range and not entry.relay:
                ports[f"{entry.name}: port_range"] = entry.port_range[0]
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
        shown = "a credential (token_file)" if settings.token_file else ""
        return access.judge_door(settings.host, shown, settings.trusted_networks, TOKEN)

    async def certificate() -> Certificate | None:
        settings = (await look.configured()).settings
        files = TlsFiles(cert=settings.tls_cert, key=settings.tls_key, ca=settings.tls_client_ca)
        return await in_thread(certificate_of, files) if settings.tls_cert else None

    return Check("access.key", door), *tls_checks(Fact(certificate), look.clock)


def _of_gpus(look: NodeLook) -> Iterable[Check]:
    async def driver() -> Finding:
        return gpu.judge_driver(await look.gpu())

    async def agreement() -> Finding:
        return gpu.judge_agreement(await look.gpu())

    async def count() -> Finding:
        return gpu.judge_count(await look.gpu())

    async def files() -> Finding:
        return gpu.judge_files(await look.gpu())

    async def rights() -> Iterator[Finding]:
        return gpu.judge_rights(await look.gpu(), await look.identity())

    async def persistence() -> Finding:
        return gpu.judge_persistence(await look.gpu())

    async def health() -> Iterator[Finding]:
        offer = await look.offer()
        pairs = zip(offer.inventory.devices, offer.readings, strict=False)
        return gpu.judge_health(
            [
                gpu.DeviceState(
                    device.index,
                    device.name,
                    reading.trouble,
                    reading.recovery_action,
                    reading.ecc_errors.get("uncorrected", 0),
                )
                for device, reading in pairs
            ]
        )

    async def xids() -> Iterable[Finding]:
        if not (await look.gpu()).nvidia:
            return [ok("no GPU of NVIDIA is on the PCI bus")]
        said = await look.programs.run("journalctl", "-k", "-b", "-q", "--no-pager", "-o", "cat", "-g", "NVRM: Xid")
        if said.err.strip():  # it says so when it may not show the kernel's lines
            raise Skip("the kernel's log cannot be read by this user", f"{RIGHTS}: it is in group systemd-journal")
        return gpu.judge_xids(said.out.splitlines())

    async def peers() -> Finding:
        has_iommu = await in_thread(lambda: any((look.root / "sys/class/iommu").glob("*")))
        cmdline = await in_thread(lambda: (look.root / "proc/cmdline").read_text())
        found = (await look.gpu()).on_bus
        return gpu.judge_peers(sum(map(len, found.values())), has_iommu=has_iommu, cmdline=cmdline)

    return (
        Check("gpu.driver", driver),
        Check("gpu.smi", agreement),
        Check("gpu.count", count),
        Check("gpu.file", files),
        Check("gpu.right", rights),
        Check("gpu.health", health),
        Check("gpu.xid", xids),
        Check("gpu.persistence", persistence),
        Check("gpu.peer", peers),
    )


def _of_engines(look: NodeLook) -> Iterable[Check]:
    async def usable() -> Iterator[Finding]:
        return engine.judge_engines((await look.offer()).harnesses)

    async def cuda() -> Iterator[Finding]:
        offer = await look.offer()
        seen = offer.inventory
        capabilities = [device.compute_capability or "" for device in seen.devices if device.kind in ("cuda", "mig")]
        return engine.judge_cuda(offer.harnesses, seen.cuda_driver_version, seen.driver_version, capabilities)

    async def systemd() -> Finding:
        try:
            said = (await look.programs.run("systemctl", "is-system-running")).out.strip()
        except Skip:
            said = ""
        return engine.judge_systemd(said, await look.units())

    async def units() -> Iterator[Finding]:
        return engine.judge_units(await look.units())

    async def rules() -> list[Finding]:
        user = (await look.identity()).name
        texts = await in_thread(rules_of, look.root, user)
        found = [engine.judge_rule(unit, texts, user, await _asked(look, unit.name)) for unit in await look.units()]
        return found or [ok("no harness has a unit")]

    return (
        Check("engine.usable", usable),
        Check("engine.cuda", cuda),
        Check("systemd.reach", systemd),
        Check("systemd.unit", units),
        Check("systemd.polkit", rules),
    )


async def _asked(look: NodeLook, unit: str) -> bool | None:
    """Ask polkit whether the running neuron may start a unit; it answers root only. None: it cannot be asked."""
    pid = (await look.port()).pid if (await look.running()).ready else 0
    if not pid or os.geteuid() != 0:
        return None
    action = ("--action-id", "org.freedesktop.systemd1.manage-units", "--process", str(pid))
    try:
        said = await look.programs.run("pkcheck", *action, "--detail", "unit", unit, "--detail", "verb", "start")
    except Skip:
        return None
    return {0: True, 1: False, 2: False, 3: False}.get(said.code) if "Error" not in said.err else None


def _of_disks(look: NodeLook) -> Iterable[Check]:
    async def state() -> list[Finding]:
        path, identity = await look.state_path(), await look.identity()
        disk = await in_thread(disk_of, path, look.root)
        mode = await in_thread(file_state, disk.path)
        return [
            file.judge_directory("state_dir", disk, path, identity, mode),
            file.judge_space("state_dir", disk, memory.STATE_BYTES, "records and logs of engines"),
            memory.judge_state_place(disk, path),
        ]

    async def models() -> list[Finding]:
        identity = await look.identity()
        folders = [Path(folder) for folder in (await look.configured()).settings.model_dirs]

        def one(folder: Path) -> Finding:
            return file.judge_models(folder, file_state(folder), is_folder=folder.is_dir(), identity=identity)

        found = [await in_thread(one, folder) for folder in folders]
        return found or [ok("no model_dirs: models are named by their path, or fetched")]

    async def cache() -> Finding:
        home = look.env.get("HF_HOME") or str(
            Path(look.env.get("XDG_CACHE_HOME") or look.home / ".cache") / "huggingface"
        )
        path = Path(look.env.get("HF_HUB_CACHE") or Path(home) / "hub")
        disk = await in_thread(disk_of, path, look.root)
        return memory.judge_cache(disk, path, is_writable=disk.is_writable)

    return Check("disk.state", state), Check("disk.model", models), Check("disk.cache", cache)


def _of_memory(look: NodeLook) -> Iterable[Check]:
    def ram_bytes() -> int | None:
        total_mb = ram_mb(look.root)[0]
        return None if total_mb is None else total_mb * file.MIB

    async def ram() -> Finding:
        return memory.judge_ram(await in_thread(ram_bytes), await look.largest())

    async def group() -> Finding:
        pid = (await look.port()).pid if (await look.running()).ready else 0
        limit_bytes = await in_thread(group_limit_of, pid, look.root)
        return memory.judge_group(limit_bytes, await in_thread(ram_bytes), await look.largest())

    async def shared() -> Finding:
        entries = (await look.configured()).settings.harnesses
        spread_by = next((entry.name for entry in entries if entry.kind in SPREADING), "")
        place = look.root / "dev/shm"
        size = await in_thread(lambda: disk_of(place, look.root).total_bytes if place.is_dir() else None)
        return limit.judge_shared_memory(size, spread_by)

    async def locked() -> Finding:
        entries = (await look.configured()).settings.harnesses
        wishing = next((entry.name for entry in entries if "--mlock" in entry.args), "")
        return limit.judge_locked(await _limit(look, "Max locked memory"), wishing)

    return (
        Check("memory.ram", ram),
        Check("memory.group", group),
        Check("memory.shared", shared),
        Check("memory.locked", locked),
    )


async def _limit(look: NodeLook, name: str) -> limit.Limit | None:
    """Return a limit of the neuron that runs, where it may be seen, else of this process."""
    pid = (await look.port()).pid if (await look.running()).ready else None
    return limit_of(name, look.root, pid) or limit_of(name, look.root)


def _of_host(look: NodeLook) -> Iterable[Check]:
    async def files() -> Finding:
        return limit.judge_files(await _limit(look, "Max open files"), STREAMS, "cortex-neuron")

    async def clock() -> Finding:
        return limit.judge_clock(kernel_clock_state())

    async def selinux() -> list[Finding]:
        enforcing = number_of(look.root / "sys/fs/selinux/enforce")
        settings = (await look.configured()).settings
        labels = [(str(program), label_of(program)) for program in programs_of(settings, look.env)]
        denials = await _denials(look) if enforcing is not None else []
        return list(engine.judge_selinux(enforcing, labels, denials))

    return Check("host.files", files), Check("host.clock", clock), Check("host.selinux", selinux)


async def _denials(look: NodeLook) -> list[str]:
    """Return recent denials of programs of ours; none where this user may not see them."""
    try:
        said = await look.programs.run("ausearch", "-m", "AVC", "-ts", "recent", "-i")
    except Skip:
        return []
    return [line for line in said.out.splitlines() if any(f"comm={name}" in line for name in OURS)]
