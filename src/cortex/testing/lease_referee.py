"""The rules of leases, checked from outside with books of their own (the project's invariants 1, 7, 8, 10 and 11).

No engine stops under a request; nothing is sent to what drains by whom has acknowledged it; never more requests are
under way than there are slots; what was cancelled occupies its slot until the engine is done; versions only grow; a
gateway that is gone is not waited for; at rest every slot is with somebody, and in the end everything is given back.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cortex.testing.leased_node import PARALLEL, SETTLE_S, TTL_S, Drain, LeasedNode, SentRequest
from cortex.testing.leasing_gateway import LeasingGateway
from cortex.testing.referee import SimulationFailure

if TYPE_CHECKING:
    from cortex.residency.holding import Holding

FLIGHT_S = 2.0
"""More than any message takes."""


class LeaseReferee:
    """Keeps every request that is not over yet."""

    def __init__(self, last_steps: Sequence[str]) -> None:
        self.open: set[SentRequest] = set()
        self._last_steps = last_steps
        self.orphans = 0
        self.debris = 0
        self._acknowledged: set[tuple[str, str, int]] = set()
        self._versions: dict[tuple[str, int], tuple[list[str], int]] = {}
        self._events: dict[str, int] = {}
        self._generations: dict[tuple[str, int, str], int] = {}
        self._heard_s: dict[str, float] = {}
        self._process: dict[str, int] = {}
        self._leases: dict[SentRequest, Holding] = {}
        self._seen: dict[tuple[str, int, str], int] = {}

    def check(self, is_so: bool, rule: str) -> None:
        if not is_so:
            steps = "\n  ".join(self._last_steps[-40:])
            raise SimulationFailure(f"{rule}\n  {steps}")

    def sent(self, request: SentRequest, node: LeasedNode) -> None:
        key = (request.gateway, request.model, request.generation)
        self.check(
            key not in self._acknowledged, f"{key[0]} sends to generation {key[2]}, whose drain it has acknowledged"
        )
        self.open.add(request)
        lease = self._lease_of(request, node)
        if lease is not None:
            self._leases[request] = lease
        self._count(node)

    def arrived_too_late(self, request: SentRequest, was_forced: bool) -> None:
        self.check(
            was_forced or request.is_orphan or request.is_cancelled,
            f"a request of {request.gateway} came to generation {request.generation}, which had been stopped",
        )

    def stops(self, requests: Iterable[SentRequest], is_forced: bool) -> None:
        self.check(is_forced or not any(requests), "an engine was stopped under a request")

    def heard(self, name: str, now_s: float) -> None:
        """Note when the neuron took in something of a gateway."""
        self._heard_s[name] = now_s

    def cut(self, name: str, process: int, node: LeasedNode) -> list[SentRequest]:
        """Return what the first post of a new process tells to have been cut, as far as the book knew of it."""
        found: list[SentRequest] = []
        if self._process.get(name, process) < process:
            for model, known in node.leases.book._generations.items():
                holding = known.holdings.get(name)
                inside = [one for one in node.instances[model].engine.requests if one.gateway == name]
                old = [one for one in inside if one.process < process and not one.is_cancelled]
                found += sorted(old, key=lambda one: one.number)[: holding.in_flight if holding else 0]
        return found

    def reported(self, gateway: LeasingGateway, process: int, seen_event: int, node: LeasedNode) -> None:
        """Note which drains a post acknowledges that was taken in."""
        self._process[gateway.name] = process
        place = (gateway.name, process, node.events.start_id)
        self.check(seen_event >= self._seen.get(place, -1), f"the book of {gateway.name} goes back to {seen_event}")
        self._seen[place] = seen_event
        for model, drain in node.drains.items():
            begun_at = next(
                (known.draining_event for key, known in node.leases.book._generations.items() if key == model), None
            )
            if begun_at is not None and seen_event >= begun_at:
                self._acknowledged.add((gateway.name, model, drain.instance.engine.generation))

    def answered(self, gateway: LeasingGateway, node: LeasedNode) -> None:
        """After an answer: who has seen the newest change goes by what the book says."""
        if (gateway.start_id, gateway.event) != (node.events.start_id, node.events.event):
            return
        for change in node.leases.slots():
            hold = gateway.holds.get(change.model_id)
            if change.gateway_id == gateway.name and hold is not None and hold.generation == change.generation:
                slots = gateway.slots_of(change.model_id)
                self.check(slots == change.slots, f"{gateway.name} goes by {slots} slots of {change.slots}")

    def drain_ended(self, model: str, generation: int) -> None:
        """A drain was given up: whoever acknowledged it may send again once it has seen that."""
        self._acknowledged = {key for key in self._acknowledged if key[1:] != (model, generation)}

    def compare(self, node: LeasedNode, gateways: Iterable[LeasingGateway], now_s: float) -> None:
        """Check what must hold after every step."""
        self.open = {request for request in self.open if not request.is_over}
        self._leases = {request: lease for request, lease in self._leases.items() if request in self.open}
        self._check_versions(node, gateways)
        if node.is_up and now_s >= node.waits_until_s:
            self._find_orphans(node, gateways, now_s)
            self._check_slots(node)
            self._check_debris(node, now_s)
            self._check_the_silent(node, now_s)
        self._count(node)

    def check_rest(self, node: LeasedNode, gateways: Iterable[LeasingGateway]) -> None:
        """Check what must hold when nothing has gone wrong for a while and nothing is asked for any more."""
        self.check(not node.drains, "a drain has had no end")
        self.check(not self.open, f"{len(self.open)} requests are still open")
        for gateway in gateways:
            waiting = {model: len(queue) for model, queue in gateway.waiting.items() if queue}
            self.check(not waiting, f"{gateway.name} still waits: {waiting}")
        for model in node.leases.book._generations:
            told = sum(change.slots for change in node.leases.slots() if change.model_id == model)
            is_held = bool(node.leases.book.holders(model))
            self.check(not is_held or told == PARALLEL, f"{told} slots of {model} are out of {PARALLEL}")
            self.check(node.leases.book.debris(model) == 0, f"slots of {model} are kept for nobody")

    def check_end(self, node: LeasedNode, now_s: float) -> None:
        """Check that everything is given back when every gateway has gone."""
        self.check(not node.leases.slots(), f"slots are still held: {node.leases.slots()}")
        for model, known in node.leases.book._generations.items():
            left = (node.leases.in_flight(model, known.serving.generation, now_s), node.leases.book.debris(model))
            self.check(left == (0, 0), f"in flight and debris of {model} at the end: {left}")

    def overdue(self, drain: Drain, now_s: float, calm_s: float) -> None:
        limit_s = max(drain.until_s, calm_s) + TTL_S + FLIGHT_S
        self.check(now_s <= limit_s, f"the drain of {drain.instance.engine.model} goes on and on")

    def _count(self, node: LeasedNode) -> None:
        """Never more under way than there are slots, what the gateways have cancelled or lost apart."""
        under_way: dict[tuple[str, int], int] = {}
        for request in self.open:
            if not request.is_cancelled and not request.is_orphan:
                key = (request.model, request.generation)
                under_way[key] = under_way.get(key, 0) + 1
        for key, count in under_way.items():
            self.check(count <= PARALLEL, f"{count} requests are under way to {key}, which has {PARALLEL} slots")

    def _check_versions(self, node: LeasedNode, gateways: Iterable[LeasingGateway]) -> None:
        last = self._events.get(node.events.start_id, 0)
        self.check(node.events.event >= last, "the neuron's number went back")
        self._events[node.events.start_id] = node.events.event
        for gateway in gateways:
            seen, event = self._versions.setdefault((gateway.name, gateway.process), ([], 0))
            if gateway.start_id not in seen:
                seen, event = [*seen, gateway.start_id], 0
            self.check(gateway.start_id == seen[-1], f"{gateway.name} went back to an earlier neuron")
            self.check(gateway.event >= event, f"{gateway.name} went back from {event} to {gateway.event}")
            self._versions[(gateway.name, gateway.process)] = (seen, gateway.event)
            for model, report in gateway.models.items():
                place = (gateway.name, gateway.process, model)
                known = self._generations.get(place, 0)
                self.check(report.generation >= known, f"{gateway.name} went back to an older generation")
                self._generations[place] = report.generation

    def _find_orphans(self, node: LeasedNode, gateways: Iterable[LeasingGateway], now_s: float) -> None:
        """A request whose gateway is gone, or holds nothing any more by the book, is nobody's."""
        alive = {(gateway.name, gateway.process) for gateway in gateways if gateway.is_alive}
        for request in self.open:
            known = node.leases.book._find(request.model, request.generation)
            is_unknown = known is None or (known.serving.is_found and now_s < node.leases.book._known_from_s)
            holding = self._lease_of(request, node)
            # A lease that has ended and begun anew is another one, within one step too.
            is_held = holding is not None and self._leases.setdefault(request, holding) is holding
            if (request.gateway, request.process) not in alive or not (is_unknown or is_held):
                self.orphans += not request.is_orphan
                request.is_orphan = True

    def _lease_of(self, request: SentRequest, node: LeasedNode) -> "Holding | None":
        known = node.leases.book._find(request.model, request.generation)
        return known.holdings.get(request.gateway) if known is not None else None

    def _check_slots(self, node: LeasedNode) -> None:
        out: dict[str, int] = {}
        for change in node.leases.slots():
            out[change.model_id] = out.get(change.model_id, 0) + change.slots
        for model, slots in out.items():
            self.check(slots <= PARALLEL, f"{slots} slots of {model} are out")

    def _check_debris(self, node: LeasedNode, now_s: float) -> None:
        """What was cancelled, is still in the engine and was not counted since occupies its slot for a while."""
        kept: dict[tuple[str, int, str], int] = {}
        for request in self.open:
            instance = node.instances.get(request.model)
            if request.reported_s is None or instance is None or instance.engine.generation != request.generation:
                continue
            is_young = now_s - request.reported_s < SETTLE_S - 0.001
            if is_young and instance.engine.counted_s < request.reported_s:
                key = (request.model, request.generation, request.gateway)
                kept[key] = kept.get(key, 0) + 1
        for (model, generation, name), count in kept.items():
            known = node.leases.book._find(model, generation)
            holding = known.holdings.get(name) if known is not None else None
            self.debris += count
            self.check(
                holding is None or holding.debris >= count,
                f"{count} cancelled requests of {name} are in {model}, whose slots count as free",
            )

    def _check_the_silent(self, node: LeasedNode, now_s: float) -> None:
        node.leases.in_flight("", 0, now_s)
        for name, heard_s in self._heard_s.items():
            if now_s >= heard_s + TTL_S:
                held = [model for model in node.instances if name in node.leases.book.holders(model)]
                self.check(not held, f"{name} was not heard for {now_s - heard_s:.1f} s and still holds {held}")
