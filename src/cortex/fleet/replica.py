"""One generation of an instance as this gateway uses it: its target, its requests in flight, whether it may be granted.

A replica lives from the moment a generation is first heard of until the last request granted to it is over.

    pending ──endpoint──▶ ready ──suspected──▶ suspected ──endpoint──▶ ready
       any ──sample says draining──▶ draining ──sample says loaded──▶ ready     any ──gone──▶ dropped

One that failed is ready again when its neuron has vouched for it; how many requests it gets then its circuit says.
"""

from math import inf
from typing import Literal, NamedTuple

from cortex.contract.instance import EndpointAnswer
from cortex.fleet.circuit import Circuit
from cortex.fleet.effect import Target

ReplicaState = Literal["pending", "ready", "suspected", "draining", "dropped"]


class Settling(NamedTuple):
    """A cancelled request that occupies its slot."""

    since_s: float
    until_s: float


class Replica:
    """One generation of ``model`` on ``node``. Only the dispatcher writes it."""

    __slots__ = (
        "cancelled", "circuit", "generation", "in_flight", "is_cut_off", "is_fetching", "is_offered", "is_outdated",
        "is_shared", "is_suspect", "last_used_s", "learnt_s", "limit", "model", "node", "parallel", "settling",
        "since_s", "slots", "state", "struck_s", "target", "tokens_in_flight", "trusted_until_s",
    )  # fmt: skip

    def __init__(self, model: str, node: str, generation: int, learnt_s: float) -> None:
        self.model = model
        self.node = node
        self.generation = generation
        self.learnt_s = learnt_s
        self.state: ReplicaState = "pending"
        self.target: Target | None = None
        self.is_fetching = False
        self.is_offered = False
        """It is among those of its model that may be granted."""
        self.is_suspect = False
        self.is_outdated = False
        """The catalogue has changed since it was loaded: what runs may finish, nothing new begins."""
        self.in_flight = 0
        self.tokens_in_flight = 0
        self.parallel: int | None = None
        self.slots: int | None = None
        """Of this gateway; None: as many as there are."""
        self.is_shared = False
        """Other gateways have some of its slots."""
        self.limit = NO_LIMIT
        self.trusted_until_s = inf
        """Not granted from then on, until it is heard of again."""
        self.is_cut_off = False
        """Nobody can be asked, and without that it gets nothing new: it is not trusted any more, or has no slots."""
        self.cancelled = 0
        """Requests so far whose answers were not awaited."""
        self.settling: list[Settling] = []
        self.since_s = learnt_s
        """When this gateway first heard of it."""
        self.last_used_s = learnt_s
        self.circuit = Circuit()
        self.struck_s = 0.0

    @property
    def used_s(self) -> float | None:
        """When this gateway last used it, None when it never did."""
        return self.last_used_s if self.in_flight or self.last_used_s > self.since_s else None

    def is_grantable(self, now_s: float) -> bool:
        """Tell whether requests may be sent to it, its slots aside."""
        return (
            self.state == "ready"
            and not self.is_outdated
            and self.target is not None
            and now_s < self.trusted_until_s
            and (self.circuit.is_closed or self.circuit.admits(now_s))
        )

    @property
    def is_serving(self) -> bool:
        """Whether it is up as far as anybody knows, and can get requests, now or when its slots are free."""
        return self.state == "ready" and not self.is_cut_off

    def is_in_use(self, now_s: float) -> bool:
        """Tell whether requests that fail now were sent to what it is now, and not before it last failed."""
        return self.state == "ready" and not self.circuit.is_open(now_s)

    def is_hopeful(self) -> bool:
        """Tell whether waiting for it makes sense: it is ready, resting or being asked for."""
        if self.is_outdated:
            return False
        if self.state == "ready":
            return self.is_serving and not self.circuit.is_broken
        return self.is_fetching and self.state in ("pending", "suspected")

    def set_parallel(self, parallel: int | None) -> None:
        """Take over the engine's own concurrency; None or 0 means that nobody knows of a bound."""
        self.parallel = parallel or None
        self._set_limit()

    def set_slots(self, slots: int | None) -> None:
        """Take over the slots of this gateway; None: nobody else has any."""
        self.slots = slots
        self._set_limit()

    def settle_later(self, now_s: float, until_s: float) -> None:
        """Keep the slot of a cancelled request: its engine may be at it still."""
        self.settling.append(Settling(now_s, until_s))
        self._set_limit()

    def settle(self, now_s: float) -> None:
        """Give back the slots of cancelled requests that must be over by now."""
        if self.settling:
            self.settling = [one for one in self.settling if now_s < one.until_s]
            self._set_limit()

    def count(self, in_flight: int, counted_s: float) -> None:
        """Take in what its engine counted at a moment: beyond what is in flight only so many can be cancelled ones."""
        older = [one for one in self.settling if one.since_s <= counted_s]
        kept = older[len(older) - max(0, in_flight - self.in_flight) :] if in_flight > self.in_flight else []
        if len(kept) < len(older):
            self.settling = [*kept, *(one for one in self.settling if one.since_s > counted_s)]
            self._set_limit()

    def _set_limit(self) -> None:
        bound = (self.parallel or NO_LIMIT) if self.slots is None else self.slots
        self.is_shared = bound < (self.parallel or 0)
        self.limit = bound if bound == NO_LIMIT else max(0, bound - len(self.settling))

    def matches(self, endpoint: EndpointAnswer) -> bool:
        """Tell whether an endpoint is the very one this replica's target was made of."""
        held = self.target
        return held is not None and (
            (held.generation, held.url, held.engine_model, held.credential)
            == (endpoint.generation, endpoint.url.rstrip("/"), endpoint.engine_model or self.model, endpoint.credential)
        )

    def aim(self, endpoint: EndpointAnswer) -> None:
        """Make the one target of this generation."""
        self.generation = endpoint.generation
        self.target = Target(
            node=self.node,
            model=self.model,
            generation=endpoint.generation,
            url=endpoint.url.rstrip("/"),
            engine_model=endpoint.engine_model or self.model,
            credential=endpoint.credential,
            kind=endpoint.kind,
            context=endpoint.context,
        )

    def aimed(self) -> Target:
        """Return the target of a replica that is being granted."""
        if self.target is None:
            raise ValueError(f"replica of {self.model} on {self.node} was granted without a target")
        return self.target

    def doubt(self, now_s: float) -> None:
        """Take it out of use until its neuron vouches for it. For an engine that answers, but not to this."""
        self.state = "suspected"
        self.is_suspect = True
        self.struck_s = now_s

    def strike(self, now_s: float) -> None:
        """Take it out of use until its neuron vouches for it, and for a rest from now on even then."""
        self.doubt(now_s)
        self.circuit.fail(now_s)


NO_LIMIT = 1 << 60
"""In-flight bound of a replica whose engine names none; an int, so that the hot path compares without asking."""
