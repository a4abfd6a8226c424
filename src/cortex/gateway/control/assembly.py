"""Puts the control plane together from its settings, starts it and stops it."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.event import StewardChanged
from cortex.fleet.queueing import QueueBound
from cortex.fleet.stewardship import StewardRules
from cortex.gateway.control.admin_desk import AdminDesk
from cortex.gateway.control.claim import ClaimedLoads
from cortex.gateway.control.engine_log import EngineLogDesk
from cortex.gateway.control.executor import Executor, FollowTiming, Sleep
from cortex.gateway.control.loop import ControlLoop
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.gateway.control.poller import Poller
from cortex.gateway.control.reads import FleetReader
from cortex.gateway.control.report import Reporter
from cortex.gateway.control.steward import Candidate, StewardKeeper
from cortex.gateway.control.stream import Stream
from cortex.gateway.ports import Claims
from cortex.gateway.settings import GatewaySettings, NeuronEntry
from cortex.kit.clock import Clock
from cortex.kit.fleet_token import fleet_token
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner
from cortex.kit.tracer import Tracer

LOOK_S = 0.02
STREAM_EVERY_S = 0.005
"""Between the first openings of two event streams."""


class Control:
    """The control plane of one gateway: ``leases`` and ``reads`` for the data plane, ``admin`` and ``logs`` for
    operators, the ``dispatcher`` for metrics."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        leases: ControlLoop,
        reads: FleetReader,
        admin: AdminDesk,
        logs: EngineLogDesk,
        watches: Sequence[Poller | Stream],
        reporter: Reporter,
        executor: Executor,
        http: HttpClient,
        tasks: TaskOwner,
        candidate: Candidate,
        clock: Clock,
    ) -> None:
        self.dispatcher = dispatcher
        self.leases = leases
        self.reads = reads
        self.admin = admin
        self.logs = logs
        self._watches = watches
        self._reporter = reporter
        self._executor = executor
        self._http = http
        self._tasks = tasks
        self.candidate = candidate
        self._clock = clock
        self._polling: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to poll; does not wait for answers."""
        self._polling = [self._tasks.start(watch.run(), f"watch {watch.node}") for watch in self._watches]
        self._polling.append(self._tasks.start(self.leases.keep_time(), "control time"))
        self.candidate.stand()

    @property
    def is_steward(self) -> bool:
        """Whether this gateway preloads, keeps replica counts and defrags."""
        return self.candidate.is_steward

    async def known(self, limit_s: float) -> None:
        """Return when every node has been asked once, with or without an answer, or after ``limit_s``."""
        for _ in range(round(limit_s / LOOK_S)):
            if self.reads.is_ready():
                return
            await asyncio.sleep(LOOK_S)

    async def stop(self) -> None:
        """Refuse who waits, let go of the leases, end all tasks. Loads go on in the neurons."""
        self.leases.close()
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)
        await self.candidate.stop()
        await self._executor.stop()
        await self._reporter.leave(self.dispatcher.goodbyes(self._clock.now_s()))
        await self._http.close()


def build_control(
    settings: GatewaySettings,
    profiles: Iterable[Profile],
    *,
    clock: Clock,
    tasks: TaskOwner,
    rng: Random,
    gateway_id: str,
    claims: Claims | None = None,
    sleep: Sleep = asyncio.sleep,
    tracer: Tracer | None = None,
    tls_of: Callable[[str], Callable[[], ssl.SSLContext | None]] = lambda _: lambda: None,
    env: Mapping[str, str] | None = None,
) -> Control:
    """Wire the control plane; starts nothing. Without ``claims`` the settings say whether this gateway is the steward.
    ``tls_of``: per node what gives the context for its ``https`` endpoint, None: what the system trusts.

    ``env``: may have the neurons' credential.

    Raises: ConfigError for a credential that cannot be used.
    """
    section, neurons = settings.gateway, settings.neurons
    http = HttpClient(user_agent=f"cortex-gateway/{gateway_id}")
    clients = {
        entry.name: NeuronClient(
            http,
            entry.endpoint,
            gateway_id=gateway_id,
            token=_token(entry, env or {}),
            ask_s=section.poll_timeout_s,
            tls=tls_of(entry.name),
        )
        for entry in neurons
    }
    dispatcher = Dispatcher(clients, profiles, policy=_policy(settings), started_s=clock.now_s(), gateway_id=gateway_id)
    reporter = Reporter(clients, clock, tasks)
    timing = FollowTiming(load_timeout_s=section.load_timeout_s)
    executor = Executor(clients, clock, tasks, timing=timing, reporter=reporter, sleep=sleep, tracer=tracer)
    runner = executor if claims is None else ClaimedLoads(executor, claims, tasks, sleep=sleep)
    loop = ControlLoop(dispatcher, runner, clock, tasks, sleep=sleep)
    process = f"{rng.getrandbits(64):016x}"
    watches: list[Poller | Stream] = []
    for place, (name, client) in enumerate(clients.items()):
        desk, poll_s, first_s = dispatcher.desk(name), section.poll_s, place * STREAM_EVERY_S
        desk.process = process
        watches.append(Poller(desk, reporter, loop.post, rng, poll_s=poll_s, sleep=sleep))
        stream = Stream(name, client, loop.post, clock, rng, longest_wait_s=poll_s, first_wait_s=first_s, sleep=sleep)
        watches.append(stream)
    admin = AdminDesk(dispatcher, loop.post, clients, clock, load_timeout_s=section.load_timeout_s)
    logs = EngineLogDesk(dispatcher, clients, admin.model_id)
    steward: StewardKeeper | StewardChanged = StewardChanged(is_steward=section.steward)
    if claims is not None and section.steward:
        steward = StewardKeeper(claims, loop.post, clock, sleep=sleep)
    reads = FleetReader(dispatcher, clock)
    candidate = Candidate(steward, loop.post, tasks)
    return Control(dispatcher, loop, reads, admin, logs, watches, reporter, executor, http, tasks, candidate, clock)


def _policy(settings: GatewaySettings) -> Policy:
    section, eviction = settings.gateway, settings.eviction
    return Policy(
        load_timeout_s=section.load_timeout_s,
        misses=section.misses,
        discovery_s=section.discovery_s,
        strategy=eviction.strategy,
        bound=QueueBound(max_waiting=section.max_waiting, max_waiting_per_caller=section.max_waiting_per_caller),
        rules=StewardRules(
            scale_after_s=section.scale_after_s,
            scale_idle_s=section.scale_idle_s,
            defrag_after_cycles=eviction.defrag_after_cycles,
            defrag_idle_s=eviction.defrag_idle_s,
            lost_after_s=section.lost_after_s,
        ),
    )


def _token(entry: NeuronEntry, env: Mapping[str, str]) -> str | None:
    return fleet_token(entry.token_file, env, where=f"neurons.{entry.name}.token_file:")
