"""A whole fleet on one heap of (time, event), around the very dispatcher that the gateway drives.

Seeded: the same seed is the same run. Clients arrive, leave, and fail over; neurons load, fail, drain, crash engines,
restart and fall silent; every message takes its time, so samples come late and out of order. After every step the rules
of ``Referee`` are checked; after ``calm_s`` nothing goes wrong any more and everything must come to rest.
"""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from zlib import crc32

import msgspec

from cortex.contract.instance import EndpointAnswer
from cortex.contract.node import Device, DeviceReading, Discovery, Health
from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.effect import FetchEndpoint, Grant, Refuse, StartLoad, Target
from cortex.fleet.event import (
    EndpointFailed,
    EndpointFetched,
    Event,
    LoadFailed,
    LoadSucceeded,
    NodeDiscovered,
    NodeLost,
    NodeSampled,
    RequestArrived,
    RequestFinished,
    TargetSuspected,
    Ticked,
)
from cortex.testing.referee import Referee, SimulatedClient
from cortex.testing.simulated_node import PARALLEL, SimulatedInstance, SimulatedNode

MakeDispatcher = Callable[..., Dispatcher]

LOAD_TIMEOUT_S = 60.0
SETTLE_S = 5.0
POLL_S = 3.0
TICK_S = 0.25


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes wrong: chances between 0 and 1, drawn per occasion."""

    load_fails: float = 0.2
    load_is_slow: float = 0.05
    """Slower than anybody is ready to wait."""
    node_event: float = 0.3
    request_fails: float = 0.1
    client_leaves: float = 0.3
    longest_delay_s: float = 0.5


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounted to; ``trace`` is equal for equal seeds."""

    seed: int
    steps: int
    requests: int
    granted: int
    refused: int
    left: int
    loads: int
    suspected: int
    trace: int


