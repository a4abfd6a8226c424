"""The rules of the control plane of a simulated fleet (invariants 5, 10, 11, 12 and 15).

One load of a model at a time while the store can be reached; drains that end; nobody who can be served waits for ever;
one maintenance move at a time; and at rest every count is zero.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cortex.fleet.effect import StartLoad
from cortex.testing.fleet_store import CLAIM_TTL_S, ToyStore
from cortex.testing.fleet_verdict import Verdict

if TYPE_CHECKING:
    from cortex.testing.fleet_gateway import SimulatedGateway
    from cortex.testing.fleet_life import SimulatedLife
    from cortex.testing.fleet_neuron import NodeTiming
    from cortex.testing.fleet_supervisor import SimulatedSupervisor
    from cortex.testing.fleet_wire import NodePlace

PICTURE_S = 9.0
"""So old may be what a gateway knows of a node that it can reach, two lost polls and its sample included."""
BELIEVED_S = 20.0
"""For so long a node that has fallen silent, or a gateway that hangs, may go by what was."""


class _Flight:
    """A load that a gateway has asked for."""

    def __init__(self, gateway: "SimulatedGateway", effect: StartLoad, since_s: float) -> None:
        self.since_s = since_s
        self.by = gateway
        self.gateway = gateway.name
        self.process = gateway.process
        self.effect = effect


class PlaneRule:
    """Keeps loads and drains that are under way."""

    def __init__(
        self, verdict: Verdict, store: ToyStore | None, timing: "NodeTiming", longest_request_s: float
    ) -> None:
        self._check = verdict.check
        self._store = store
        self._timing = timing
        self._longest_request_s = longest_request_s
        self._flights: list[_Flight] = []
        self._drains: dict[SimulatedLife, tuple[SimulatedSupervisor, float]] = {}
        self.many: frozenset[str] = frozenset()
        """Models of which there may be several loads at once."""
        self.loads = 0
        self.drained = 0
        self.moves = 0
        self._moves: dict[tuple[str, int, str], SimulatedGateway] = {}
        self._served_s: dict[tuple[str, str], float] = {}
        """When a model was last seen serving on a node, by (model, node)."""
        self._leaking: dict[tuple[str, str], None] = {}
        """Harnesses that have kept memory, by (node, name), until they are restarted."""
        self.leaks = 0
        self.mended = 0
        """Restarts of harnesses that had kept memory."""
        self._worked_s: dict[tuple[str, str], deque[float]] = {}
        self._hidden_s: dict[str, float] = {}
        """When a node could last not be seen by somebody."""
        self.idle_s = 0.0
        """What has been idle for so long a steward may unload though nobody else has it."""
        self.unloads = 0

    def load_asked(self, gateway: "SimulatedGateway", effect: StartLoad, now_s: float) -> None:
        model = effect.request.model_id
        self.loads += 1
        for flight in self._flights:
            if flight.effect.request.model_id != model or model in self.many:
                continue
            is_same = (flight.gateway, flight.process) == (gateway.name, gateway.process)
            words = f"{gateway.name} loads {model} on {effect.node}, and still does on {flight.effect.node}"
            self._check(not is_same, 5, words)
            # Whoever hangs does not renew a claim, which is another's then.
            is_awake = now_s >= flight.by.paused_until_s + CLAIM_TTL_S
            is_sound = self._is_store_sound(now_s) and self._has_claim(flight)
            is_claimed = is_awake and is_sound and effect.is_first and flight.effect.is_first
            words = f"{gateway.name} loads {model} on {effect.node} while {flight.gateway} does on {flight.effect.node}"
            self._check(not is_claimed, 5, words)
        self._flights.append(_Flight(gateway, effect, now_s))

    def move_begins(self, gateway: "SimulatedGateway", node: str, now_s: float) -> None:
        """A steward restarts a harness: nobody else's is restarted meanwhile, while there is one steward."""
        self.moves += 1
        others = [
            at
            for (name, process, at), by in self._moves.items()
            if at != node and by.is_alive and by.process == process and now_s >= by.paused_until_s + CLAIM_TTL_S
        ]
        is_alone = self._store is None or self._is_store_sound(now_s)
        self._check(not (others and is_alone), 15, f"{gateway.name} restarts on {node} while {others} are restarted")
        self._moves[(gateway.name, gateway.process, node)] = gateway

    def move_ends(self, gateway: "SimulatedGateway", node: str) -> None:
        self._moves.pop((gateway.name, gateway.process, node), None)

    def keeps_memory(self, node: str, harness: str) -> None:
        """The memory of an engine that was stopped has not come back in time."""
        self.leaks += 1
        self._leaking[(node, harness)] = None

    def restarted(self, node: str, harness: str) -> None:
        self.mended += (node, harness) in self._leaking
        self._leaking.pop((node, harness), None)

    def look(self, nodes: Iterable["NodePlace"], now_s: float) -> None:
        """See what serves where, what works, and whom nobody can see."""
        for node in nodes:
            process = node.process
            if node.cut_from or process is None or not process.is_ready or process.supervisor.paused_until_s > now_s:
                self._hidden_s[node.name] = now_s
            for engine in node.host.engines.values():
                place = (engine.model, node.name)
                if engine.is_serving:
                    self._served_s[place] = now_s
                if any(not request.is_cancelled for request in engine.requests):
                    self._worked_s.setdefault(place, deque(maxlen=100)).append(now_s)

    def unload_asked(self, gateway: "SimulatedGateway", node: str, model: str, now_s: float) -> None:
        """A steward unloads a model: what it must know to be in use serves elsewhere, or did a moment ago."""
        self.unloads += 1
        is_blind = now_s < max(self._hidden_s.get(node, 0.0), gateway.paused_until_s) + BELIEVED_S
        worked = self._worked_s.get((model, node), ())
        is_in_use = any(PICTURE_S < now_s - at_s < self.idle_s for at_s in worked)
        others = [at for (of, at), at_s in self._served_s.items() if of == model and now_s - at_s < BELIEVED_S]
        words = f"{gateway.name} unloads {model} on {node}, which is in use and served by nobody else"
        self._check(is_blind or not is_in_use or bool(set(others) - {node}), 15, words)

    def load_landed(self, effect: StartLoad) -> None:
        self._flights = [flight for flight in self._flights if flight.effect is not effect]

    def gateway_ends(self, gateway: str) -> None:
        self._flights = [flight for flight in self._flights if flight.gateway != gateway]

    def compare(self, gateway: "SimulatedGateway") -> None:
        """Compare a dispatcher's loads under way with ours; claims that were lost are on their way back."""
        ours = {
            (flight.effect.request.model_id, flight.effect.node)
            for flight in self._flights
            if (flight.gateway, flight.process) == (gateway.name, gateway.process)
        }
        theirs = set(gateway.dispatcher.loads_under_way())
        self._check(ours <= theirs, 10, f"{gateway.name} has forgotten its loads {sorted(ours - theirs)}")

    def drains(self, supervisor: "SimulatedSupervisor", life: "SimulatedLife", now_s: float) -> None:
        self._drains[life] = (supervisor, now_s)

    def drain_ended(self, life: "SimulatedLife") -> None:
        self._drains.pop(life, None)
        self.drained += 1

    def overdue(self, now_s: float, calm_s: float, poll_s: float) -> None:
        """Once faults have stopped every drain ends; one that is due takes as long as the requests that run."""
        timing = self._timing
        for life, (supervisor, begun_s) in list(self._drains.items()):
            if not supervisor.is_alive or life.instance.status != "draining":
                del self._drains[life]
                continue
            bounds = {"eviction": timing.grace_s, "maintenance": timing.drain_s, "due": timing.drain_s}
            kind = life.departure.drain.kind if life.departure is not None else "eviction"
            limit_s = bounds[kind] + timing.ttl_s + 2 * poll_s + (self._longest_request_s if kind == "due" else 0.0)
            words = f"the drain ({kind}) of {life.key} on {supervisor.name} has lasted {now_s - begun_s:.1f} s"
            self._check(now_s <= max(begun_s, calm_s) + limit_s, 11, words)

    def rest(self, nodes: Iterable["NodePlace"], gateways: Iterable["SimulatedGateway"]) -> None:
        """Everything has come to rest: all that was acquired was given back."""
        self._check(not self._flights, 10, f"{len(self._flights)} loads have had no end")
        for gateway in gateways:
            dispatcher = gateway.dispatcher
            self._check(
                not dispatcher.waiting(), 12, f"{dispatcher.waiting()} requests wait at {gateway.name}, at rest"
            )
            in_flight = list(dispatcher.in_flight())
            self._check(not in_flight, 10, f"{gateway.name} has in flight, at rest: {in_flight}")
            loads = dispatcher.loads_under_way()
            self._check(not loads, 10, f"{gateway.name} waits for loads, at rest: {loads}")
        for node in nodes:
            self._rest_of(node)
        leaking = [node for node, _ in self._leaking]
        self._check(not leaking, 10, f"the harnesses of {leaking} have kept memory, and nobody has restarted them")
        if self._store is not None:
            claims = [name for name in self._store.held() if name.startswith("load:")]
            self._check(not claims, 10, f"claims are held at rest: {claims}")

    def _rest_of(self, node: "NodePlace") -> None:
        process = node.process
        self._check(process is not None and process.is_ready, 11, f"no neuron runs on {node.name}, at rest")
        assert process is not None
        supervisor, book = process.supervisor, process.admission.book
        self._check(not book.reservations, 10, f"memory is promised on {node.name}, at rest: {book.reservations}")
        running = {engine.model for engine in node.host.engines.values()}
        held = {resident.key for resident in book.residents}
        self._check(running == held, 10, f"on {node.name} run {sorted(running)}, and the books have {sorted(held)}")
        lives = {life.key for life in supervisor.lives.values()}
        self._check(running == lives, 14, f"on {node.name} run {sorted(running)}, and its neuron leads {sorted(lives)}")
        states = {
            life.key: life.instance.status for life in supervisor.lives.values() if life.instance.status != "loaded"
        }
        self._check(not states, 11, f"on {node.name} there are, at rest: {states}")
        for life in supervisor.lives.values():
            left = process.leases.in_flight(life.key, life.launch.generation, supervisor.now_s)
            debris = process.leases.book.debris(life.key)
            self._check(
                left == 0 and debris == 0,
                10,
                f"{life.key}@{node.name} has {left} in flight and {debris} debris, at rest",
            )

    def _has_claim(self, flight: _Flight) -> bool:
        """A load that began without the store, or went on without it, may have none, and goes on all the same."""
        return self._store is not None and flight.since_s > self._store.last_outage_s

    def _is_store_sound(self, now_s: float) -> bool:
        store = self._store
        return store is not None and not store.is_down and now_s - store.last_outage_s > 2 * CLAIM_TTL_S
