"""One generation of an instance as this gateway uses it: its target, its requests in flight, whether it may be granted.

A replica lives from the moment a generation is first heard of until the last request granted to it is over.

    pending ──endpoint──▶ ready ──suspected──▶ suspected ──endpoint──▶ resting ──back-off over──▶ ready
       any ──sample says draining──▶ draining ──sample says loaded──▶ ready     any ──gone──▶ dropped
"""

from typing import Literal

from cortex.contract.instance import EndpointAnswer
from cortex.fleet.effect import Target

ReplicaState = Literal["pending", "ready", "suspected", "draining", "dropped"]

REST_FIRST_S = 0.25
REST_MAX_S = 2.0
STRIKES_FORGOTTEN_S = 30.0
"""A target that failed is not granted for a while after its neuron vouched for it: doubling with every failure, so that
requests do not spin on an engine that only its neuron thinks alive; forgotten after a quiet half minute."""


class Replica:
    """One generation of ``model`` on ``node``. Only the dispatcher writes it."""

    __slots__ = (
        "generation", "in_flight", "is_fetching", "is_suspect", "last_used_s", "learnt_s", "limit", "model", "node",
        "parallel", "rest_until_s", "since_s", "state", "strikes", "struck_s", "target", "tokens_in_flight",
    )  # fmt: skip

    def __init__(self, model: str, node: str, generation: int, learnt_s: float) -> None:
        self.model = model
        self.node = node
        self.generation = generation
        self.learnt_s = learnt_s
        self.state: ReplicaState = "pending"
        self.target: Target | None = None
        self.is_fetching = False
        self.is_suspect = False
        self.in_flight = 0
        self.tokens_in_flight = 0
        self.parallel: int | None = None
        self.limit = NO_LIMIT
        self.since_s = learnt_s
        """When this gateway first heard of it."""
        self.last_used_s = learnt_s
        self.rest_until_s = 0.0
        self.strikes = 0
        self.struck_s = 0.0

    @property
    def used_s(self) -> float | None:
        """When this gateway last used it, None when it never did."""
        return self.last_used_s if self.in_flight or self.last_used_s > self.since_s else None

    def is_grantable(self, now_s: float) -> bool:
        """Tell whether requests may be sent to it, its slots aside."""
        return self.state == "ready" and self.target is not None and now_s >= self.rest_until_s

    def is_hopeful(self) -> bool:
        """Tell whether waiting for it makes sense: it is ready, resting or being asked for."""
        return self.state == "ready" or (self.is_fetching and self.state in ("pending", "suspected"))

    def set_parallel(self, parallel: int | None) -> None:
        """Take over the engine's own concurrency; None or 0 means that nobody knows of a bound."""
        self.parallel = parallel or None
        self.limit = parallel or NO_LIMIT

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
        if now_s - self.struck_s > STRIKES_FORGOTTEN_S:
            self.strikes = 0
        self.strikes += 1
        self.doubt(now_s)
        self.rest_until_s = now_s + rest_s(self.strikes)


def rest_s(strikes: int) -> float:
    """Return how long a target rests after its n-th failure in a row, in seconds."""
    return float(min(REST_MAX_S, REST_FIRST_S * 2 ** min(strikes - 1, 16)))


NO_LIMIT = 1 << 60
"""In-flight bound of a replica whose engine names none; an int, so that the hot path compares without asking."""
