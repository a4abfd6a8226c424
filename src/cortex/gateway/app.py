"""Puts a gateway together, runs it and stops it: the one file that names concrete classes of both planes.

Start: ports first, so that a busy one is told before anything else happens; then the keys, without which nobody is let
in; then the doors; then polling. Stop: no new connections, running answers may finish for a while, then each gets an
error in its dialect; loads go on in the neurons.
"""

import asyncio
import gc
import importlib.util
import logging
import resource
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client.core import Metric

from cortex import __version__
from cortex.contract.error import ConfigError, CortexError
from cortex.contract.profile import Profile
from cortex.fleet.event import CatalogueChanged
from cortex.gateway.admin.api import AdminApi
from cortex.gateway.admin.feed import FleetFeed
from cortex.gateway.catalogue_watch import CatalogueWatch, Read
from cortex.gateway.control.assembly import build_control
from cortex.gateway.dashboard_opening import GatewayDashboard
from cortex.gateway.data.access import Access
from cortex.gateway.data.access_log import AccessLog
from cortex.gateway.data.asgi import AsgiDoor
from cortex.gateway.data.background import BackgroundCalls
from cortex.gateway.data.dialect_page import DialectPages
from cortex.gateway.data.front import Front, FrontLimit
from cortex.gateway.data.image_fetch import ImageFetch, ImagePolicy
from cortex.gateway.data.metric import gauge
from cortex.gateway.data.metrics_page import MetricsRouter
from cortex.gateway.data.need import NeedFetcher
from cortex.gateway.data.page import FleetPages
from cortex.gateway.data.plane import CallLimit, Plane
from cortex.gateway.data.response_shelf import MEMORY_LIMIT, SHARED_PATIENCE_S, MemoryShelf, ResponseKeeper
from cortex.gateway.data.router import DataRouter
from cortex.gateway.data.token_count import TokenCounter
from cortex.gateway.data.upstream import Upstream
from cortex.gateway.key_opening import GatewayKeys
from cortex.gateway.metric_opening import GatewayMetrics
from cortex.gateway.ports import Claims, ShelfLimit
from cortex.gateway.settings import GatewaySection, GatewaySettings, host_port
from cortex.gateway.store_opening import open_store
from cortex.gateway.usage_opening import GatewayUsage
from cortex.kit.clock import Clock, SystemClock
from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.kit.startup import obey_hangup
from cortex.kit.task import TaskOwner

log = logging.getLogger(__name__)

GC_THRESHOLDS = (20_000, 20, 50)
"""The hot path makes no cycles; fewer collections mean fewer pauses."""

STORE_GRACE_S = 2.0
"""How long a stop waits for responses that are still being written to the store."""


