"""Puts the control plane together from its settings, starts it and stops it."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.event import StewardChanged
from cortex.fleet.queueing import QueueBound
from cortex.fleet.stewardship import StewardRules
from cortex.gateway.control.admin_desk import AdminDesk
from cortex.gateway.control.claim import ClaimedLoads
from cortex.gateway.control.executor import Executor, FollowTiming, Sleep
from cortex.gateway.control.loop import ControlLoop
from cortex.gateway.control.neuron_client import NeuronClient
from cortex.gateway.control.poller import Poller, PollTiming
from cortex.gateway.control.reads import FleetReader
from cortex.gateway.control.steward import StewardKeeper
from cortex.gateway.ports import Claims
from cortex.gateway.settings import GatewaySettings, NeuronEntry
from cortex.kit.clock import Clock
from cortex.kit.http_client import HttpClient
from cortex.kit.task import TaskOwner


class Control:
    """The control plane of one gateway: ``leases`` and ``reads`` for the data plane, ``admin`` for operators, the
    ``dispatcher`` for metrics."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        leases: ControlLoop,
        reads: FleetReader,
        admin: AdminDesk,
        pollers: dict[str, Poller],
        executor: Executor,
        http: HttpClient,
        tasks: TaskOwner,
        steward: StewardKeeper | StewardChanged,
    ) -> None:
        self.dispatcher = dispatcher
        self.leases = leases
        self.reads = reads
        self.admin = admin
        self._pollers = pollers
        self._executor = executor
        self._http = http
        self._tasks = tasks
        self._steward = steward
        self._polling: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to poll; does not wait for answers."""
        self._polling = [self._tasks.start(poller.run(), f"poll {node}") for node, poller in self._pollers.items()]
        self._polling.append(self._tasks.start(self.leases.keep_time(), "control time"))
        if isinstance(self._steward, StewardKeeper):
            self._polling.append(self._tasks.start(self._steward.run(), "steward"))
        else:
            self.leases.post(self._steward)

    @property
    def is_steward(self) -> bool:
        """Whether this gateway preloads, keeps replica counts and defrags."""
        return self._steward.is_steward

    async def stop(self) -> None:
        """Refuse who waits, end all tasks, close the connections to the neurons. Loads go on in the neurons."""
        self.leases.close()
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)
        if isinstance(self._steward, StewardKeeper):
            await self._steward.stop()
        await self._executor.stop()
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
) -> Control:
    """Wire the control plane; starts nothing. Without ``claims`` the settings say whether this gateway is the steward.

    Raises: ConfigError for a token file that cannot be read.
    """
    section, neurons = settings.gateway, settings.neurons
    http = HttpClient(user_agent=f"cortex-gateway/{gateway_id}")
    # Without a name: a drain waits for what its holders report, and this gateway posts no leases yet.
    clients = {
        entry.name: NeuronClient(http, entry.endpoint, token=_token(entry), ask_s=section.poll_timeout_s)
        for entry in neurons
    }
    dispatcher = Dispatcher(clients, profiles, policy=_policy(settings), started_s=clock.now_s())
    executor = Executor(clients, clock, tasks, timing=FollowTiming(load_timeout_s=section.load_timeout_s), sleep=sleep)
    runner = executor if claims is None else ClaimedLoads(executor, claims, tasks, sleep=sleep)
    loop = ControlLoop(dispatcher, runner, clock, tasks, sleep=sleep)
    timing = PollTiming(poll_s=section.poll_s, discovery_s=section.discovery_s)
    pollers = {
        name: Poller(name, client, loop.post, clock, rng, timing=timing, sleep=sleep)
        for name, client in clients.items()
    }
    admin = AdminDesk(dispatcher, loop.post, clients, clock, load_timeout_s=section.load_timeout_s)
    steward: StewardKeeper | StewardChanged = StewardChanged(is_steward=section.steward)
    if claims is not None and section.steward:
        steward = StewardKeeper(claims, loop.post, clock, sleep=sleep)
    return Control(dispatcher, loop, FleetReader(dispatcher, clock), admin, pollers, executor, http, tasks, steward)


def _policy(settings: GatewaySettings) -> Policy:
    section, eviction = settings.gateway, settings.eviction
    return Policy(
        load_timeout_s=section.load_timeout_s,
        strategy=eviction.strategy,
        bound=QueueBound(max_waiting=section.max_waiting, max_waiting_per_caller=section.max_waiting_per_caller),
        rules=StewardRules(defrag_after_cycles=eviction.defrag_after_cycles),
    )


def _token(entry: NeuronEntry) -> str | None:
    if entry.token_file is None:
        return None
    try:
        return Path(entry.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"neurons.{entry.name}.token_file: {entry.token_file} cannot be read: {exc}", file=entry.token_file
        ) from exc
