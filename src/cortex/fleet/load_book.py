"""Which loads are under way and which have failed lately: single flight and back-off, keyed by (node, model).

Keyed by the pair, because one node's failure says nothing of another's. Decides no placement.
"""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from cortex.fleet.memory import LoadUnderWay

BACK_OFF_FIRST_S = 5.0
BACK_OFF_MAX_S = 300.0
CAPACITY_FIRST_S = 1.0
CAPACITY_MAX_S = 15.0
OUTDATED_CODES = frozenset({"stale", "loaded_differently"})
"""The node is otherwise than the plan had it; the second: another gateway has loaded the model there meanwhile."""
CAPACITY_CODES = (
    frozenset({"no_room", "busy", "held", "starting", "shutting_down", "draining", "maintenance"}) | OUTDATED_CODES
)
"""Refusals of a neuron that pass by themselves: nothing was tried, so asking again soon costs nothing."""
CALLED_OFF = "unloaded"
"""Somebody has had it unloaded while it was being loaded: no failure, and nothing that holds up the next load."""
ACCIDENT_CODES = frozenset({"engine_killed", "load_lost", "node_unreachable"})
"""The load was ended from outside: the engine was killed, or the neuron was. The next one may well succeed."""
STALE_FIRST_S = 0.1
STALE_MAX_S = 2.0
"""A plan by an older picture: the node is asked for a newer one at once."""
KEEPS_PLACE_S = 20.0
"""Who waits for room asks again so often at the least, or the node gives its place away."""
SILENCE_FIRST_S = 0.5
SILENCE_MAX_S = 2.0
SILENCE_CODES = frozenset({"upstream_unreachable"})
"""A server that runs by itself does not answer: one question to the neuron tells whether it is back."""


class Flight(msgspec.Struct, frozen=True):
    """A load that was asked for and has not been answered yet."""

    node: str
    model: str
    started_s: float
    load: LoadUnderWay


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The last failure of a model on a node, the ``count``-th in a row; not tried again before ``until_s``."""

    node: str
    model: str
    code: str
    message: str
    log_tail: tuple[str, ...]
    failed_s: float
    until_s: float
    count: int
    faults: int = 0
    """Of these: how often it was tried and went wrong. The others were refusals, which pass by themselves."""
    outdated: int = 0
    """Of these: how often only this gateway's picture of the node was too old."""
    is_promised: bool = False
    """The node has said when to ask again."""


NONE = Failure(node="", model="", code="", message="", log_tail=(), failed_s=0.0, until_s=0.0, count=0)


