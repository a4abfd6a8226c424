"""What is asked about usage in words: groups, spans of time, pages; and how it is told that it was asked wrongly."""

import asyncio

import pytest
from tests.unit.gateway.admin.fake_usage import FakeUsage, a_sum, an_entry

from cortex.contract.error import CallerError, MalformedRequest
from cortex.contract.usage import UsageQuery, UsageReport, UsageRequestQuery
from cortex.gateway.admin.usage_page import UsagePages, report_csv
from cortex.gateway.ports import UsageSpan
from cortex.testing.virtual_clock import VirtualClock

NOW_S = VirtualClock().epoch_s()


@pytest.fixture
def usage() -> FakeUsage:
    return FakeUsage()


def report(usage: FakeUsage, query: UsageQuery) -> UsageReport:
    return asyncio.run(UsagePages(usage, VirtualClock()).report(query))


def test_everything_of_the_last_month_is_one_sum_unless_asked_otherwise(usage: FakeUsage) -> None:
    found = report(usage, UsageQuery())
    assert (found.by, found.sums, found.more) == ((), (a_sum(),), False)
    assert usage.asked == [((), UsageSpan(since_s=NOW_S - 30 * 86400, until_s=NOW_S), 1001)]


def test_groups_and_names_and_moments_reach_the_ledger(usage: FakeUsage) -> None:
    names = {"key": "alice", "model": "org/m", "node": "", "operation": "chat"}
    found = report(usage, UsageQuery(by=" day,key ,day", since="2h", until="2026-11-26", limit=7, **names))  # type: ignore[arg-type]
    span = UsageSpan(since_s=NOW_S - 7200, until_s=1_795_651_200.0, **names)  # type: ignore[arg-type]
    assert (usage.asked, found.by) == ([(("day", "key"), span, 8)], ("day", "key"))


def test_that_there_are_more_groups_is_told(usage: FakeUsage) -> None:
    usage.found = [a_sum(key=name) for name in "abc"]
    found = report(usage, UsageQuery(by="key", limit=2))
    assert ([line.key for line in found.sums], found.more) == (["a", "b"], True)
    whole = report(usage, UsageQuery(by="key", limit=3))
    assert (len(whole.sums), whole.more) == (3, False)


def test_csv_has_the_groups_and_all_amounts(usage: FakeUsage) -> None:
    usage.found = [a_sum(model="org/m", day="2026-11-26")]
    header, line, end = report_csv(report(usage, UsageQuery(by="day,model"))).split("\r\n")
    assert header == (
        "day,model,requests,failed,cold_starts,prompt_tokens,completion_tokens,total_tokens,duration_s,mean_first_token_s"
    )
    assert (line, end) == ("2026-11-26,org/m,1,0,0,2,3,5,0.5,", "")


def test_pages_follow_one_another_to_the_end(usage: FakeUsage) -> None:
    usage.entries = [an_entry(number) for number in range(5)]
    pages, after = [], None
    while True:
        query = UsageRequestQuery(limit=2, after=after)
        page = asyncio.run(UsagePages(usage, VirtualClock()).page(query))
        pages.append([entry.id for entry in page.requests])
        after = page.next
        if after is None:
            break
    assert pages == [["s-0", "s-1"], ["s-2", "s-3"], ["s-4"]]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (UsageQuery(by="key,modle"), "by: usage is not kept by 'modle'; did you mean 'model'?"),
        (UsageQuery(by="colour"), "known are: key, model, node, day, operation"),
        (UsageQuery(since="yesterday"), "since: expected how long ago .*, got 'yesterday'"),
        (UsageQuery(until="7y"), "until: expected"),
    ],
    ids=str,
)
def test_what_was_asked_wrongly_is_said_with_what_would_be_right(
    usage: FakeUsage, query: UsageQuery, words: str
) -> None:
    with pytest.raises(MalformedRequest, match=words):
        report(usage, query)


@pytest.mark.parametrize("after", ["x", ":", "yesterday:s-1"])
def test_a_page_after_nothing_that_was_told_is_refused(usage: FakeUsage, after: str) -> None:
    with pytest.raises(MalformedRequest, match="after: expected 'next' of the page before"):
        asyncio.run(UsagePages(usage, VirtualClock()).page(UsageRequestQuery(after=after)))


def test_without_a_ledger_it_is_said_what_to_configure() -> None:
    with pytest.raises(CallerError, match=r"Set url in \[store\] of cortex.toml"):
        asyncio.run(UsagePages(None, VirtualClock()).report(UsageQuery()))
