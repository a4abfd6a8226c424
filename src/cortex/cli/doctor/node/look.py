"""The edge of the node's checks: gathers what they judge, each thing once. Decides nothing, changes nothing."""

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from cortex.cli.doctor.examination import DEADLINE_S, Fact, in_thread
from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.host import (
    ROOT,
    SERVICES_USER,
    FileState,
    Identity,
    by_permission,
    environment_of,
    file_state,
    group_ids,
    home_of,
    identity_of,
    look_into,
    text_of,
)
from cortex.cli.doctor.local_call import get, has_certificate, place_of
from cortex.cli.doctor.node.engine import Unit
from cortex.cli.doctor.node.gpu import VENDORS, GpuLook, Smi
from cortex.cli.doctor.port import CLOSED, PortState, look_at
from cortex.cli.doctor.program import Programs
from cortex.contract.error import ConfigError
from cortex.contract.instance import START_ID_HEADER
from cortex.kit.clock import Clock
from cortex.kit.credential import VARIABLE as CREDENTIALS
from cortex.kit.credential import as_the_unit
from cortex.kit.fleet_token import fleet_token
from cortex.kit.settings import drop_ins, find_config
from cortex.neuron.environment import engine_environment, state_path
from cortex.neuron.offer import Offer, find_offer
from cortex.neuron.process.systemd import SystemdUnit, missing_file
from cortex.neuron.settings import DROP_INS, NeuronSettings, load_neuron_settings
from cortex.neuron.state_dir import Record

STEPS = 4
UNKNOWN = "?"
SERVICE = "cortex-neuron"
UNIT = f"{SERVICE}.service"
STATE = Path("/var/lib/cortex-neuron")
"""The user and the state directory of the unit."""
DEVICE_FILES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "kfd", "dri/renderD*")
RULES = ("etc/polkit-1/rules.d", "usr/share/polkit-1/rules.d", "usr/local/share/polkit-1/rules.d")
MOST_FILES = 10_000
"""So many model files are looked at for the largest one."""


class Configured(NamedTuple):
    """The file that was found (None: none, and all is by default), and what it and the environment say."""

    path: Path | None
    settings: NeuronSettings


class Running(NamedTuple):
    """The neuron on the configured port: what it says when asked whether it is ready; empty: none is there."""

    version: str = ""
    ready: str = ""


