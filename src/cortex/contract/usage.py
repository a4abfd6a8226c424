"""The words about usage: what is kept of finished requests, what is summed up, and what may be asked. Data only.

Days are UTC's. Times ``…_epoch_s`` are UTC epoch seconds, everything else in ``_s`` is a duration. Tokens that an
engine did not tell are null in an entry and nothing in a sum.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

UsageGroup = Literal["key", "model", "node", "day", "operation"]
"""By what usage can be summed up."""

Name = Annotated[str, Meta(max_length=1024)]
"""May be empty: of a request that reached no node, or named no known model."""
Moment = Annotated[str, Meta(min_length=1, max_length=40)]

MAX_SUMS = 10_000
MAX_ENTRIES = 1_000


class UsageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one finished request: no prompt, no answer, no address.

    ``id`` is the ledger's own; ``request_id`` may have been chosen by the client, and need not be unique. ``key``: the
    name of the key, or in parentheses where a request without one came from.
    """

    id: str
    request_id: str
    started_epoch_s: float
    key: str
    model: str
    node: str
    operation: str
    status: int
    outcome: str
    stream: bool
    cold_start: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    first_token_s: float | None
    duration_s: float
    error: str | None


class UsageSum(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the requests of one group; by what was not grouped is null.

    ``failed``: those without a good answer, unless their client had gone. ``duration_s`` is the sum of all durations,
    ``mean_first_token_s`` the mean over the streams that had a first token.
    """

    key: str | None = None
    model: str | None = None
    node: str | None = None
    day: str | None = None
    """YYYY-MM-DD."""
    operation: str | None = None
    requests: int
    failed: int
    cold_starts: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    duration_s: float
    mean_first_token_s: float | None


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """``since`` (counted) and ``until`` (not): how long ago (90s, 30m, 24h, 7d), a day or time of UTC (2026-11-26,
    2026-11-26T08:30:00Z), or epoch seconds. ``model`` by id."""

    since: Moment | None = None
    until: Moment | None = None
    key: Name | None = None
    model: Name | None = None
    node: Name | None = None
    operation: Name | None = None


class UsageQuery(UsageFilter, frozen=True, kw_only=True):
    """As above. ``by``: key, model, node, day, operation, several with commas between; none: one sum of everything.
    ``since`` is 30d by default."""

    by: str = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_SUMS)] = 1000
    format: Literal["json", "csv"] = "json"


class UsageRequestQuery(UsageFilter, frozen=True, kw_only=True):
    """As above. ``after``: ``next`` of the page before. ``since`` is 24h by default."""

    after: Annotated[str, Meta(max_length=200)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ENTRIES)] = 100


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Sums: by day in their order; without days, and within a day, what had most requests first.

    ``more``: there are more groups than ``limit``.
    """

    since_epoch_s: float
    until_epoch_s: float
    by: tuple[UsageGroup, ...]
    sums: tuple[UsageSum, ...]
    more: bool


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Requests, the oldest first. ``next``: ask ``after`` it for more; null: these were the last."""

    requests: tuple[UsageEntry, ...]
    next: str | None
