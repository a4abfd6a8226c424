"""Figures over time: plots for who sees them, tables for who does not, both from the same series. Changes nothing."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from cortex.contract.history import History, HistoryGroup, HistoryMetric, HistoryQuery, HistorySpan
from cortex.gateway.admin.dashboard.page import Call, Desk, Filling, Query, Reply
from cortex.gateway.admin.dashboard.word import UNKNOWN, fine_span, memory
from cortex.kit.json_call import json_response

SPANS: tuple[HistorySpan, ...] = get_args(HistorySpan)
SPAN_WORDS = {"1h": "last hour", "24h": "last day"}
ROWS = 12
"""Of a table: the last so many parts of the span."""
MAX_NAME_CHARS = 1024

Unit = Literal["per_s", "count", "s", "mb", "w"]


class Plan(NamedTuple):
    """What a plot shows: figures of the gateway, or of one model, or one figure by model or by node."""

    name: str
    title: str
    unit: Unit
    metrics: tuple[HistoryMetric, ...]
    by: HistoryGroup = "gateway"
    is_left_out: bool = False
    """Where there is no value in all of the span: many devices do not tell this."""


WORDS: dict[HistoryMetric, str] = {
    "requests_per_s": "requests",
    "errors_per_s": "errors",
    "tokens_per_s": "generated",
    "prompt_tokens_per_s": "prompt",
    "cold_starts": "cold starts",
    "in_flight": "in flight",
    "waiting": "waiting",
    "first_token_p50_s": "median",
    "first_token_p95_s": "95 %",
    "overhead_p50_s": "median",
    "overhead_p95_s": "95 %",
    "vram_used_mb": "memory",
    "power_w": "power",
}
PLANS = (
    Plan("requests", "Requests per second", "per_s", ("requests_per_s", "errors_per_s")),
    Plan("tokens", "Tokens per second", "per_s", ("tokens_per_s", "prompt_tokens_per_s")),
    Plan("running", "Requests in flight and waiting", "count", ("in_flight", "waiting")),
    Plan("first", "Time to the first token", "s", ("first_token_p50_s", "first_token_p95_s")),
    Plan("cold", "Cold starts", "count", ("cold_starts",)),
    Plan("overhead", "What the gateway itself takes", "s", ("overhead_p50_s", "overhead_p95_s")),
    Plan("models", "Requests per second, by model", "per_s", ("requests_per_s",), "model"),
    Plan("model-tokens", "Tokens generated per second, by model", "per_s", ("tokens_per_s",), "model"),
    Plan("memory", "Memory in use, by node", "mb", ("vram_used_mb",), "node"),
    Plan("power", "Power of devices, by node", "w", ("power_w",), "node", is_left_out=True),
)
OTHERS: dict[HistoryGroup, str] = {"model": "requests_per_s,tokens_per_s", "node": "vram_used_mb,power_w"}


class Line(NamedTuple):
    """One series of a plot, with its name."""

    label: str
    values: tuple[float | None, ...]


class Plot(NamedTuple):
    """One plot."""

    name: str
    title: str
    unit: Unit
    lines: tuple[Line, ...]


async def look_at_history(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with: ``span``, and ``model`` for one of them. Raises: ModelNotFound."""
    span, model = _span(query), query.get("model", "").strip()[:MAX_NAME_CHARS]
    history, plots = read_plots(desk, span, model)
    return {
        "plots": [(plot, table_of(plot, history)) for plot in plots],
        "span": span,
        "spans": SPANS,
        "span_words": SPAN_WORDS,
        "model": model,
        "models": [one.id for one in desk.fleet.view().models],
    }


async def read_history(desk: Desk, call: Call) -> Reply:
    """Return the series of all plots as JSON. Raises: ModelNotFound."""
    history, plots = read_plots(desk, _span(call.query), call.query.get("model", "").strip()[:MAX_NAME_CHARS])
    body = {
        "start_epoch_s": history.start_epoch_s,
        "step_s": history.step_s,
        "plots": [
            {"name": plot.name, "unit": plot.unit, "lines": [line._asdict() for line in plot.lines]} for plot in plots
        ],
    }
    return Reply(response=json_response(body))


def read_plots(desk: Desk, span: HistorySpan, model: str) -> tuple[History, tuple[Plot, ...]]:
    """Return all plots of a span, of the gateway or of one model, and one of the histories that they are from."""
    whole = desk.insight.history(HistoryQuery(span=span, model=model or None))
    others: dict[HistoryGroup, History] = {}
    for by, metric in OTHERS.items() if not model else ():
        others[by] = desk.insight.history(HistoryQuery(span=span, by=by, metric=metric))
    plots = (_plot(plan, whole if plan.by == "gateway" else others.get(plan.by)) for plan in PLANS)
    return whole, tuple(plot for plot in plots if plot is not None)


def _plot(plan: Plan, history: History | None) -> Plot | None:
    """Return a plot; None where there is nothing for it."""
    found = [] if history is None else [series for series in history.series if series.metric in plan.metrics]
    if plan.is_left_out:
        found = [series for series in found if any(value is not None for value in series.values)]
    if not found:
        return None
    lines = tuple(
        Line(series.model or series.node if plan.by != "gateway" else WORDS[series.metric], series.values)
        for series in found
    )
    return Plot(plan.name, plan.title, plan.unit, lines)


class Table(NamedTuple):
    """A plot for who cannot see it: moments with a value for each line, the newest first."""

    rows: tuple[tuple[float, tuple[str, ...]], ...]


def table_of(plot: Plot, history: History) -> Table:
    """Return the means of the last parts of the span; parts of which nothing is known are left out."""
    count = len(plot.lines[0].values)
    size = max(1, count // ROWS)
    rows = []
    for begin in range(count - size, -1, -size):
        means = [_mean(line.values[begin : begin + size]) for line in plot.lines]
        if any(mean is not None for mean in means):
            when_s = history.start_epoch_s + begin * history.step_s
            rows.append((when_s, tuple(amount(mean, plot.unit) for mean in means)))
    return Table(tuple(rows))


def amount(value: float | None, unit: Unit) -> str:
    """Return a figure with its unit, as in a table."""
    if value is None:
        return UNKNOWN
    if unit == "mb":
        return memory(value)
    if unit == "w":
        return f"{value:.0f}\N{NARROW NO-BREAK SPACE}W"
    return fine_span(value) if unit == "s" else f"{value:.3g}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _span(query: Query) -> HistorySpan:
    return next((span for span in SPANS if span == query.get("span")), SPANS[0])