class Simulation:
    """One run. ``make_dispatcher`` lets a test put a defective dispatcher in, to see that the rules would catch it."""

    def __init__(
        self,
        seed: int,
        *,
        trouble: Trouble | None = None,
        make_dispatcher: MakeDispatcher = Dispatcher,
        requests: int = 60,
        nodes: int = 3,
        models: int = 4,
    ) -> None:
        self._seed = seed
        self._rng = Random(seed)
        self._trouble = trouble or Trouble()
        self._now_s = 0.0
        self._order = count()
        self._ports = count(1)
        self._tickets = count(1)
        self._heap: list[tuple[float, int, str, Callable[[], None]]] = []
        self._referee = Referee(LOAD_TIMEOUT_S + 2 * TICK_S)
        self._nodes = {f"n{i}": SimulatedNode(f"n{i}", 1 + i % 2) for i in range(nodes)}
        self._profiles = tuple(
            Profile(id=f"m{i}", harness="llamacpp", vram_mb=4000, aliases=(f"alias{i}",), min_devices=1 + (i == 0))
            for i in range(models)
        )
        self._dispatcher = make_dispatcher(
            self._nodes, self._profiles, policy=Policy(load_timeout_s=LOAD_TIMEOUT_S, settle_s=SETTLE_S)
        )
        self._requests = requests
        self._calm_s = 40.0 + requests / 3
        self._counts = dict.fromkeys(("steps", "granted", "refused", "left", "loads", "suspected"), 0)
        self._trace = 0

    def run(self) -> Outcome:
        """Play until everything is over; raise SimulationFailure when a rule is broken."""
        for node in self._nodes.values():
            self._later(self._rng.uniform(0, 2), f"start {node.name}", partial(self._discover, node))
            self._later(self._rng.uniform(0, 2), f"poll {node.name}", partial(self._poll, node))
            self._later(self._rng.uniform(1, 15), f"fate {node.name}", partial(self._meet_fate, node))
        for _ in range(self._requests):
            self._later(self._rng.uniform(0, self._calm_s), "arrival", self._arrive)
        self._later(TICK_S, "tick", self._tick)
        end_s = self._calm_s + 3 * LOAD_TIMEOUT_S
        while self._heap and self._heap[0][0] <= end_s:
            self._step()
        self._referee.check(not self._referee.open, f"{len(self._referee.open)} requests have had no end")
        self._referee.check(not self._dispatcher.waiting(), "somebody still waits")
        self._referee.check(not list(self._dispatcher.in_flight()), "something is still in flight")
        return Outcome(seed=self._seed, requests=self._requests, trace=self._trace, **self._counts)

    def _step(self) -> None:
        self._now_s, _, what, act = heapq.heappop(self._heap)
        self._counts["steps"] += 1
        self._note(what)
        act()
        self._referee.compare(self._dispatcher, self._now_s)

    def _note(self, what: str) -> None:
        self._referee.last_steps.append(f"{self._now_s:8.3f} {what}")
        del self._referee.last_steps[:-50]
        self._trace = crc32(f"{self._now_s} {what}".encode(), self._trace)

    def _later(self, delay_s: float, what: str, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self._now_s + delay_s, next(self._order), what, act))

    def _soon(self, what: str, act: Callable[[], None]) -> None:
        """Let a message take its time; one in ten is overtaken by later ones."""
        slowness = 8 if self._happens(0.1) else 1
        self._later(self._rng.uniform(0.001, slowness * self._trouble.longest_delay_s), what, act)

    def _happens(self, chance: float) -> bool:
        return self._now_s < self._calm_s and self._rng.random() < chance

    # Towards the dispatcher

    def _tell(self, event: Event) -> None:
        for effect in self._dispatcher.handle(event, self._now_s):
            self._note(repr(effect)[:120])
            if isinstance(effect, Grant):
                self._counts["granted"] += 1
                self._serve(self._referee.granted(effect, self._nodes))
            elif isinstance(effect, Refuse):
                self._counts["refused"] += 1
                self._referee.refused(effect)
            elif isinstance(effect, StartLoad):
                self._counts["loads"] += 1
                self._referee.load_started(effect)
                self._soon(f"load {effect.request.model_id}@{effect.node}", partial(self._take_load, effect))
            elif isinstance(effect, FetchEndpoint):
                self._ask_endpoint(effect)

    def _tick(self) -> None:
        if self._dispatcher.waiting():
            self._tell(Ticked())
        if self._now_s < self._calm_s or self._referee.open:
            self._later(TICK_S, "tick", self._tick)

    # Clients

    def _arrive(self) -> None:
        number = self._rng.randrange(len(self._profiles))
        name = self._rng.choice([f"m{number}", f"m{number}", f"alias{number}", "unknown"])
        self._send(name, ())

    def _send(self, name: str, avoid: tuple[Target, ...]) -> None:
        client = SimulatedClient(next(self._tickets), name, avoid, self._now_s)
        self._referee.arrived(client)
        if self._happens(self._trouble.client_leaves):
            self._later(self._rng.uniform(0, 8), f"{client.ticket} leaves", lambda: self._leave(client))
        self._tell(RequestArrived(client.ticket, name, avoid))

    def _leave(self, client: SimulatedClient) -> None:
        if not client.is_over:
            self._counts["left"] += 1
            self._end(client)

    def _end(self, client: SimulatedClient) -> None:
        self._referee.finished(client)
        self._tell(RequestFinished(client.ticket))

    def _serve(self, client: SimulatedClient) -> None:
        self._later(self._rng.uniform(0, 5), f"{client.ticket} ends", lambda: self._served(client))

    def _served(self, client: SimulatedClient) -> None:
        if client.is_over:
            return
        target = client.target
        assert target is not None
        has_failed = not self._nodes[target.node].is_alive(target) or self._happens(self._trouble.request_fails)
        if has_failed and not client.avoid:
            self._counts["suspected"] += 1
            self._distrust(target)
            self._end(client)
            self._send(client.name, (target,))
        else:
            self._end(client)

    def _distrust(self, target: Target) -> None:
        view = {(model.id, replica.node): replica for model in self._dispatcher.view(self._now_s).models
                for replica in model.replicas}  # fmt: skip
        replica = view.get((target.model, target.node))
        # A target that is not granted anyway at this moment is not on probation again.
        if replica is not None and replica.is_ready and replica.generation == target.generation:
            self._referee.distrusted[target] = self._now_s
        self._tell(TargetSuspected(target, "died"))

    # Neurons

    def _discover(self, node: SimulatedNode) -> None:
        if node.is_up:
            devices = tuple(Device(index=i, name="GPU", vram_total_mb=24_000) for i in range(node.devices))
            discovery = Discovery(hostname=node.name, os="Linux", kernel="6", devices=devices, harnesses=("llamacpp",))
            self._soon(f"discovered {node.name}", lambda: self._tell(NodeDiscovered(node.name, discovery)))
        else:
            self._later(1.0, f"discover {node.name}", lambda: self._discover(node))

    def _poll(self, node: SimulatedNode) -> None:
        """Ask, let the neuron make up its answer a little later, and let that arrive later still."""
        self._later(POLL_S * self._rng.uniform(0.1, 1.1), f"poll {node.name}", lambda: self._poll(node))
        asked_s = self._now_s
        self._soon(f"answer of {node.name}", lambda: self._answer_poll(node, asked_s))

    def _answer_poll(self, node: SimulatedNode, asked_s: float) -> None:
        if not node.is_up:
            self._soon(f"{node.name} is lost", lambda: self._tell(NodeLost(node.name, "connection refused")))
            return
        sample = NodeSampled(
            node=node.name,
            health=Health(
                uptime_secs=1.0,
                devices=tuple(DeviceReading(index=i, vram_free_mb=20_000) for i in range(node.devices)),
            ),
            models=tuple(instance.report() for instance in node.instances.values()),
            asked_s=asked_s,
            start_id=node.start_id,
            event=node.event,
        )

        def arrive() -> None:
            self._tell(sample)
            self._referee.sampled(node, self._dispatcher, self._now_s)

        self._soon(f"sample of {node.name}", arrive)

    def _meet_fate(self, node: SimulatedNode) -> None:
        if self._now_s >= self._calm_s:
            node.is_up = True
            return
        self._later(self._rng.uniform(1, 10), f"fate {node.name}", lambda: self._meet_fate(node))
        if not self._happens(self._trouble.node_event):
            return
        fate = self._rng.choice(["silence", "return", "restart", "crash", "drain", "undrain", "unload", "appear"])
        self._note(f"{node.name}: {fate}")
        loaded = [instance for instance in node.instances.values() if instance.status in ("loaded", "draining")]
        if fate in ("silence", "return"):
            node.is_up = fate == "return"
        elif fate == "restart":
            node.life += 1
            node.event = 1
            node.is_up = True
        elif fate == "appear":
            model = f"m{self._rng.randrange(len(self._profiles))}"
            if model not in node.instances:
                self._loads_elsewhere(node, model)
        elif loaded:
            self._befall(node, self._rng.choice(loaded), fate)

    def _loads_elsewhere(self, node: SimulatedNode, model: str) -> None:
        """Let another gateway have loaded a model here."""
        node.change(node.begin(model, next(self._ports)), "loaded")

    def _befall(self, node: SimulatedNode, instance: SimulatedInstance, fate: str) -> None:
        if fate == "crash":
            node.change(instance, "failed")
        elif fate == "drain":
            node.change(instance, "draining")
        elif fate == "undrain":
            node.change(instance, "loaded")
        else:
            del node.instances[instance.model]
            node.event += 1

    def _take_load(self, load: StartLoad) -> None:
        node, request = self._nodes[load.node], load.request
        if not node.is_up:
            self._land(load, self._load_failed(load, "upstream_unreachable"))
            return
        held = node.instances.get(request.model_id)
        if held is None or held.status not in ("loaded", "loading"):
            held = node.begin(request.model_id, next(self._ports))
            takes_s = self._rng.uniform(0.5, 12) + (LOAD_TIMEOUT_S if self._happens(self._trouble.load_is_slow) else 0)
            self._later(takes_s, f"{request.model_id}@{node.name} is up", lambda: self._come_up(node, held))
        self._follow(load, held, self._now_s)

    def _come_up(self, node: SimulatedNode, instance: SimulatedInstance) -> None:
        if instance.status == "loading":
            node.change(instance, "failed" if self._happens(self._trouble.load_fails) else "loaded")

    def _follow(self, load: StartLoad, instance: SimulatedInstance, since_s: float) -> None:
        """Look until the load is over, as the executor does."""
        node = self._nodes[load.node]
        if not node.is_up:
            self._land(load, self._load_failed(load, "node_unreachable"))
        elif node.instances.get(instance.model) is not instance:
            self._land(load, self._load_failed(load, "load_lost"))
        elif instance.status == "loaded":
            asked_s = self._now_s
            self._land(
                load,
                LoadSucceeded(
                    node=node.name,
                    model=instance.model,
                    endpoint=self._endpoint(node, instance),
                    asked_s=asked_s,
                    parallel=PARALLEL,
                ),
            )
        elif instance.status == "failed":
            self._land(load, self._load_failed(load, "oom"))
        elif self._now_s - since_s >= LOAD_TIMEOUT_S:
            self._land(load, self._load_failed(load, "load_timeout"))
        else:
            self._later(0.5, f"look at {instance.model}@{node.name}", partial(self._follow, load, instance, since_s))

    def _load_failed(self, load: StartLoad, code: str) -> LoadFailed:
        return LoadFailed(node=load.node, model=load.request.model_id, code=code, message=code)

    def _land(self, load: StartLoad, outcome: LoadSucceeded | LoadFailed) -> None:
        def arrive() -> None:
            self._referee.loading.discard((outcome.model, outcome.node))
            if isinstance(outcome, LoadSucceeded):
                self._vouched(outcome.node, outcome.model, outcome.asked_s)
            self._tell(outcome)

        self._soon(f"{type(outcome).__name__} {load.request.model_id}@{load.node}", arrive)

    def _endpoint(self, node: SimulatedNode, instance: SimulatedInstance) -> EndpointAnswer:
        return EndpointAnswer(url=f"http://{node.name}:{instance.port}", generation=instance.generation)

    def _ask_endpoint(self, effect: FetchEndpoint) -> None:
        asked_s = self._now_s
        self._soon(f"endpoint of {effect.model}@{effect.node}", lambda: self._answer_endpoint(effect, asked_s))

    def _answer_endpoint(self, effect: FetchEndpoint, asked_s: float) -> None:
        node = self._nodes[effect.node]
        instance = node.instances.get(effect.model)
        if not node.is_up or instance is None or instance.status != "loaded":
            code = "not_loaded" if node.is_up else "upstream_unreachable"
            self._soon(code, lambda: self._tell(EndpointFailed(effect.node, effect.model, code, code)))
            return
        fetched = EndpointFetched(
            node=effect.node, model=effect.model, endpoint=self._endpoint(node, instance), asked_s=asked_s
        )

        def arrive() -> None:
            self._vouched(effect.node, effect.model, asked_s)
            self._tell(fetched)

        self._soon(f"EndpointFetched {effect.model}@{effect.node}", arrive)

    def _vouched(self, node: str, model: str, asked_s: float) -> None:
        """Lift the distrust that is older than the question."""
        for target, since_s in list(self._referee.distrusted.items()):
            if (target.node, target.model) == (node, model) and asked_s >= since_s:
                del self._referee.distrusted[target]
