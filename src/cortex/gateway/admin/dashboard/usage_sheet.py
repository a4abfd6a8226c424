"""What was used: sums by key, model, node, day or operation, as a table, by day as columns, and as a file.

Asks the ledger as the admin API does, and changes nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from cortex.contract.error import CortexError, MalformedRequest
from cortex.contract.usage import MAX_SUMS, UsageGroup, UsageQuery, UsageReport, UsageSum
from cortex.gateway.admin.dashboard.page import Call, Desk, Filling, Query, Reply
from cortex.gateway.admin.dashboard.word import count
from cortex.gateway.admin.usage_page import GROUPS, UsagePages, report_csv
from cortex.kit.json_call import json_response
from cortex.kit.utc import DAY_S, day_text

SINCE = {"24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days", "90d": "last 90 days"}
SHOWN = 200
"""Rows of a table; a file has more."""
WIDTH, HEIGHT = 720, 120
"""Of the picture of days, in its own units."""
MAX_DAYS = 400
"""Columns of the picture; the table knows all."""
MAX_NAME_CHARS = 1024
FILTERS = ("key", "model", "node", "operation")


class Column(NamedTuple):
    """One day in the picture: ``x``, ``y``, ``width``, ``height`` in its units."""

    day: str
    tokens: int
    words: str
    x: float
    y: float
    width: float
    height: float


class Row(NamedTuple):
    """One sum. ``names``: of its groups; ``share``: of the largest one's tokens, 0 to 1000."""

    names: tuple[tuple[UsageGroup, str], ...]
    total: UsageSum
    share: int


async def look_at_usage(desk: Desk, query: Query) -> Filling:
    """Return what the page is filled with; what cannot be answered is said in it."""
    by = _groups(query)
    asked = _asked(query)
    filling: Filling = {
        "trouble": "", "rows": (), "columns": (), "more": False, "whole": None, "by": by, "groups": GROUPS,
        "since_words": SINCE, "since": asked["since"], "width": WIDTH, "height": HEIGHT,
        **{name: asked.get(name) or "" for name in FILTERS},
    }  # fmt: skip
    pages = UsagePages(desk.usage, desk.clock)
    try:
        report = await pages.report(_query(by, asked, SHOWN))
        whole = await pages.report(_query((), asked, 1))
        days = await pages.report(_query(("day",), asked, MAX_SUMS))
    except CortexError as error:
        return filling | {"trouble": error.message}
    return filling | {
        "rows": rows_of(report),
        "more": report.more,
        "whole": whole.sums[0] if whole.sums and whole.sums[0].requests else None,
        "columns": columns_of(days),
    }


async def export_usage(desk: Desk, call: Call) -> Reply:
    """Return the same sums as a file, ``format=csv`` or ``json``. Raises: CortexError."""
    kind = call.query.get("format", "csv")
    if kind not in ("csv", "json"):
        raise MalformedRequest("format: expected csv or json.", param="format")
    by = _groups(call.query)
    report = await UsagePages(desk.usage, desk.clock).report(_query(by, _asked(call.query), MAX_SUMS))
    response = json_response(report) if kind == "json" else Response(report_csv(report), media_type="text/csv")
    response.headers["content-disposition"] = f'attachment; filename="cortex-usage-{"-".join(by)}.{kind}"'
    return Reply(response=response)


def rows_of(report: UsageReport) -> tuple[Row, ...]:
    """Return the sums as rows."""
    most = max((total.total_tokens for total in report.sums), default=0)
    return tuple(
        Row(
            names=tuple((group, str(getattr(total, group) or "")) for group in report.by),
            total=total,
            share=round(1000 * total.total_tokens / most) if most else 0,
        )
        for total in report.sums
    )


def columns_of(days: UsageReport) -> tuple[Column, ...]:
    """Return a column for each day of the span, of a long one its last, as high as its share of the day with most."""
    by_day = {total.day: total for total in days.sums}
    first, last = int(days.since_epoch_s // DAY_S), int(days.until_epoch_s // DAY_S)
    first = max(first, last + 1 - MAX_DAYS)
    most = max((total.total_tokens for total in days.sums), default=0)
    step = WIDTH / (last - first + 1)
    columns = []
    for place in range(last - first + 1):
        day = day_text(first + place)
        total = by_day.get(day)
        tokens, requests = (total.total_tokens, total.requests) if total is not None else (0, 0)
        height = round((HEIGHT - 4) * tokens / most, 1) if most else 0.0
        words = f"{day}: {count(tokens)} tokens, {count(requests)} requests"
        x, y = round((place + 0.1) * step, 1), round(HEIGHT - height, 1)
        columns.append(Column(day, tokens, words, x, y, round(step * 0.8, 1), height))
    return tuple(columns)


def _query(by: tuple[UsageGroup, ...], asked: Mapping[str, str | None], limit: int) -> UsageQuery:
    try:
        return msgspec.convert({**asked, "by": ",".join(by), "limit": limit}, UsageQuery)
    except msgspec.ValidationError as error:
        raise MalformedRequest(f"This cannot be asked: {error}.") from None


def _groups(query: Query) -> tuple[UsageGroup, ...]:
    """Return by what is summed up: one group, and perhaps another; the words of the page and those of the API."""
    words = [word.strip() for word in f"{query.get('by', '')},{query.get('and', '')}".split(",")]
    found = tuple(dict.fromkeys(group for word in words for group in GROUPS if group == word))
    return found or ("key", "model")


def _asked(query: Query) -> dict[str, str | None]:
    asked: dict[str, str | None] = {"since": query.get("since", "").strip() or "7d"}
    return asked | {name: query.get(name, "").strip()[:MAX_NAME_CHARS] or None for name in FILTERS}
