"""Puts a gateway together, starts and stops it: the one file that names concrete classes of both planes.

Start: ports first, so that a busy one is told before anything else happens; then the keys, without which nobody is let
in; then polling; then the doors. Stop: no new connections, running answers may finish for a while, then each gets an
error in its dialect; loads go on in the neurons.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from random import Random

from prometheus_client.core import Metric

from cortex import __version__
from cortex.contract.error import ConfigError, CortexError
from cortex.contract.profile import Profile
from cortex.fleet.desk import name_apart
from cortex.fleet.event import CatalogueChanged
from cortex.gateway.activity_opening import GatewayActivity
from cortex.gateway.admin.api import AdminApi
from cortex.gateway.admin.feed import FleetFeed
from cortex.gateway.control.assembly import build_control
from cortex.gateway.dashboard_opening import GatewayDashboard
from cortex.gateway.data.access import Access
from cortex.gateway.data.access_log import AccessLog
from cortex.gateway.data.asgi import AsgiDoor
from cortex.gateway.data.background import BackgroundCalls
from cortex.gateway.data.browser_rule import BrowserRule
from cortex.gateway.data.dialect_page import DialectPages
from cortex.gateway.data.door_room import DoorRoom
from cortex.gateway.data.front import Front, FrontLimit
from cortex.gateway.data.image_fetch import ImageFetch, ImagePolicy
from cortex.gateway.data.metric import gauge
from cortex.gateway.data.metrics_page import MetricsRouter
from cortex.gateway.data.need import NeedFetcher
from cortex.gateway.data.page import FleetPages
from cortex.gateway.data.plane import CallLimit, Plane
from cortex.gateway.data.record_queue import RecordQueue
from cortex.gateway.data.response_shelf import MEMORY_LIMIT, SHARED_PATIENCE_S, MemoryShelf, ResponseKeeper
from cortex.gateway.data.router import DataRouter
from cortex.gateway.data.token_count import TokenCounter
from cortex.gateway.data.upstream import Upstream
from cortex.gateway.key_opening import GatewayKeys
from cortex.gateway.metric_opening import GatewayMetrics
from cortex.gateway.ports import Claims, ShelfLimit
from cortex.gateway.quota_opening import GatewayQuota
from cortex.gateway.settings import GatewaySection, GatewaySettings, host_port
from cortex.gateway.store_opening import open_store
from cortex.gateway.tls_opening import GatewayTls, door_metrics
from cortex.gateway.trace_opening import GatewayTracing
from cortex.gateway.usage_opening import GatewayUsage
from cortex.kit.clock import Clock
from cortex.kit.handed_socket import Handed, close_all, shown
from cortex.kit.http_client import HttpClient
from cortex.kit.listener import bind
from cortex.kit.log import goes_to_journal
from cortex.kit.task import TaskOwner

log = logging.getLogger(__name__)

FLEET_S = 10.0
"""A gateway whose sockets were handed over opens its doors when it has asked every node, or after so long."""
MAX_SCRAPERS, MAX_SCRAPERS_PER_ADDRESS = 256, 64
"""Connections at the metrics door, which anybody can reach: descriptors are for requests. Half of them strangers
cannot take."""

STORE_GRACE_S = 2.0
"""How long a stop waits for responses that are still being written to the store."""


class Gateway:
    """One gateway. Belongs to the event loop in which it is made; binds its ports at once.

    ``handed``: sockets to listen on, ``api`` and ``metrics``, instead of binding what is configured. ``is_successor``:
    it takes the place of a process that has not ended yet, and must not go by its name. ``env``: where it is looked for
    OpenTelemetry's variables, and for systemd's journal.

    Raises: ConfigError for a port that cannot be had or a token file that cannot be read.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        profiles: Iterable[Profile],
        *,
        clock: Clock,
        rng: Random,
        handed: Handed | None = None,
        is_successor: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        section, loop = settings.gateway, asyncio.get_running_loop()
        self.id = section.gateway_id or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._tasks = TaskOwner()
        self.tls = GatewayTls(settings)
        self._tracing = GatewayTracing(settings.trace, env or {}, self.id, clock)
        self._store = open_store(settings.store, clock, f"cortex {self.id}")
        # Opened once more for what requests put there, so that nothing large or slow makes the claims wait.
        self._response_store = open_store(settings.store, clock, f"cortex {self.id} responses")
        self._control = build_control(
            settings,
            profiles,
            clock=clock,
            tasks=self._tasks,
            rng=rng,
            gateway_id=name_apart(self.id, secrets.token_hex(8)) if is_successor else self.id,
            claims=self._claims(),
            tls_of=self.tls.of_node,
            env=env,
            tracer=self._tracing.tracer,
        )
        self.sockets = _bind(section, handed or {})
        self.port, self.metrics_port = _port_of(self.sockets["api"]), _port_of(self.sockets["metrics"])
        self._records = records = RecordQueue(loop)
        self.metrics = GatewayMetrics(self._control, section, clock.now_s, gateway_id=self.id, settle=records.hand_over)
        self.metrics.add(self._gauges)
        self._usage = GatewayUsage(settings.store, clock, self._tasks, self.id)
        self.metrics.add(self._usage.collect)
        self.metrics.add(self._tracing.collect)
        self._activity = GatewayActivity(self._control, clock, lambda: self._plane.running, records.hand_over)
        self._access_log = AccessLog(
            loop,
            section.log_format,
            has_only_failures=_has_only_failures(section),
            has_priority=goes_to_journal(env or {}, sys.stderr),
        )
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
                tls_of=self.tls.of_target,
            ),
            (records,),
            id_prefix=f"req-{secrets.token_hex(4)}".encode(),
            epoch_s=clock.epoch_s,
            tasks=self._tasks,
            fetcher=NeedFetcher(ImageFetch(_image_policy(section)), shelf),
            keep=self._background.keep,
            tracer=self._tracing.tracer,
        )
        records.feed((self.metrics.requests, self._access_log, *self._usage.recorders, *self._activity.recorders))
        self._quota = GatewayQuota(settings, clock, self._tasks, self.id)
        self._plane.limiter = self._quota.limiter
        if section.log_prompts:
            log.warning("log_prompts: what requests say to their models stands in the access log")
            self._plane.note_prompt = self._access_log.note_prompt
        self._access = access = Access(section.trusted_networks, section.trusted_proxies)
        pages = FleetPages(self._control.reads, created_s=clock.epoch_s(), is_stopping=lambda: self._door.is_leaving)
        self._client = HttpClient(user_agent=f"cortex/{__version__}")
        counter = TokenCounter(self._control.reads, self._client, self.tls.of_target)
        more = DialectPages(self._control.reads, counter, shelf, self._background, created_s=clock.epoch_s())
        limit = _front_limit(section)
        start_id = f"{round(clock.epoch_s() * 1000):x}"
        self._feed = FleetFeed(self._control.admin, clock, self._tasks, start_id=start_id)
        self._keys = GatewayKeys(settings, self._store, self._tasks, clock)
        api = AdminApi(
            self._control.admin,
            self._feed,
            clock,
            self._keys.keys,
            self._usage.reports,
            insight=self._activity.insight,
        )
        admin = AsgiDoor(api, self._tasks)
        self._dashboard = GatewayDashboard(
            self._control.admin,
            clock,
            self._tasks,
            self._activity.insight,
            gateway_id=self.id,
            book=self._keys.book,
            sessions=self._keys.sessions,
            keys=self._keys.keys,
            usage=self._usage.reports,
        )
        dashboard = AsgiDoor(self._dashboard, self._tasks)
        self._browser = BrowserRule(section.cors_origins, section.allowed_hosts, (socket.gethostname(),))
        router = DataRouter(
            self._plane,
            pages,
            more,
            access,
            admin,
            self._keys.book,
            dashboard,
            self._browser,
            players=self._dashboard,
        )
        room = DoorRoom(section.max_connections, section.max_connections_per_address, access.is_proxy)
        self._door = Front(router, limit, loop, room=room, tls=self.tls.door)
        metrics = MetricsRouter(self.metrics.requests, access, self._browser)
        scrapers = DoorRoom(
            MAX_SCRAPERS, MAX_SCRAPERS_PER_ADDRESS, access.is_proxy, kept=MAX_SCRAPERS // 2, is_trusted=access.is_known
        )
        self._metrics_door = Front(metrics, limit, loop, room=scrapers, tls=self.tls.metrics_door)

    async def start(self, *, knows_fleet: bool = False) -> None:
        """Begin to poll and open both doors; ``knows_fleet``: not before every node was asked, which may take a while.

        Who connects meanwhile waits in the kernel; without it, requests wait inside.
        """
        await self._keys.start()
        self._plane.start()
        self.metrics.start(asyncio.get_running_loop())
        self._usage.start()
        self.tls.start(self._tasks)
        self._activity.start(self._tasks)
        await self._control.start()
        if knows_fleet:
            await self.known()
        await self._metrics_door.start(self.sockets["metrics"])
        await self._door.start(self.sockets["api"])

    async def known(self) -> None:
        """Return when every node was asked once, or after some seconds."""
        await self._control.known(FLEET_S)

    async def resign(self) -> None:
        """Leave to a successor what only one process may do."""
        await self._control.candidate.resign()

    def stand_again(self) -> None:
        """There is no successor after all."""
        self._control.candidate.stand()

    def leave(self, *, accepts: bool) -> None:
        """Send clients elsewhere, and serve them until they are gone; ``accepts``: new ones are taken meanwhile."""
        self._door.leave(accepts=accepts)
        if not accepts:
            self._metrics_door.leave(accepts=False)
            self._end_feeds()

    async def left(self, grace_s: float) -> None:
        """Return when all clients are gone and nothing runs in the background, or after ``grace_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await asyncio.gather(self._door.left(), self._background.finish(grace_s))

    async def stop(self, grace_s: float) -> None:
        """Finish within ``grace_s`` and let go of everything."""
        self._end_feeds()
        await asyncio.gather(self._door.stop(grace_s), self._background.finish(grace_s))
        self._plane.stop()
        self._records.hand_over()
        self.metrics.stop()
        await self._control.stop()
        await self._metrics_door.stop(0)
        await asyncio.gather(self._shelf.flush(STORE_GRACE_S), self._usage.finish(), self._quota.finish())
        await self._tasks.stop()
        await self._client.close()
        await self._usage.close()
        await self._quota.close()
        for store in (self._store, self._response_store):
            if store is not None:
                await store.close()
        self._access_log.flush()
        await self._tracing.close()

    def _end_feeds(self) -> None:
        """End what would never end by itself: whoever watches connects again."""
        self._feed.close()
        self._activity.close()
        self._dashboard.close()
        self._control.admin.close()

    def status(self) -> str:
        """Say in a sentence how things are, for the service manager."""
        nodes = [is_healthy for _, is_healthy in self._control.reads.node_states()]
        running, clients = self.in_flight(), len(self._door.connections)
        what = "leaving; " if self._door.is_leaving else ""
        return f"{what}{sum(nodes)} of {len(nodes)} nodes healthy, {running} requests, {clients} connections"

    def unswept_s(self) -> float:
        """Return for how long nobody has looked at the clocks of running requests."""
        return self._plane.now_s() - self._plane.swept_s

    def take_settings(self, settings: GatewaySettings) -> None:
        """Go by other limits and rules (``reloading.LIVE``); what runs goes on by them, too."""
        section = settings.gateway
        self._plane.limit = _call_limit(section)
        self._plane.bodies.limit_bytes = self._plane.limit.max_buffered_bytes
        self._door.limit = self._metrics_door.limit = _front_limit(section)
        self._door.room.limit(section.max_connections, section.max_connections_per_address)
        self._access.renew(section.trusted_networks, section.trusted_proxies)
        self._browser.renew(section.cors_origins, section.allowed_hosts)
        self._access_log.has_only_failures = _has_only_failures(section)
        if self._keys.book is not None:
            self._keys.book.fails_closed = section.keys_fail_closed
        if self._quota.limiter is not None:
            self._quota.limiter.fails_closed = section.keys_fail_closed
        logging.getLogger("cortex").setLevel(section.log_level.upper())

    def in_flight(self) -> int:
        """Return how many requests are running or waiting, by the books of both planes."""
        dispatcher = self._control.dispatcher
        granted = sum(count for _, _, count in dispatcher.in_flight())
        return max(len(self._plane.running), granted + dispatcher.waiting(), self._quota.in_use())

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
        yield from self._quota.collect()
        connections = [((), float(len(self._door.connections)))]
        yield gauge("cortex_client_connections", "Open connections of clients.", (), connections)
        yield from door_metrics(self._door)
        about, held = "Of requests' bodies, held in memory.", self._plane.bodies.taken_bytes
        yield gauge("cortex_buffered_body_bytes", about, (), [((), float(held))])
        yield from self.tls.collect()
        if self._store is not None:
            yield gauge(
                "cortex_store_up", "1: the store answered when it was last asked.", (), [((), float(self._store.is_up))]
            )


def _bind(section: GatewaySection, handed: Handed) -> Handed:
    """Return the listening sockets of both doors: those that were handed over, else what is configured."""
    if not handed and section.listen == section.metrics_listen and host_port(section.listen)[1]:
        raise ConfigError(f"[gateway] listen and metrics_listen are both {section.listen}: give one another port")
    doors = {"api": (section.listen, section.reuse_port), "metrics": (section.metrics_listen, False)}
    bound = dict(handed)
    try:
        for name, (listen, reuse_port) in doors.items():  # metrics never shared: a scrape must meet the same one again
            if name in handed:
                is_other = ", ".join(map(shown, handed[name])) != listen
                log.info("%s: the socket that was handed over is used%s", name, f", not {listen}" if is_other else "")
            else:
                bound[name] = [bind(*host_port(listen), reuse_port=reuse_port)]
    except CortexError:
        close_all(bound)
        raise
    return bound


def _port_of(sockets: list[socket.socket]) -> int:
    """Return the port of a door; 0 for one that listens on a path only."""
    return next((one.getsockname()[1] for one in sockets if one.family is not socket.AF_UNIX), 0)


def _call_limit(section: GatewaySection) -> CallLimit:
    return CallLimit(
        max_body_bytes=section.max_body_mb << 20,
        max_buffered_bytes=section.max_buffered_mb << 20,
        first_token_timeout_s=section.first_token_timeout_s,
        stall_timeout_s=section.stall_timeout_s,
        heartbeat_after_s=section.heartbeat_after_s,
        heartbeat_every_s=section.heartbeat_every_s,
        unstreamed_wait_s=section.unstreamed_wait_s,
    )


def _has_only_failures(section: GatewaySection) -> bool:
    return not section.access_log or section.log_level not in ("debug", "info")


def _image_policy(section: GatewaySection) -> ImagePolicy:
    return ImagePolicy(is_on=section.fetch_images, hosts=section.image_hosts)


def _front_limit(section: GatewaySection) -> FrontLimit:
    return FrontLimit(
        max_header_bytes=section.max_header_kb << 10,
        keep_alive_s=section.keep_alive_s,
        head_timeout_s=section.head_timeout_s,
        client_stall_s=section.client_stall_s,
        min_body_bytes_per_s=section.min_body_bytes_per_s,
    )
