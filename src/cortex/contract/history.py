"""The words about what figures a gateway has measured over time. Data only.

``start_epoch_s`` is UTC epoch seconds, ``step_s`` a duration. What nobody knows is null, never 0.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=1024)]

HistoryMetric = Literal[
    "requests_per_s",
    "errors_per_s",
    "tokens_per_s",
    "prompt_tokens_per_s",
    "cold_starts",
    "in_flight",
    "waiting",
    "first_token_p50_s",
    "first_token_p95_s",
    "overhead_p50_s",
    "overhead_p95_s",
    "vram_used_mb",
    "power_w",
]
"""requests_per_s, errors_per_s (by no fault of the caller), tokens_per_s (generated), prompt_tokens_per_s: over the
step, counted when a request is over. cold_starts: how many in the step. in_flight, waiting: the mean of looks.
first_token_…: of the streams that ended in the step. overhead_…: what the gateway itself took of a request's time.
vram_used_mb: of a node's GPUs, by everybody; of its RAM where it has none. power_w: what its
devices draw, of those that tell."""

HistorySpan = Literal["1h", "24h"]
HistoryGroup = Literal["gateway", "model", "node"]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``metric``: several with commas between; left out: all that there are. ``by``: one series for the whole gateway,
    for each model, or for each node; ``model`` or ``node``: only of that one."""

    metric: str = ""
    by: HistoryGroup | None = None
    model: Name | None = None
    node: Name | None = None
    span: HistorySpan = "1h"


class HistorySeries(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over time, by step; ``model`` and ``node`` are empty where it is of all of them."""

    metric: HistoryMetric
    model: str = ""
    node: str = ""
    values: tuple[float | None, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Series of equal length: the first value of each is of the ``step_s`` seconds from ``start_epoch_s`` on."""

    span: HistorySpan
    step_s: float
    start_epoch_s: float
    series: tuple[HistorySeries, ...]