class NodeLook:
    """What there is to see of this host with this configuration; belongs to one event loop."""

    def __init__(
        self,
        config: Path | None,
        env: Mapping[str, str],
        cwd: Path,
        home: Path,
        clock: Clock,
        *,
        root: Path = ROOT,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """``deadline_s``: of a check, which may ask somebody else a few times."""
        self.step_s = deadline_s / STEPS
        self.env = env
        self.clock = clock
        self.root = root
        self.home = home
        self.programs = Programs(env)
        self._config = config
        self._cwd = cwd
        self.configured = Fact(self._configured)
        self.running = Fact(self._running)
        self.port = Fact(self._port)
        self.offer = Fact(self._offer)
        self.gpu = Fact(self._gpu)
        self.units = Fact(self._units)
        self.largest = Fact(self._largest)

    def find(self) -> Configured:
        """Read the configuration. Raises: ConfigError, and PermissionError where this user may not."""
        with by_permission():
            path = find_config(
                "neuron.toml",
                explicit=self._config,
                env=self.env,
                env_key="CORTEX_NEURON_CONFIG",
                cwd=self._cwd,
                home=self.home,
                etc=self.root / "etc/cortex",
            )
        if path is not None:
            look_into(path, path.parent / DROP_INS)
        look_into(*drop_ins(path, DROP_INS))
        self.env = as_the_unit(self.env, UNIT, path, self.root)
        return Configured(path, load_neuron_settings(path, self.env))

    async def _configured(self) -> Configured:
        try:
            return await in_thread(self.find)
        except ConfigError:
            raise Skip("the configuration cannot be used: see config.file") from None

    async def identity(self) -> Identity:
        """Return who runs the neuron, or would."""
        found = identity_of(await self.pid(), SERVICE, self.root)
        if found.whence != SERVICES_USER:
            return found
        with contextlib.suppress(Skip):  # its unit gives it more groups than it has by itself
            said = await self.programs.run("systemctl", "show", "--value", "-p", "SupplementaryGroups", SERVICE)
            return found._replace(gids=found.gids | group_ids(said.out.split()))
        return found

    async def surroundings(self) -> tuple[Mapping[str, str], Path]:
        """Return environment and home of the neuron: of its process, where that is to be seen, or as they would be."""
        pid, identity = await self.pid(), await self.identity()
        env = await in_thread(environment_of, pid, self.root) if pid else None
        if env is not None:
            return env, Path(env.get("HOME") or home_of(identity.name) or "/")
        if identity.name != SERVICE:
            return self.env, self.home
        home = home_of(SERVICE) or STATE
        given = {key: self.env[key] for key in (CREDENTIALS,) if key in self.env}
        return {"HOME": str(home), "STATE_DIRECTORY": str(STATE), **given}, home

    async def state_path(self) -> Path:
        """Return where the neuron keeps its state, as a service or started by hand."""
        return state_path((await self.configured()).settings.state_dir, *await self.surroundings())

    async def pid(self) -> int:
        """Return the neuron that runs, where its number is to be seen; else 0."""
        with contextlib.suppress(Skip, PermissionError):
            return (await self.port()).pid if (await self.running()).ready else 0
        return 0

    def engine_pids(self, state: Path) -> frozenset[int]:
        """Return the processes that the neuron has written down as its engines; none where that is not to be read."""
        found = set()
        for file in (state / "engine").glob("*.json"):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found.add(msgspec.json.decode(file.read_bytes(), type=Record).handle.pid)
        return frozenset(found)

    async def _port(self) -> PortState:
        settings = (await self.configured()).settings
        state = await in_thread(look_at, settings.host, settings.port, self.root)
        return state if not state.refusal else state._replace(version=(await self.running()).version)

    async def _running(self) -> Running:
        settings = (await self.configured()).settings
        if not settings.port:
            return Running()
        place = place_of(settings.host, settings.port)
        url = f"{'https' if settings.tls_cert else 'http'}://{place}"
        live = await in_thread(get, f"{url}/readyz", {}, self.step_s)
        if live is None or START_ID_HEADER not in live[2]:
            cert = settings.tls_cert if settings.tls_client_ca else None
            shows = cert is not None and await in_thread(has_certificate, place, cert, self.step_s)
            return Running(UNKNOWN, CLOSED) if shows else Running()
        token = await self._token(settings)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        told = await in_thread(get, f"{url}/discovery", headers, self.step_s)
        version = UNKNOWN
        if told is not None and told[0] == 200:
            with contextlib.suppress(msgspec.MsgspecError, KeyError, TypeError):
                version = str(msgspec.json.decode(told[1])["neuron_version"]) or UNKNOWN
        return Running(version, "ready" if live[0] == 200 else "starting")

    async def _token(self, settings: NeuronSettings) -> str | None:
        """Return the credential to show, None where there is none or this user may not have it.

        What the neuron's own environment has is not asked: whether one runs is not known yet.
        """
        try:
            return await in_thread(fleet_token, settings.token_file, self.env)
        except ConfigError:
            return None

    async def _offer(self) -> Offer:
        settings = (await self.configured()).settings
        without_secrets = msgspec.structs.replace(settings, token_file=None)  # which is another check's
        try:
            return await find_offer(without_secrets, self.env)
        except ConfigError as exc:
            raise Skip(exc.message) from None

    async def _gpu(self) -> GpuLook:
        found, offer = await in_thread(lambda: (bus_of(self.root), files_of(self.root))), await self.offer()
        return GpuLook(
            on_bus=found[0],
            module=module_of(self.root),
            driver=offer.inventory.driver_version if any(found[0].get("NVIDIA", ())) else None,
            devices=tuple((device.kind, device.name) for device in offer.inventory.devices),
            files=found[1],
            smi=await self._smi() if found[0].get("NVIDIA") else None,
            troubles=offer.inventory.troubles,
        )

    async def _smi(self) -> Smi | None:
        try:
            query = "--query-gpu=uuid,persistence_mode"
            said = await self.programs.run("nvidia-smi", query, "--format=csv,noheader")
        except Skip:
            return None
        rows = [line.split(", ") for line in said.out.splitlines() if line.count(", ") == 1] if not said.code else []
        return Smi(said.code, tuple((row[0], row[1]) for row in rows))

    async def _units(self) -> list[Unit]:
        entries = [each for each in (await self.configured()).settings.harnesses if each.systemd_unit]
        env = engine_environment(self.env)

        async def one(harness: str, name: str) -> Unit:
            state = await SystemdUnit(name, env).state()
            return Unit(harness, name, state, None if state is None else await missing_file(state))

        return list(await asyncio.gather(*(one(each.name, each.systemd_unit or "") for each in entries)))

    async def _largest(self) -> tuple[Path, int] | None:
        folders = (await self.configured()).settings.model_dirs
        return await in_thread(largest_in, tuple(map(Path, folders)))


def largest_in(folders: tuple[Path, ...]) -> tuple[Path, int] | None:
    """Return the largest model file below some directories, and its bytes."""
    found: tuple[Path, int] | None = None
    for folder in folders:
        for count, file in enumerate(folder.rglob("*.gguf")):
            with contextlib.suppress(OSError):
                size = file.stat().st_size
                if found is None or size > found[1]:
                    found = file, size
            if count >= MOST_FILES:
                break
    return found


def bus_of(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the addresses of GPUs on the PCI bus, by vendor; those that a virtual machine has are left out."""
    found: dict[str, list[str]] = {}
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = VENDORS.get(text_of(device / "vendor") or "")
        is_display = (text_of(device / "class") or "").startswith("0x03")
        if vendor is not None and is_display and (device / "driver").resolve().name != "vfio-pci":
            found.setdefault(vendor, []).append(device.name)
    return {vendor: tuple(addresses) for vendor, addresses in found.items()}


def files_of(root: Path) -> dict[str, FileState]:
    """Return the device files of GPUs, by their name below ``/dev``."""
    found = {}
    for pattern in DEVICE_FILES:
        for file in (root / "dev").glob(pattern):
            state = file_state(file)
            if state is not None:
                found[str(file.relative_to(root / "dev"))] = state
    return found


def module_of(root: Path) -> str:
    """Return the version of NVIDIA's kernel module; empty when it is not loaded.

    ``NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build``
    """
    words = (text_of(root / "proc/driver/nvidia/version") or "").splitlines()[:1]
    numbers = [word for word in " ".join(words).split() if word[0].isdigit() and word.count(".") >= 1]
    return numbers[0] if numbers else ""


def rules_of(root: Path, user: str) -> list[str] | None:
    """Return polkit's rules that name a user; None when a directory of them cannot be read."""
    found = []
    for folder in RULES:
        try:
            for file in sorted((root / folder).iterdir()):
                text = file.read_text(errors="replace") if file.suffix == ".rules" else ""
                if user in text:
                    found.append(text)
        except FileNotFoundError:
            continue
        except PermissionError:
            return found or None
    return found


def label_of(program: Path) -> str:
    """Return the SELinux type of a file; empty where it has none."""
    try:
        label = os.getxattr(program, "security.selinux").decode(errors="replace").strip("\0")
    except OSError:
        return ""
    return label.split(":")[2] if label.count(":") >= 2 else ""


def programs_of(settings: NeuronSettings, env: Mapping[str, str]) -> list[Path]:
    """Return the programs that harness entries name, where they are."""
    found = (shutil.which(each.binary, path=env.get("PATH")) for each in settings.harnesses if each.binary)
    return [Path(program).resolve() for program in found if program]


def group_limit_of(pid: int, root: Path) -> int | None:
    """Return how many bytes the control group of a process (0: this one) may have, by its limits and its parents'."""
    text = text_of(root / "proc" / (str(pid) if pid else "self") / "cgroup") or ""
    place = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "")
    limits = []
    folder = root / "sys/fs/cgroup" / place.strip("/")
    while folder != root / "sys/fs" and folder != folder.parent:
        told = text_of(folder / "memory.max") or ""
        if told.isdigit():
            limits.append(int(told))
        folder = folder.parent
    return min(limits, default=None)


async def addresses_of(host: str) -> tuple[tuple[str, ...], str]:
    """Return the addresses of a host, or why it has none."""
    try:
        found = await in_thread(socket.getaddrinfo, host, None)
    except (OSError, UnicodeError) as exc:
        return (), getattr(exc, "strerror", None) or "not a host's name"
    return tuple(dict.fromkeys(str(each[4][0]) for each in found)), ""


def is_here(address: str) -> bool:
    """Tell whether this host has an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
