"""Puts a neuron together and runs it until it is told to stop: the one file that names concrete classes.

In this order: the port, so that a second neuron fails at once; the state directory; then the API, which says
``starting`` until devices and engines are known and it is decided which engines found running go on.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

from cortex import __version__
from cortex.contract.error import ConfigError
from cortex.contract.node import HarnessDetail
from cortex.kit import place
from cortex.kit.clock import Clock, SystemClock
from cortex.kit.fleet_token import fleet_token
from cortex.kit.handed_socket import Handed, close_all, shown
from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.kit.loop_lag import LoopLag
from cortex.kit.notify import Notifier
from cortex.kit.serving import Serving, serving
from cortex.kit.startup import obey_hangup
from cortex.kit.task import TaskOwner
from cortex.kit.tls import ServerTls, TlsFiles
from cortex.kit.tls_watch import watch_tls
from cortex.kit.tracer import open_tracer
from cortex.kit.watchdog import Watchdog
from cortex.neuron.admission import Admission
from cortex.neuron.adoption import find_engines
from cortex.neuron.api import Api
from cortex.neuron.caller import Door
from cortex.neuron.cuda_check import CudaCheck
from cortex.neuron.discovery.amd import AmdProbe
from cortex.neuron.discovery.cpu import CpuProbe
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.discovery.intel import IntelProbe
from cortex.neuron.discovery.nvidia_smi import NvidiaSmiProbe
from cortex.neuron.discovery.nvml import NvmlProbe
from cortex.neuron.discovery.tegra import TegraProbe
from cortex.neuron.endpoint import Endpoints, bracketed
from cortex.neuron.environment import engine_environment, state_path
from cortex.neuron.event import EventCounter
from cortex.neuron.harness.interface import Harness, Site
from cortex.neuron.harness.registry import build
from cortex.neuron.held_file import NOBODY, HeldFile
from cortex.neuron.instance import Instance, pids_of
from cortex.neuron.inventory import Inventory
from cortex.neuron.lease import Leases, engine_counts, longest_ttl_s, serving_now
from cortex.neuron.life import LifeSupport
from cortex.neuron.node import Node
from cortex.neuron.probe_choice import FirstThatFinds
from cortex.neuron.rediscovery import Rediscovery, gpu_kinds, probed
from cortex.neuron.reloading import Reloading, Reread
from cortex.neuron.sampler import Sampler
from cortex.neuron.settings import HarnessEntry, NeuronSettings
from cortex.neuron.state_dir import StateDir, numbers_in
from cortex.neuron.supervisor import Supervisor
from cortex.neuron.turnover import Limits
from cortex.residency.lease_book import LeaseBook

log = logging.getLogger(__name__)

ROOT = Path("/")
LOOPBACK = "127.0.0.1"
GRACE_S = 5.0
"""How long calls that are being answered have at the end."""


def serve(
    settings: NeuronSettings,
    *,
    reread: Reread | None = None,
    handed: Handed | None = None,
    notifier: Notifier | None = None,
) -> int:
    """Run a neuron until SIGTERM or SIGINT; return the exit code.

    ``reread`` reads the settings again, at SIGHUP. ``handed``: the socket to listen on, where somebody has opened it.

    Raises: ConfigError for a port or state directory in use, and for what else cannot be as configured.
    """
    env = os.environ
    listener = _listener(settings, handed or {})
    with listener:
        token = fleet_token(settings.token_file, env)
        state = StateDir(state_path(settings.state_dir, env, place.home()))
        try:
            neuron = Neuron(settings, state, token, env, reread, notifier or Notifier())
            return asyncio.run(neuron.run(listener))
        finally:
            state.close()


class Neuron:
    """One neuron process, from its first task to its last."""

    def __init__(
        self,
        settings: NeuronSettings,
        state: StateDir,
        token: str | None,
        env: Mapping[str, str],
        reread: Reread | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self._settings = settings
        self._state = state
        self._notifier = notifier or Notifier()
        self._env = engine_environment(env)
        self._clock = SystemClock()
        self._reloading = Reloading(reread or (lambda: settings), self._clock.epoch_s)
        self._started_s = self._clock.now_s()
        self._events = EventCounter(secrets.token_hex(8))
        self._instances: dict[str, Instance] = {}
        self._sampler = a_sampler(self._clock, settings.cpu_device, self._engine_pids)
        self._sites: list[Site] = []
        self._rediscovery: Rediscovery | None = None
        self._http = HttpClient(user_agent=f"cortex-neuron/{__version__}")
        self._tasks = TaskOwner(on_crash=self._crash)
        self._supervisor: Supervisor | None = None
        self._cuda = CudaCheck()
        self._told = asyncio.Event()
        self._exit_code = 0
        self._tls = own_tls(settings)
        self._lag = LoopLag(self._clock.now_s)
        self._tracer = open_tracer(
            settings.trace,
            env,
            service="cortex-neuron",
            instance=self._events.start_id,
            clock=self._clock,
            rng=Random(),
        )
        relayed = [entry.name for entry in settings.harnesses if entry.relay]
        self._api = Api(
            Door(token, settings.trusted_networks),
            Endpoints(settings.host, settings.advertise_host, relayed),
            self._events,
            self._lag,
            self._tracer,
            self._tls,
            self._reloading,
        )

    async def run(self, listener: socket.socket) -> int:
        """Serve until told to stop; return the exit code. Raises: ConfigError."""
        self._obey_signals()
        watchdog = self._watchdog = Watchdog(self._notifier, asyncio.get_running_loop(), status=self._status)
        watchdog.start()
        self._lag.start(asyncio.get_running_loop())
        try:
            tls = None if self._tls is None else self._tls.context
            async with serving(self._api, listener, grace_s=GRACE_S, tls=tls) as server:
                scheme = "http" if tls is None else "https"
                log.info("listening on %s://%s:%d", scheme, bracketed(server.host), server.port)
                if self._tls is not None:
                    self._tasks.start(watch_tls((self._tls,)), "watch certificates")
                await self._live(server)
        finally:
            self._lag.stop()
            await self._api.close()
            await self._tasks.stop()
            await self._http.close()
            self._sampler.close()
            if self._tracer is not None:
                await self._tracer.close()
            watchdog.stop()
            self._notifier.close()
        return self._exit_code

    async def _live(self, server: Serving) -> None:
        """Start, and go on until told to stop or until the server ends. Raises: ConfigError."""
        starting = self._tasks.start(self._start(), "start")
        told = self._tasks.start(self._told.wait(), "until told to stop")
        try:
            await asyncio.wait((starting, told, server.ended), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled() and starting.exception() is None:
                trouble = starting.result()
                if trouble is not None:
                    raise trouble
                self._watchdog.takes_its_time = False
                self._notifier.ready(self._status())
                await asyncio.wait((told, server.ended), return_when=asyncio.FIRST_COMPLETED)
            if server.ended.done():
                log.error("the server ended by itself")
                self._exit_code = 1
        finally:
            await self._stop(starting)

    async def _start(self) -> ConfigError | None:
        """Find out what there is and go on with engines that run; return what is wrong with the configuration."""
        settings, sampler = self._settings, self._sampler
        sampler.keep_numbers(numbers_in(self._state.records()))
        inventory = await sampler.discover()
        await sampler.refresh()
        try:
            harnesses = build(settings.harnesses, lambda entry: self._site(entry, inventory))
        except ConfigError as error:
            return error
        details = await asyncio.gather(*(probed(harness) for harness in harnesses))
        _tell_unusable(details)
        self._cuda.tell(details, inventory.driver_version, inventory.cuda_driver_version, inventory.devices)
        devices = inventory.devices
        admission = Admission(devices, settings.headroom_mb, lambda: sampler.latest, lambda: pids_of(self._instances))
        found = await find_engines(self._state, harnesses)
        leases = self._leases(max((one.record.generation for one in found), default=0))
        support = LifeSupport(
            admission=admission,
            sampler=sampler,
            state=self._state,
            clock=self._clock,
            changed=self._events.bump,
            event=lambda: self._events.event,
            load_timeout_s=settings.load_timeout_s,
            start_id=self._events.start_id,
            holders=leases,
        )
        limits = Limits(settings.drain_timeout_s, settings.evict_grace_s, settings.max_wait_s)
        supervisor = self._supervisor = Supervisor(harnesses, details, devices, self._instances, support, limits)
        await supervisor.adopt(found)
        node = self._api.node = Node(
            inventory,
            details,
            supervisor,
            sampler,
            admission,
            self._events,
            self._clock,
            leases,
            headroom_mb=settings.headroom_mb,
            labels=settings.labels,
            started_s=self._started_s,
        )
        self._keep_current(supervisor, harnesses, details, node)
        log.info("ready: %s", ", ".join(f"{device.name} ({device.vram_total_mb} MiB)" for device in devices))
        return None

    def _keep_current(
        self, supervisor: Supervisor, harnesses: Sequence[Harness], details: Sequence[HarnessDetail], node: Node
    ) -> None:
        """Sample from now on, and look again for what may change."""

        def renewed(inventory: Inventory, told: Sequence[HarnessDetail]) -> None:
            self._cuda.tell(told, inventory.driver_version, inventory.cuda_driver_version, inventory.devices)
            supervisor.renew(inventory.devices, told)
            node.renew(inventory, told)
            self._events.bump()

        def inventory_changed(inventory: Inventory) -> None:
            for site in self._sites:
                site.gpu_kinds, site.devices = gpu_kinds(inventory), inventory.devices

        def sampled() -> None:
            supervisor.sampled()
            node.leases.sampled()
            rediscovery.sampled()

        rediscovery = Rediscovery(
            self._sampler,
            harnesses,
            details,
            is_used=supervisor.is_used,
            inventory_changed=inventory_changed,
            renewed=renewed,
        )
        self._tasks.start(self._sampler.run(sampled), "sampler")
        self._tasks.start(rediscovery.run(), "rediscovery")
        self._rediscovery = rediscovery
        self._tasks.start(node.leases.run(supervisor.look), "leases")

    def _leases(self, found_up_to: int) -> Leases:
        """Open the book of leases; of engines up to this generation an earlier process may have had holders."""
        settings, held = self._settings, HeldFile(self._state)
        book = LeaseBook(
            ttl_s=settings.lease_ttl_s,
            cancel_settle_s=settings.cancel_settle_s,
            known_from_s=self._started_s + longest_ttl_s(self._state, settings.lease_ttl_s),
        )
        return Leases(
            book,
            self._events,
            self._clock,
            lambda: serving_now(self._instances, lambda one: held.held_before(one) if one <= found_up_to else NOBODY),
            lambda: engine_counts(self._instances),
            held,
        )

    async def _stop(self, starting: asyncio.Task[ConfigError | None]) -> None:
        self._watchdog.takes_its_time = True
        self._watchdog.look()
        self._notifier.stopping("stopping")
        starting.cancel()
        await asyncio.wait((starting,))
        if self._api.node is not None:
            self._api.node.feed.close()
        if self._supervisor is not None:
            await self._supervisor.stop(keep_engines=self._settings.keep_engines)

    def _site(self, entry: HarnessEntry, inventory: Inventory) -> Site:
        site = Site(
            bind_host=LOOPBACK if entry.relay else self._settings.host,
            is_tethered=not self._settings.keep_engines,
            env=self._env,
            model_dirs=self._settings.model_dirs,
            gpu_kinds=gpu_kinds(inventory),
            cores=len(os.sched_getaffinity(0)),
            http=self._http,
            devices=inventory.devices,
        )

        self._sites.append(site)
        return site

    def _engine_pids(self) -> frozenset[int]:
        return frozenset(pids_of(self._instances).values())

    def _crash(self, _name: str, _error: BaseException) -> None:
        """End the process: a neuron without its sampler, say, would tell what is no longer true."""
        self._exit_code = 1
        self._told.set()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._be_told, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(
            signal.SIGUSR2, log.warning, "SIGUSR2 is for gateways: a restart keeps a neuron's engines"
        )
        obey_hangup()

    def _be_told(self, number: signal.Signals) -> None:
        """Stop at the first signal; at the second, cut what a stop still waits for."""
        if not self._told.is_set():
            fate = "keep running" if self._settings.keep_engines else "are stopped"
            log.info("%s: stopping; engines %s", number.name, fate)
            self._told.set()
        elif self._supervisor is not None:
            self._supervisor.hurry()

    def _reload(self) -> None:
        """Read again what can be while it runs, and look again what there is."""
        self._notifier.reloading()
        settings = self._settings = self._reloading.renewed(self._settings)
        logging.getLogger("cortex").setLevel(settings.log_level.upper())
        if self._tls is not None:
            self._tls.renew_or_tell()
        if self._rediscovery is not None:
            self._rediscovery.want()
        try:
            self._api.door = Door(fleet_token(settings.token_file, os.environ), settings.trusted_networks)
            log.info("SIGHUP: the credential was read again, devices and harnesses are looked for")
        except ConfigError as error:
            self._reloading.failed("credential", error)
        if not self._told.is_set() and not self._watchdog.takes_its_time:
            self._notifier.ready(self._status())

    def _status(self) -> str:
        """Say in a sentence how things are, for the service manager."""
        states = [instance.status for instance in self._instances.values()]
        loaded, loading = states.count("loaded"), states.count("loading")
        return f"{loaded} models loaded, {loading} loading" if self._api.node is not None else "starting"


def _listener(settings: NeuronSettings, handed: Handed) -> socket.socket:
    """Return the socket that was handed over, else one as configured. Raises: ConfigError."""
    given = handed.get("neuron", [])
    if len(given) > 1:
        close_all(handed)
        raise ConfigError(f"{len(given)} sockets were handed over: a neuron listens on one, so give one ListenStream=")
    if given:
        log.info("the socket %s that was handed over is used, not %s:%d", shown(given[0]), settings.host, settings.port)
        return given[0]
    return bind(settings.host, settings.port)


def a_sampler(clock: Clock, cpu_device: bool | None, pids: Callable[[], frozenset[int]]) -> Sampler:
    """Return a sampler with every probe that there is."""
    nvidia = FirstThatFinds(NvmlProbe(ROOT), NvidiaSmiProbe(ROOT), TegraProbe(ROOT))
    probes = (nvidia, AmdProbe(ROOT), IntelProbe(ROOT), CpuProbe(ROOT))
    return Sampler(probes, HostReader(ROOT), clock, pids, cpu_device=cpu_device)


def own_tls(settings: NeuronSettings) -> ServerTls | None:
    """Return what the API speaks, None for no TLS. Raises: ConfigError."""
    if settings.tls_cert is None:
        return None
    return ServerTls(TlsFiles(cert=settings.tls_cert, key=settings.tls_key, ca=settings.tls_client_ca))


def _tell_unusable(details: Iterable[HarnessDetail]) -> None:
    for detail in details:
        if not detail.usable:
            log.warning("harness %s cannot be used: %s", detail.name, detail.why_not)