class Gateway:
    """One gateway. Belongs to the event loop in which it is made; binds its ports at once.

    Raises: ConfigError for a port that cannot be had or a token file that cannot be read.
    """

    def __init__(self, settings: GatewaySettings, profiles: Iterable[Profile], *, clock: Clock, rng: Random) -> None:
        section, loop = settings.gateway, asyncio.get_running_loop()
        self.id = section.gateway_id or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._tasks = TaskOwner()
        self._store = open_store(settings.store, clock, f"cortex {self.id}")
        # Opened once more for what requests put there, so that nothing large or slow makes the claims wait.
        self._response_store = open_store(settings.store, clock, f"cortex {self.id} responses")
        self._control = build_control(
            settings,
            profiles,
            clock=clock,
            tasks=self._tasks,
            rng=rng,
            gateway_id=self.id,
            claims=self._claims(),
        )
        self._sockets = _bind(section)
        self.port: int = self._sockets[0].getsockname()[1]
        self.metrics_port: int = self._sockets[1].getsockname()[1]
        self.metrics = GatewayMetrics(self._control, section, loop, clock.now_s, gateway_id=self.id)
        self.metrics.add(self._gauges)
        self._usage = GatewayUsage(settings.store, clock, self._tasks, self.id)
        self.metrics.add(self._usage.collect)
        has_only_failures = not section.access_log or section.log_level not in ("debug", "info")
        self._access_log = AccessLog(loop, section.log_format, has_only_failures=has_only_failures)
        self._shelf = shelf = self._make_shelf(clock)
        self._background = BackgroundCalls(shelf, self._tasks)
        self._plane = Plane(
            loop,
            _call_limit(section),
            self._control.leases,
            Upstream(
                loop,
                self._tasks,
                connect_timeout_s=section.connect_timeout_s,
                idle_limit_s=section.pool_idle_s,
                now_s=clock.now_s,
                via=f"1.1 cortex-{secrets.token_hex(8)}".encode(),
            ),
            (self.metrics.requests, self._access_log, *self._usage.recorders),
            id_prefix=f"req-{secrets.token_hex(4)}".encode(),
            epoch_s=clock.epoch_s,
            tasks=self._tasks,
            fetcher=NeedFetcher(ImageFetch(_image_policy(section)), shelf),
            keep=self._background.keep,
        )
        access = Access(section.trusted_networks, section.trusted_proxies)
        pages = FleetPages(self._control.reads, created_s=clock.epoch_s(), is_stopping=lambda: self._door.is_stopping)
        self._client = HttpClient(user_agent=f"cortex/{__version__}")
        counter = TokenCounter(self._control.reads, self._client)
        more = DialectPages(self._control.reads, counter, shelf, self._background, created_s=clock.epoch_s())
        limit = _front_limit(section)
        start_id = f"{round(clock.epoch_s() * 1000):x}"
        self._feed = FleetFeed(self._control.admin, clock, self._tasks, start_id=start_id)
        self._keys = GatewayKeys(settings, self._store, self._tasks)
        admin = AsgiDoor(
            AdminApi(self._control.admin, self._feed, clock, self._keys.keys, self._usage.reports), self._tasks
        )
        self._dashboard = GatewayDashboard(
            self._control.admin,
            clock,
            self._tasks,
            gateway_id=self.id,
            hosts=section.allowed_hosts,
            book=self._keys.book,
            keys=self._keys.keys,
            usage=self._usage.reports,
        )
        dashboard = AsgiDoor(self._dashboard, self._tasks)
        router = DataRouter(self._plane, pages, more, access, admin, self._keys.book, dashboard)
        self._door = Front(router, limit, loop)
        self._metrics_door = Front(MetricsRouter(self.metrics.requests, access), limit, loop)

    async def start(self) -> None:
        """Open both doors and begin to poll; does not wait for the neurons."""
        await self._keys.start()
        await self._metrics_door.start([self._sockets[1]])
        await self._door.start([self._sockets[0]])
        self._plane.start()
        self.metrics.start()
        self._usage.start()
        await self._control.start()

    async def stop(self, grace_s: float) -> None:
        """Finish within ``grace_s`` and let go of everything."""
        self._feed.close()
        self._dashboard.close()
        self._control.admin.close()
        await asyncio.gather(self._door.stop(grace_s), self._background.finish(grace_s))
        self._plane.stop()
        self.metrics.stop()
        await self._control.stop()
        await self._metrics_door.stop(0)
        await asyncio.gather(self._shelf.flush(STORE_GRACE_S), self._usage.finish())
        await self._tasks.stop()
        await self._client.close()
        await self._usage.close()
        for store in (self._store, self._response_store):
            if store is not None:
                await store.close()
        self._access_log.flush()

    def in_flight(self) -> int:
        """Return how many requests are running or waiting, by the books of both planes."""
        dispatcher = self._control.dispatcher
        granted = sum(count for _, _, count in dispatcher.in_flight())
        return max(len(self._plane.running), granted + dispatcher.waiting())

    def take_catalogue(self, profiles: Iterable[Profile]) -> None:
        """Go on with another catalogue; running requests are not touched."""
        self._control.leases.post(CatalogueChanged(tuple(profiles)))

    def _make_shelf(self, clock: Clock) -> ResponseKeeper:
        if self._response_store is None:
            return ResponseKeeper(MemoryShelf(MEMORY_LIMIT, clock.now_s), self._tasks)
        from cortex.gateway.store.response import StoredResponses

        shelf = StoredResponses(self._response_store, ShelfLimit())
        return ResponseKeeper(shelf, self._tasks, patience_s=SHARED_PATIENCE_S)

    def _claims(self) -> Claims | None:
        if self._store is None:
            return None
        from cortex.gateway.store.claim import StoredClaims

        return StoredClaims(self._store, f"{self.id}/{secrets.token_hex(4)}")

    def _gauges(self) -> Iterator[Metric]:
        connections = [((), float(len(self._door.connections)))]
        yield gauge("cortex_client_connections", "Open connections of clients.", (), connections)
        if self._store is not None:
            yield gauge(
                "cortex_store_up", "1: the store answered when it was last asked.", (), [((), float(self._store.is_up))]
            )


