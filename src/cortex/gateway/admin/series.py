"""Series of figures over time, for the gateway, its models and its nodes. Pure: told what was and when, keeps no time.

What was in a step is added up until the step is over, and then it is one value of each series. Two spans, each with
steps of its own: what is seen closely is forgotten sooner. The number of models is bounded, so that all of it takes
little more than a megabyte with a hundred nodes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from cortex.contract.history import HistoryGroup, HistoryMetric, HistorySeries, HistorySpan
from cortex.gateway.admin.ring import Ring
from cortex.gateway.ports import Tally

MAX_MODELS = 24
"""Of more, those go that had no request for longest."""


class Grain(NamedTuple):
    """How closely a span is seen."""

    step_s: float
    size: int


GRAINS: dict[HistorySpan, Grain] = {"1h": Grain(10.0, 360), "24h": Grain(300.0, 288)}

Key = tuple[HistoryGroup, str]
"""What a series is about: kind, and name (empty for the gateway)."""

OF_NODES: tuple[HistoryMetric, ...] = ("vram_used_mb", "power_w")
OF_TRAFFIC: tuple[HistoryMetric, ...] = tuple(name for name in get_args(HistoryMetric) if name not in OF_NODES)
METRICS: dict[HistoryGroup, tuple[HistoryMetric, ...]] = {
    "gateway": OF_TRAFFIC,
    "model": tuple(name for name in OF_TRAFFIC if not name.startswith("overhead_")),
    "node": OF_NODES,
}
"""What there is of each kind."""


class Look(NamedTuple):
    """What was to be seen at one moment: requests with an engine, requests without a place, memory in use, power."""

    in_flight: float = 0.0
    waiting: float = 0.0
    vram_used_mb: float | None = None
    power_w: float | None = None


IDLE = Look()


def add_up(into: Tally, tally: Tally) -> None:
    """Add one tally to another."""
    into.requests += tally.requests
    into.errors += tally.errors
    into.cold_starts += tally.cold_starts
    into.prompt_tokens += tally.prompt_tokens
    into.completion_tokens += tally.completion_tokens
    into.first_token.merge(tally.first_token)
    into.overhead.merge(tally.overhead)


class _Step:
    """What was in a step so far."""

    __slots__ = ("_looks", "_tally")

    def __init__(self) -> None:
        self._tally = Tally()
        self._looks: list[Look] = []

    def add(self, tally: Tally | None, look: Look | None) -> None:
        if look is not None:
            self._looks.append(look)
        if tally is not None:
            add_up(self._tally, tally)

    def values(self, lasted_s: float) -> dict[HistoryMetric, float | None]:
        tally, looks = self._tally, self._looks
        used = [look.vram_used_mb for look in looks if look.vram_used_mb is not None]
        power = [look.power_w for look in looks if look.power_w is not None]
        return {
            "requests_per_s": tally.requests / lasted_s,
            "errors_per_s": tally.errors / lasted_s,
            "tokens_per_s": tally.completion_tokens / lasted_s,
            "prompt_tokens_per_s": tally.prompt_tokens / lasted_s,
            "cold_starts": tally.cold_starts,
            "in_flight": _mean([look.in_flight for look in looks]),
            "waiting": _mean([look.waiting for look in looks]),
            "first_token_p50_s": tally.first_token.quantile(0.5),
            "first_token_p95_s": tally.first_token.quantile(0.95),
            "overhead_p50_s": tally.overhead.quantile(0.5),
            "overhead_p95_s": tally.overhead.quantile(0.95),
            "vram_used_mb": _mean(used),
            "power_w": _mean(power),
        }


class Level:
    """All series of one span, from ``since_s`` on."""

    def __init__(self, grain: Grain, since_s: float) -> None:
        self.grain = grain
        self._rings: dict[Key, dict[HistoryMetric, Ring]] = {}
        self._steps: dict[Key, _Step] = {}
        self._since_s = since_s
        """Since when things are added up."""
        self._news_s: dict[Key, float] = {}
        """When a model last had a request."""

    def add(self, now_s: float, tallies: Mapping[Key, Tally], looks: Mapping[Key, Look]) -> None:
        """Take what went on since the last time, and what is to be seen now; a step that is over is closed."""
        for key in tallies.keys() | looks.keys():
            self._steps.setdefault(key, _Step()).add(tallies.get(key), looks.get(key))
            if key in tallies or looks[key].in_flight or looks[key].waiting:
                self._news_s[key] = now_s
        if self.step_at(now_s) > self.step_at(self._since_s):
            self._close(now_s, now_s - self._since_s)
            self._since_s = now_s

    def series(self, keys: Iterable[Key], metrics: Sequence[HistoryMetric], now_s: float) -> Iterator[HistorySeries]:
        """Yield the series of what was asked for, as far as there are any, up to the last step that is over."""
        until = self.step_at(now_s)
        for kind, name in keys:
            rings = self._rings.get((kind, name), {})
            for metric in metrics:
                if metric in rings:
                    values = rings[metric].last(until, self.grain.size)
                    model, node = (name if kind == "model" else ""), (name if kind == "node" else "")
                    yield HistorySeries(metric=metric, model=model, node=node, values=values)

    def keys(self, kind: HistoryGroup) -> list[Key]:
        """Return what there are series of, by name."""
        return sorted(key for key in self._rings if key[0] == kind)

    def start_s(self, now_s: float) -> float:
        """Return when the first step of every series began, by the clock of ``now_s``."""
        return (self.step_at(now_s) - self.grain.size) * self.grain.step_s

    def step_at(self, now_s: float) -> int:
        """Return the number of the step that a moment is in."""
        return int(now_s // self.grain.step_s)

    def _close(self, now_s: float, lasted_s: float) -> None:
        """What was added up is the last step's that is over."""
        step, idle = self.step_at(now_s) - 1, _Step()
        idle.add(None, IDLE)
        for key in self._rings.keys() | self._steps.keys():
            seen = self._steps.get(key, None if key[0] == "node" else idle)
            if seen is not None:  # of a node that says nothing, nothing is known
                done = seen.values(lasted_s)
                for metric, ring in self._rings_of(key).items():
                    ring.put(step, done[metric])
        self._steps.clear()
        self._forget()

    def _rings_of(self, key: Key) -> dict[HistoryMetric, Ring]:
        rings = self._rings.get(key)
        if rings is None:
            rings = self._rings[key] = {metric: Ring(self.grain.size) for metric in METRICS[key[0]]}
        return rings

    def _forget(self) -> None:
        """Let go of the models that are too many."""
        models = self.keys("model")
        for key in sorted(models, key=lambda one: self._news_s.get(one, 0.0))[: max(0, len(models) - MAX_MODELS)]:
            del self._rings[key]
        self._news_s = {key: seen_s for key, seen_s in self._news_s.items() if key in self._rings}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
