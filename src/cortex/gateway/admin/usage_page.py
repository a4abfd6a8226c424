"""Answers about usage: words become a span of time, and what was found a page, a report, or CSV."""

from typing import get_args

import msgspec

from cortex.contract.error import CallerError, MalformedRequest
from cortex.contract.usage import (
    UsageEntry,
    UsageFilter,
    UsageGroup,
    UsagePage,
    UsageQuery,
    UsageReport,
    UsageRequestQuery,
    UsageSum,
)
from cortex.gateway.ports import Usage, UsageSpan
from cortex.kit.clock import Clock
from cortex.kit.csv_text import csv_text
from cortex.kit.strict import did_you_mean
from cortex.kit.utc import DAY_S, parse_moment

GROUPS: tuple[UsageGroup, ...] = get_args(UsageGroup)
NOT_KEPT = (
    'Usage is not kept: this gateway has no store. Set url in [store] of cortex.toml, to "sqlite:///cortex.db" for '
    "one host, and start it again."
)
REPORT_S, PAGE_S = 30.0 * DAY_S, 1.0 * DAY_S
"""How far back is looked when nobody says."""


class UsagePages:
    """Asks ``usage``, which is None where there is no store."""

    def __init__(self, usage: Usage | None, clock: Clock) -> None:
        self._usage = usage
        self._clock = clock

    async def report(self, query: UsageQuery) -> UsageReport:
        """Sum up. Raises: CallerError, StoreUnavailable."""
        usage, by = self._kept(), _groups(query.by)
        span = self._span(query, REPORT_S)
        sums = await usage.sums(by, span, query.limit + 1)
        return UsageReport(
            since_epoch_s=span.since_s,
            until_epoch_s=span.until_s,
            by=by,
            sums=sums[: query.limit],
            more=len(sums) > query.limit,
        )

    async def page(self, query: UsageRequestQuery) -> UsagePage:
        """List requests. Raises: CallerError, StoreUnavailable."""
        usage, after = self._kept(), None if query.after is None else _cursor(query.after)
        found = await usage.requests(self._span(query, PAGE_S), after, query.limit + 1)
        page = found[: query.limit]
        return UsagePage(requests=page, next=_cursor_of(page[-1]) if len(found) > len(page) else None)

    def _kept(self) -> Usage:
        if self._usage is None:
            raise CallerError(NOT_KEPT)
        return self._usage

    def _span(self, asked: UsageFilter, default_s: float) -> UsageSpan:
        now_s = self._clock.epoch_s()
        since_s = now_s - default_s if asked.since is None else _moment("since", asked.since, now_s)
        until_s = now_s if asked.until is None else _moment("until", asked.until, now_s)
        names = {name: getattr(asked, name) for name in ("key", "model", "node", "operation")}
        return UsageSpan(since_s=since_s, until_s=until_s, **names)


def report_csv(report: UsageReport) -> str:
    """Return the sums as CSV: the groups that were asked for, then all amounts."""
    amounts = [name for name in UsageSum.__struct_fields__ if name not in GROUPS]
    return csv_text([*report.by, *amounts], map(msgspec.structs.asdict, report.sums))


def _groups(text: str) -> tuple[UsageGroup, ...]:
    by: list[UsageGroup] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        found = next((group for group in GROUPS if group == word), None)
        if found is None:
            near = did_you_mean(word, GROUPS) or f"; known are: {', '.join(GROUPS)}"
            raise MalformedRequest(f"by: usage is not kept by '{word[:100]}'{near}.", param="by")
        if found not in by:
            by.append(found)
    return tuple(by)


def _moment(param: str, text: str, now_s: float) -> float:
    try:
        return parse_moment(text, now_s)
    except ValueError as error:
        raise MalformedRequest(f"{param}: {error}, got '{text}'.", param=param) from None


def _cursor_of(entry: UsageEntry) -> str:
    return f"{entry.started_epoch_s!r}:{entry.id}"


def _cursor(text: str) -> tuple[float, str]:
    when, _, number = text.partition(":")
    try:
        return parse_moment(when, 0.0), number.replace("\0", "")
    except ValueError:
        raise MalformedRequest("after: expected 'next' of the page before.", param="after") from None