class LoadBook:
    """The dispatcher's memory of loads."""

    def __init__(self) -> None:
        self._flights: dict[str, dict[str, Flight]] = {}
        self.loads: dict[str, tuple[LoadUnderWay, ...]] = {}
        """What is under way, by node, as plans have it."""
        self._failures: dict[str, dict[str, Failure]] = {}
        """By model and node; of one model in the order in which they failed last."""

    def start(self, node: str, load: LoadUnderWay, now_s: float) -> None:
        """Note that a load was asked for."""
        self._flights.setdefault(load.model, {})[node] = Flight(node, load.model, now_s, load)
        self.loads[node] = (*self.loads.get(node, ()), load)

    def flight_of(self, model: str) -> Flight | None:
        """Return a load of the model that is under way on any node."""
        flights = self._flights.get(model)
        return next(iter(flights.values())) if flights else None

    def is_under_way(self, node: str, model: str) -> bool:
        """Tell whether a load of the model on this node is under way."""
        return node in self._flights.get(model, ())

    def flights(self) -> Iterator[Flight]:
        """Go through all loads under way."""
        for flights in self._flights.values():
            yield from flights.values()

    def flights_of(self, model: str) -> Mapping[str, Flight]:
        """Return the loads of the model that are under way, by node."""
        return self._flights.get(model, {})

    def land(self, node: str, model: str) -> Flight | None:
        """Note that a load was answered, well or badly; return what was asked for."""
        flight = self._flights.get(model, {}).pop(node, None)
        if flight is None:
            return None
        if not self._flights[model]:
            del self._flights[model]
        self.loads[node] = tuple(load for load in self.loads[node] if load.model != model)
        if not self.loads[node]:
            del self.loads[node]
        return flight

    def forgive(self, node: str, model: str) -> None:
        """Forget a failure: the model has been loaded there."""
        failures = self._failures.get(model, {})
        failures.pop(node, None)
        if not failures:
            self._failures.pop(model, None)

    def fail(
        self,
        node: str,
        model: str,
        *,
        code: str,
        message: str,
        now_s: float,
        log_tail: tuple[str, ...] = (),
        retry_in_s: float | None = None,
    ) -> None:
        """Note a failure and hold the pair off, twice as long as the last time, or until the node said to ask again.

        Each kind makes its own rest longer only: a node that was full for a while has said nothing of how its next
        load will go, and one of which the picture was too old nothing of its room.
        """
        failures = self._failures.setdefault(model, {})
        before = failures.pop(node, None) or NONE
        count = before.count + 1
        is_fault, is_outdated = code not in CAPACITY_CODES, code in OUTDATED_CODES
        faults, outdated = before.faults + is_fault, before.outdated + is_outdated
        alike = faults if is_fault else outdated if is_outdated else count - faults - outdated
        failures[node] = Failure(
            node=node,
            model=model,
            code=code,
            message=message,
            log_tail=log_tail,
            failed_s=now_s,
            until_s=now_s + (back_off_s(code, alike) if retry_in_s is None else min(retry_in_s, KEEPS_PLACE_S)),
            count=count,
            faults=faults,
            outdated=outdated,
            is_promised=retry_in_s is not None,
        )

    def failure_of(self, node: str, model: str) -> Failure | None:
        """Return the last failure of the pair, if nothing good came after it."""
        return self._failures.get(model, {}).get(node)

    def is_held(self, node: str, model: str, now_s: float) -> bool:
        """Tell whether the pair is not to be tried yet."""
        failure = self.failure_of(node, model)
        return failure is not None and now_s < failure.until_s

    def holds_of(self, model: str, now_s: float) -> dict[str, float]:
        """Return for how long a model is not to be tried yet, by node."""
        failures = self._failures.get(model, {})
        return {node: failure.until_s - now_s for node, failure in failures.items() if now_s < failure.until_s}

    def failures_of(self, model: str, now_s: float) -> list[Failure]:
        """Return the last failures of a model on nodes where it is not to be tried yet."""
        return [failure for failure in self._failures.get(model, {}).values() if now_s < failure.until_s]

    def held(self, now_s: float) -> frozenset[tuple[str, str]]:
        """Return all pairs (node, model) that are not to be tried yet."""
        return frozenset((node, model) for model in self._failures for node in self.holds_of(model, now_s))

    def latest_failure(self, model: str, nodes: Collection[str]) -> Failure | None:
        """Return the most recent failure of a model on any of the nodes."""
        met = [failure for node, failure in self._failures.get(model, {}).items() if node in nodes]
        return met[-1] if met else None

    def retry_in_s(self, model: str, nodes: Collection[str], now_s: float) -> float:
        """Return how long it takes until one of the nodes may be tried again."""
        ends = [failure.until_s for node, failure in self._failures.get(model, {}).items() if node in nodes]
        return max(0.0, min(ends, default=now_s) - now_s)


def back_off_s(code: str, count: int) -> float:
    """Return how long a pair is held off after its ``count``-th failure or refusal in a row, in seconds."""
    growth = 2 ** min(count - 1, 16)
    if code in OUTDATED_CODES:
        return float(min(STALE_MAX_S, STALE_FIRST_S * growth))
    if code in CAPACITY_CODES:
        return float(min(CAPACITY_MAX_S, CAPACITY_FIRST_S * growth))
    if code in SILENCE_CODES:
        return float(min(SILENCE_MAX_S, SILENCE_FIRST_S * growth))
    return float(min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * growth))