def serve(
    settings: GatewaySettings, profiles: Iterable[Profile], reload: Read | None = None, watched: Path | None = None
) -> int:
    """Run a gateway until SIGTERM or SIGINT; return the exit code.

    SIGHUP reads the catalogue anew with ``reload``, and so does a change of the file ``watched``.
    """
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory(settings.gateway.event_loop)) as runner:
        runner.run(_serve(settings, profiles, reload, watched))
    return 0


async def _serve(
    settings: GatewaySettings, profiles: Iterable[Profile], reload: Read | None, watched: Path | None
) -> None:
    clock = SystemClock()
    gateway = Gateway(settings, profiles, clock=clock, rng=Random())
    loop, stopping, at_once = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (at_once if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watch = CatalogueWatch(watched, reload or (lambda: profiles), gateway.take_catalogue, clock=clock)
    gateway.metrics.add(watch.collect)
    loop.add_signal_handler(signal.SIGHUP, watch.reload)
    obey_hangup()
    await gateway.start()
    watching = TaskOwner()
    if settings.gateway.watch_models and watched is not None:
        watching.start(watch.run(), "watch the catalogue")
    section = settings.gateway
    api, metrics = _at(section.listen, gateway.port), _at(section.metrics_listen, gateway.metrics_port)
    log.info("gateway %s %s: API on %s, metrics on %s", gateway.id, __version__, api, metrics)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await stopping.wait()
    await watching.stop()
    log.info("stopping: running requests have %g s to finish", section.shutdown_grace_s)
    await _finish(gateway, section.shutdown_grace_s, at_once)


async def _finish(gateway: Gateway, grace_s: float, at_once: asyncio.Event) -> None:
    """Stop with grace, or without it from the moment a second signal comes."""
    tasks = TaskOwner()
    ending = tasks.start(gateway.stop(grace_s), "stop")
    hurrying = tasks.start(at_once.wait(), "second signal")
    await asyncio.wait((ending, hurrying), return_when=asyncio.FIRST_COMPLETED)
    await tasks.stop()
    if ending.cancelled():
        await gateway.stop(0)
    else:
        ending.result()


def _bind(section: GatewaySection) -> tuple[socket.socket, socket.socket]:
    if section.listen == section.metrics_listen and host_port(section.listen)[1]:
        raise ConfigError(f"[gateway] listen and metrics_listen are both {section.listen}: give one another port")
    api = bind(*host_port(section.listen), reuse_port=section.reuse_port)
    try:
        return api, bind(*host_port(section.metrics_listen))  # never shared: a scrape must meet the same gateway again
    except CortexError:
        api.close()
        raise


def _at(listen: str, port: int) -> str:
    """Return where a door really listens; port 0 took a free one."""
    return f"{listen.rpartition(':')[0]}:{port}"


def _call_limit(section: GatewaySection) -> CallLimit:
    return CallLimit(
        max_body_bytes=section.max_body_mb << 20,
        first_token_timeout_s=section.first_token_timeout_s,
        stall_timeout_s=section.stall_timeout_s,
        heartbeat_after_s=section.heartbeat_after_s,
        heartbeat_every_s=section.heartbeat_every_s,
        unstreamed_wait_s=section.unstreamed_wait_s,
    )


def _image_policy(section: GatewaySection) -> ImagePolicy:
    return ImagePolicy(is_on=section.fetch_images, hosts=section.image_hosts)


def _front_limit(section: GatewaySection) -> FrontLimit:
    return FrontLimit(
        max_header_bytes=section.max_header_kb << 10,
        keep_alive_s=section.keep_alive_s,
        client_stall_s=section.client_stall_s,
    )


def _loop_factory(wanted: str) -> Callable[[], Any] | None:
    """Return what makes the event loop: uvloop's where it is installed and not ruled out. Raises: ConfigError."""
    is_there = importlib.util.find_spec("uvloop") is not None
    if wanted == "asyncio" or (wanted == "auto" and not is_there):
        return None
    if not is_there:
        raise ConfigError('[gateway] event_loop: "uvloop" is not installed (the extra "fast" has it); use "auto".')
    import uvloop

    return uvloop.new_event_loop  # type: ignore[no-any-return, unused-ignore]


def _raise_file_limit() -> None:
    """Two descriptors per stream: systemd's soft default of 1024 would end at 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
