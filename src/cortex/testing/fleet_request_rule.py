"""The rules of requests and slots of a simulated fleet, with books of their own (invariants 1, 2, 7, 8, 9 and 11).

Every request has one end in time; it is served by the generation that it was granted; no engine stops under one; no
more are under way than there are slots; nothing is sent to what its gateway has acknowledged to drain.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cortex.contract.error import CallerError, CortexError
from cortex.fleet.effect import Grant
from cortex.testing.fleet_host import SentRequest, SimulatedEngine
from cortex.testing.fleet_verdict import Verdict
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.neuron.lease import Leases
    from cortex.testing.fleet_call import SimulatedCall
    from cortex.testing.fleet_gateway import SimulatedGateway
    from cortex.testing.fleet_neuron import NeuronProcess
    from cortex.testing.fleet_wire import NodePlace

FLIGHT_S = 2.0
"""More than any message takes, and a tick."""
UNSEEN_S = 5.0
"""A neuron that has nothing to do notices the end of a lease within this."""
RACE_S = 0.02
"""Two clocks that have measured the same lease may differ by so much at its end."""


class RequestRule:
    """Keeps every request that is not over."""

    def __init__(
        self, verdict: Verdict, time: Timeline, nodes: dict[str, "NodePlace"], *, patience_s: float, ttl_s: float
    ) -> None:
        self._time = time
        self._ttl_s = ttl_s
        self._check = verdict.check
        self._nodes = nodes
        self._patience_s = patience_s
        self.has_leases = False
        self.open: dict[SentRequest, None] = {}
        self.calls: dict[int, SimulatedCall] = {}
        self.orphans = 0
        self.ended: dict[str, int] = {}
        self.sends = 0
        self._acknowledged: set[tuple[str, int, str, str, int]] = set()
        self._generations: dict[tuple[str, int, str, str], int] = {}
        self._stopped: dict[tuple[str, str, int], bool] = {}
        self._lapsed: dict[tuple[str, str, int], frozenset[str]] = {}
        """Gateways that held nothing any more when a generation was stopped: its fence answers whatever they send."""
        self._lapsed_before: dict[str, frozenset[str]] = {}
        """By node: the gateways that held nothing any more when its last neuron process ended."""
        self._heard_s: dict[tuple[str, str], float] = {}
        self._seen: dict[tuple[str, int, str], dict[str, int]] = {}

    # Clients

    def arrived(self, call: "SimulatedCall") -> None:
        self.calls[id(call)] = call

    def granted(self, call: "SimulatedCall", grant: Grant) -> None:
        target, gateway = grant.target, call.gateway
        self._check(not call.end, 9, f"request {call.wish.number} is granted a place after its end")
        self._check(call.target is None, 9, f"request {call.wish.number} is granted two places")
        self._check(
            target.model == call.wish.model, 2, f"request {call.wish.number} for {call.wish.model} is granted {target}"
        )
        self._check(not call.has_content, 9, f"request {call.wish.number} is granted a place after its first content")
        place = (gateway.name, gateway.process, target.node, target.model)
        newest = self._generations.get(place, 0)
        words = (
            f"{gateway.name} goes back to generation {target.generation} of {target.model}@{target.node} from {newest}"
        )
        self._check(target.generation >= newest, 7, words)
        self._generations[place] = target.generation

    def refused(self, call: "SimulatedCall", error: CortexError) -> None:
        self._check(not call.end, 9, f"request {call.wish.number} is refused after its end")
        self._check(call.target is None, 9, f"request {call.wish.number} is refused after a grant")
        is_for_good = isinstance(error, CallerError)
        words = f"request {call.wish.number} for {call.wish.model} is refused for good: {error.message}"
        self._check(not (is_for_good and call.wish.is_feasible), 9, words)

    def ended_as(self, call: "SimulatedCall", end: str) -> None:
        self._check(not call.end, 9, f"request {call.wish.number} ends twice: {call.end}, and {end}")
        self._check(
            self.calls.pop(id(call), None) is not None, 9, f"request {call.wish.number} ends, and never arrived"
        )
        self.ended[end] = self.ended.get(end, 0) + 1

    def serves(self, call: "SimulatedCall", sent: SentRequest, engine: SimulatedEngine) -> None:
        """Content comes: from the very generation that was granted."""
        same = (engine.model, engine.generation) == (sent.model, sent.generation)
        words = (
            f"request {call.wish.number} was granted generation {sent.generation} of {sent.model}, "
            f"and generation {engine.generation} of {engine.model} answers"
        )
        self._check(same, 2, words)
        self._check(not call.end, 9, f"content comes for request {call.wish.number}, which is over")

    # Sends

    def sent(self, request: SentRequest) -> None:
        key = (request.gateway, request.process, request.node, request.model, request.generation)
        words = f"{key[0]} sends to generation {key[4]} of {key[3]}@{key[2]}, whose drain it has acknowledged"
        self._check(key not in self._acknowledged, 7, words)
        self.sends += 1
        self.open[request] = None
        leases = self._leases_of(request)
        if leases is not None:
            known = leases.book._find(request.model, request.generation)
            request.holding = known.holdings.get(request.holder) if known is not None else None
            request.is_orphan = request.holding is None and self.has_lapsed(request.node, request.holder)
        else:  # who held nothing of a neuron that is gone holds nothing now
            request.is_orphan = request.holder in self._lapsed_before.get(request.node, ())

    def arrives(self, request: SentRequest, engine: SimulatedEngine | None) -> None:
        """A request comes to where its generation was: it may be gone by a crash, not by a drain."""
        if engine is None and self.has_leases:
            was_forced = self._stopped.get((request.node, request.model, request.generation), True)
            lapsed = self._lapsed.get((request.node, request.model, request.generation), frozenset())
            excused = was_forced or request.is_orphan or request.is_cancelled or request.holder in lapsed
            what = f"generation {request.generation} of {request.model}@{request.node}"
            words = f"a request of {request.gateway} comes to {what}, which had been drained"
            self._check(excused, 7, words)

    def stops(self, node: str, engine: SimulatedEngine, inside: Iterable[SentRequest], *, is_forced: bool) -> None:
        running = [request for request in inside if not request.is_cancelled]
        words = f"{engine.model} on {node} is stopped with {len(running)} requests in it"
        self._check(is_forced or not running, 1, words)
        key = (node, engine.model, engine.generation)
        self._stopped[key] = is_forced
        self._lapsed[key] = self._lapsed_at(node)

    # Leases

    def heard(self, node: str, gateway: str) -> None:
        """Note when a neuron heard of a gateway, which begins its leases anew."""
        self._heard_s[(node, gateway)] = self._time.at_s

    def goes_by(self, gateway: "SimulatedGateway", node: str, start_id: str, event: int) -> None:
        """Check that what a gateway has seen of a node never goes back."""
        seen = self._seen.setdefault((gateway.name, gateway.process, node), {})
        words = f"{gateway.name} goes back to event {event} of {start_id}"
        is_last = not seen or next(reversed(seen)) == start_id or start_id not in seen
        self._check(is_last and event >= seen.get(start_id, 0), 7, words)
        seen[start_id] = event

    def has_lapsed(self, node: str, gateway: str) -> bool:
        """Tell whether all that a gateway held of a node is over; a neuron that begins waits for a lease's life."""
        begun_s = self._nodes[node].begun_s
        last_s = max(self._heard_s.get((node, gateway), float("-inf")), begun_s)
        return self._time.at_s >= last_s + self._ttl_s - RACE_S

    def neuron_ends(self, node: str) -> None:
        """A neuron process is gone; its engines go on, and whoever has slots may use them."""
        self._lapsed_before[node] = self._lapsed_at(node)
        self.serves_again(node)

    def _lapsed_at(self, node: str) -> frozenset[str]:
        heard = [gateway for at, gateway in self._heard_s if at == node]
        return frozenset(gateway for gateway in heard if self.has_lapsed(node, gateway))

    def overdue(self, nodes: Iterable["NodePlace"]) -> None:
        """Check that no neuron waits longer than a lease's life for a gateway that it does not hear of."""
        now_s = self._time.at_s
        for node in nodes:
            process = node.process
            if process is None or not process.is_ready or now_s < process.supervisor.paused_until_s + UNSEEN_S:
                continue
            for model in process.leases.book._generations:
                for gateway in process.leases.book.holders(model):
                    silent_s = now_s - max(self._heard_s.get((node.name, gateway), node.begun_s), node.begun_s)
                    words = f"{node.name} waits for {gateway}, silent for {silent_s:.1f} s, because of {model}"
                    self._check(silent_s <= self._ttl_s + UNSEEN_S, 11, words)

    def acknowledges(self, gateway: "SimulatedGateway", process: int, neuron: "NeuronProcess", seen: int) -> None:
        """A neuron takes in a report that has seen so much: the drains in it are acknowledged."""
        for model, known in neuron.leases.book._generations.items():
            if known.draining_event is not None and seen >= known.draining_event:
                self._acknowledged.add((gateway.name, process, neuron.host.name, model, known.serving.generation))

    def serves_again(self, node: str, model: str | None = None) -> None:
        """A drain was given up, or the process that drained has ended."""
        kept = (key for key in self._acknowledged if key[2] != node or (model is not None and key[3] != model))
        self._acknowledged = set(kept)

    def compare(self, gateways: Iterable["SimulatedGateway"]) -> None:
        """Check what must hold after every step."""
        if not self.open:
            return
        alive = {(gateway.name, gateway.process) for gateway in gateways if gateway.is_alive}
        under_way: dict[tuple[str, str, int], list[SentRequest]] = {}
        for request in [request for request in self.open if request.is_over]:
            del self.open[request]
        for request in self.open:
            self._find_orphan(request, alive)
            if not request.is_cancelled and not request.is_orphan:
                under_way.setdefault((request.node, request.model, request.generation), []).append(request)
        for (node, model, generation), requests in under_way.items():
            parallel = self._parallel_of(node, model, generation)
            what = f"generation {generation} of {model}@{node}"
            words = f"{len(requests)} requests are under way to {what}, which has {parallel} slots"
            self._check(parallel is None or len(requests) <= parallel, 8, words)

    def late(self, now_s: float, paused: set[str]) -> None:
        """Check that nobody has waited too long."""
        for call in self.calls.values():
            patience_s = self._patience_s if call.wish.patience_s is None else call.wish.patience_s
            if call.is_waiting and call.gateway.name not in paused:
                waited_s = now_s - call.asked_s
                what = f"{call.wish.model} at {call.gateway.name}"
                words = f"request {call.wish.number} has waited {waited_s:.1f} s for {what}"
                self._check(waited_s <= patience_s + FLIGHT_S, 9, words)

    def rest(self) -> None:
        self._check(not self.calls, 9, f"{len(self.calls)} requests have had no end")
        left = [request for request in self.open if not request.is_over]
        self._check(not left, 10, f"{len(left)} requests are still at engines")

    def _find_orphan(self, request: SentRequest, alive: set[tuple[str, int]]) -> None:
        """A request whose gateway is gone, or holds nothing any more by the book, is nobody's."""
        if request.is_orphan:
            return
        is_held = True
        leases = self._leases_of(request)
        if leases is not None and self.has_leases:
            known = leases.book._find(request.model, request.generation)
            clock = self._nodes[request.node].host.clock
            is_unknown = known is None or (
                known.serving.is_found and clock.now_s() < leases.book._known_from_s + RACE_S
            )
            holding = known.holdings.get(request.holder) if known is not None else None
            if request.holding is None:
                request.holding = holding
            is_held = is_unknown or (holding is not None and holding is request.holding)
            is_held = is_held and not _is_taken_for_another(request, leases)
        if (request.gateway, request.process) not in alive or not is_held:
            self.orphans += 1
            request.is_orphan = True

    def _leases_of(self, request: SentRequest) -> "Leases | None":
        process = self._nodes[request.node].process
        return process.leases if process is not None and process.is_ready else None

    def _parallel_of(self, node: str, model: str, generation: int) -> int | None:
        for engine in self._nodes[node].host.engines.values():
            if engine.model == model and engine.generation == generation:
                return engine.parallel
        return None


def _is_taken_for_another(request: SentRequest, leases: "Leases") -> bool:
    """Tell whether who sent this goes by slots of its double: until it is told so, it may ask for places as that one.

    Whoever goes by a name of its own is never excused.
    """
    gateway = leases.book._gateways.get(request.holder)
    ours = process_name(request.gateway, request.process)
    return request.holder != request.gateway and gateway is not None and gateway.process not in ("", ours)


def process_name(gateway: str, process: int) -> str:
    """Return what a gateway process calls itself in its reports."""
    return f"{gateway}-{process}"
