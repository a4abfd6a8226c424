"""The gateway's leases as the dispatcher works with them: from its books into reports, from what desks say into limits.

A replica's limit is the slots that its neuron gave, less those of requests that were cancelled and may still be in the
engine. When a lease can no longer be trusted the replica is not granted until it is heard of again; that is looked at
once for all, at the moment of the first that may end.
"""

from collections.abc import Iterable, Iterator
from math import ceil, inf
from typing import TYPE_CHECKING

from cortex.contract.instance import EndpointAnswer
from cortex.contract.lease import InstanceUse
from cortex.fleet.desk import Desk, Use
from cortex.fleet.effect import PostLeases
from cortex.fleet.model import Model
from cortex.fleet.replica import NO_LIMIT, Replica

if TYPE_CHECKING:
    from cortex.fleet.floor import Floor

LINGER_S = 2.0
"""An instance that was busy so lately has not turned busy: not every request is reported."""


class Leasing:
    """The leases with all nodes."""

    def __init__(self, floor: "Floor") -> None:
        self._floor = floor
        self.urgent: set[str] = set()
        """Nodes whose desks may want a report at once."""
        self._later: set[str] = set()
        """Nodes whose desks want one, which would have come too soon after the last."""
        self.lapse_s = inf
        """Before this no lease ends, as far as it is used."""

    # Into reports

    def due(self, node: str, now_s: float, *, leaving: bool = False) -> list[PostLeases]:
        """Report to a node, unless a report is under way."""
        desk = self._floor.roster.desks.get(node)
        post = None if desk is None else desk.post(self._uses(desk, now_s), now_s, leaving=leaving)
        return [] if post is None else [PostLeases(node, post)]

    def flush(self, now_s: float) -> list[PostLeases]:
        """Report to the nodes that are urgent."""
        nodes, self.urgent = self.urgent, set()
        desks = self._floor.roster.desks
        reports = [effect for node in sorted(nodes) if desks[node].wants_post for effect in self.due(node, now_s)]
        self._later.update(node for node in nodes if desks[node].is_contended)
        return reports

    def goodbyes(self, now_s: float) -> list[PostLeases]:
        """Report to every node that answers, for the last time."""
        desks = self._floor.roster.desks.values()
        healthy = [desk.node for desk in desks if desk.live.is_healthy]
        return [effect for node in healthy for effect in self.due(node, now_s, leaving=True)]

    def turned_busy(self, replica: Replica, now_s: float) -> None:
        """Note that a replica has its first request; whoever was busy just now has not turned busy."""
        if now_s - replica.last_used_s > LINGER_S and replica.generation:
            self._floor.roster.desks[replica.node].turned_busy()
            self.urgent.add(replica.node)

    def freed(self, replica: Replica, now_s: float, *, is_cancelled: bool) -> None:
        """Note that a request is over there. Its neuron is told where that lets a drain end, or somebody else go on."""
        desk = self._floor.roster.desks[replica.node]
        if is_cancelled:
            replica.cancelled += 1
            if replica.limit < NO_LIMIT:
                replica.settle_later(now_s, now_s + desk.cancel_settle_s)
        if not replica.generation:
            return
        if replica.state == "draining" and not replica.in_flight:
            desk.drained()
        elif is_cancelled or replica.is_shared:
            desk.contended(now_s)
        self.urgent.add(replica.node)

    def ask(self, node: str, now_s: float) -> None:
        """Have a node reported to soon, for the sake of what it answers: it may be otherwise than was thought."""
        desk = self._floor.roster.desks.get(node)
        if desk is not None:
            desk.contended(now_s)
            self.urgent.add(node)

    def short(self, model: Model, now_s: float) -> None:
        """Note that somebody waits for a model: where slots are with others, or with what was cancelled, say so."""
        for replica in model.replicas.values():
            if replica.is_shared or replica.settling or now_s >= replica.trusted_until_s:
                self.ask(replica.node, now_s)

    def look_after(self, queued: Iterable[Model], now_s: float) -> None:
        """Say what it was too soon to say.

        Ask for the counts of engines that may be done with what was cancelled, while somebody waits for its slot.
        """
        later, self._later = self._later, set()
        for node in later:
            self._floor.roster.desks[node].ripen(now_s)
        self.urgent |= later
        for model in queued:
            for replica in model.replicas.values() if model.waiting else ():
                if replica.settling or now_s >= replica.trusted_until_s:
                    self.ask(replica.node, now_s)

    # Into limits

    def take_place(self, replica: Replica, endpoint: EndpointAnswer, asked_s: float, now_s: float) -> None:
        """Take in that a neuron named a place, which makes this gateway a holder of its generation."""
        desk = self._floor.roster.desks[replica.node]
        if endpoint.generation == replica.generation:
            desk.endpoint_taken(replica.model, replica.generation, endpoint.slots, asked_s)
        self.urgent.add(replica.node)
        self.apply(desk, replica, now_s)

    def apply_all(self, desk: Desk, now_s: float) -> None:
        """Bring all that is held of a node in line with its desk."""
        for model_id, _ in desk.held():
            model = self._floor.models.get(model_id)
            replica = None if model is None else model.replicas.get(desk.node)
            if model is not None and replica is not None:
                self.apply(desk, replica, now_s)
                model.look_at(desk.node, now_s)

    def apply(self, desk: Desk, replica: Replica, now_s: float) -> None:
        """Bring a replica in line with its desk. Slots come from a neuron that answers: without any it is no use."""
        replica.set_slots(desk.slots_of(replica.model, replica.generation))
        replica.trusted_until_s = desk.trusted_until_s(replica.model, replica.generation)
        is_spent = now_s >= replica.trusted_until_s or replica.slots == 0
        replica.is_cut_off = not desk.live.is_healthy and is_spent
        if now_s < replica.trusted_until_s < self.lapse_s:
            self.lapse_s = replica.trusted_until_s

    def count(self, desk: Desk, in_use: Iterable[InstanceUse], sent_s: float) -> None:
        """Take in the engines' own counts, which say whether what was cancelled is out of them."""
        for told in in_use:
            model = self._floor.models.get(told.model_id)
            replica = None if model is None else model.replicas.get(desk.node)
            if replica is not None and replica.settling and told.age_s is not None:
                replica.count(told.in_flight, sent_s - told.age_s)

    def lapse(self, now_s: float) -> None:
        """Stop granting where a lease can no longer be trusted, and find out when to look again."""
        self.lapse_s = inf
        for model in self._floor.models.values():
            for replica in model.replicas.values():
                if replica.trusted_until_s > now_s:
                    self.lapse_s = min(self.lapse_s, replica.trusted_until_s)
                elif replica.state == "ready":
                    desk = self._floor.roster.desks[replica.node]
                    self.apply(desk, replica, now_s)
                    self.ask(replica.node, now_s)
            model.refresh(now_s)

    def _uses(self, desk: Desk, now_s: float) -> Iterator[Use]:
        for model_id, generation in desk.held():
            model = self._floor.models.get(model_id)
            if model is not None:
                yield _use(model, desk.node, generation, now_s)


def _use(model: Model, node: str, generation: int, now_s: float) -> Use:
    replica = model.replicas.get(node)
    if replica is not None and replica.generation != generation:
        replica = None
    in_flight = sum(one.in_flight for one in model.retired if (one.node, one.generation) == (node, generation))
    waiting, since_s = 0, None
    if replica is not None:
        in_flight += replica.in_flight
        if model.waiting and replica.state == "ready":
            waiting = ceil(len(model.waiting) / max(1, len(model.replicas)))
            since_s = model.waiting.oldest_since_s()
    return Use(
        model_id=model.id,
        generation=generation,
        in_flight=in_flight,
        waiting=waiting,
        oldest_wait_s=0.0 if since_s is None else now_s - since_s,
        idle_s=None if replica is None or replica.used_s is None else max(0.0, now_s - replica.used_s),
        cancelled=0 if replica is None else replica.cancelled,
    )
