"""Usage as a page shows it, and as a file."""

import asyncio
import json
from urllib.parse import urlencode

import pytest
from tests.unit.gateway.admin.dashboard.stage import Browser, desk_of
from tests.unit.gateway.admin.fake_usage import a_sum
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.usage import UsageReport
from cortex.gateway.admin.dashboard.page import Filling
from cortex.gateway.admin.dashboard.usage_sheet import (
    HEIGHT,
    MAX_DAYS,
    SHOWN,
    WIDTH,
    columns_of,
    look_at_usage,
    rows_of,
)
from cortex.gateway.ports import UsageSpan
from cortex.kit.utc import DAY_S


def page(fleet: FakeFleet, **query: str) -> Filling:
    return asyncio.run(look_at_usage(desk_of(fleet), query))


def a_report(*sums: object, days: int = 3, by: tuple[str, ...] = ("day",)) -> UsageReport:
    return UsageReport(
        since_epoch_s=20_000.0 * DAY_S,
        until_epoch_s=(20_000.0 + days) * DAY_S - 1,
        by=by,  # type: ignore[arg-type]
        sums=sums,  # type: ignore[arg-type]
        more=False,
    )


def test_the_table_the_whole_and_the_days_are_asked_for_the_same_span() -> None:
    fleet = FakeFleet()
    page(fleet, by="model", since="24h", key="alice", model="org/big", node="beast")
    groups = [asked[0] for asked in fleet.usage.asked]
    spans = [asked[1] for asked in fleet.usage.asked]
    assert groups == [("model",), (), ("day",)]
    now_s = fleet.clock.epoch_s()
    assert set(spans) == {
        UsageSpan(since_s=now_s - DAY_S, until_s=now_s, key="alice", model="org/big", node="beast", operation=None)
    }
    assert fleet.usage.asked[0][2] == SHOWN + 1


@pytest.mark.parametrize(
    ("query", "by"),
    [
        ({}, ("key", "model")),
        ({"by": "day", "and": "model"}, ("day", "model")),
        ({"by": "model", "and": "model"}, ("model",)),
        ({"by": "node,day"}, ("node", "day")),
        ({"by": "nonsense"}, ("key", "model")),
    ],
)
def test_it_is_summed_up_by_one_group_or_two(query: dict[str, str], by: tuple[str, ...]) -> None:
    assert page(FakeFleet(), **query)["by"] == by


def test_rows_are_told_by_their_groups_with_their_share_of_the_most() -> None:
    rows = rows_of(a_report(a_sum(key="a", total_tokens=500), a_sum(key="b", total_tokens=5), by=("key",)))
    assert [(row.names, row.share) for row in rows] == [((("key", "a"),), 1000), ((("key", "b"),), 10)]
    assert rows_of(a_report(a_sum(key="a", total_tokens=0), by=("key",)))[0].share == 0


def test_of_a_span_of_ages_only_the_last_days_are_drawn() -> None:
    columns = columns_of(a_report(a_sum(day="2024-10-04", total_tokens=10), days=700_000))
    assert len(columns) == MAX_DAYS


def test_every_day_of_the_span_has_its_column_also_one_without_requests() -> None:
    columns = columns_of(a_report(a_sum(day="2024-10-05", total_tokens=10), a_sum(day="2024-10-06", total_tokens=40)))
    assert [(column.day, column.tokens) for column in columns] == [
        ("2024-10-04", 0),
        ("2024-10-05", 10),
        ("2024-10-06", 40),
    ]
    assert columns[2].height == HEIGHT - 4
    assert columns[1].height == pytest.approx(columns[2].height / 4, abs=0.1)
    assert columns[0].height == 0
    assert all(0 <= column.x <= column.x + column.width <= WIDTH for column in columns)
    assert [column.y + column.height for column in columns] == pytest.approx([HEIGHT] * 3, abs=0.1)


@pytest.mark.parametrize("since", ["yesterday", "x" * 100])
def test_a_span_that_is_none_is_told_on_the_page(since: str) -> None:
    assert "since" in page(FakeFleet(), since=since)["trouble"]


def test_without_a_store_the_page_says_what_to_configure() -> None:
    fleet = FakeFleet()
    fleet.usage = None  # type: ignore[assignment]
    assert "set url in [store]" in page(fleet)["trouble"].replace("Set", "set")


def test_when_nothing_was_used_the_page_says_so() -> None:
    fleet = FakeFleet()
    fleet.usage.found = []
    assert "Nothing was used last 7 days" in Browser(fleet=fleet).get("usage").body.decode()


def test_names_are_text() -> None:
    fleet = FakeFleet()
    fleet.usage.found = [a_sum(key="<script>alert(1)</script>", model="", day="2026-11-26")]
    told = Browser(fleet=fleet).get("usage", "by=key&and=model").body.decode()
    assert "&lt;script&gt;alert(1)" in told
    assert "<script>alert" not in told
    assert "none" in told


def test_a_file_has_all_rows_and_a_name() -> None:
    fleet = FakeFleet()
    fleet.usage.found = [a_sum(key="=cmd()", model="m")] * 300
    browser = Browser(fleet=fleet)
    query = urlencode({"by": "key,model", "since": "24h"})
    as_csv = browser.get("usage/export", f"{query}&format=csv")
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert as_csv.headers["content-disposition"] == 'attachment; filename="cortex-usage-key-model.csv"'
    lines = as_csv.body.decode().split("\r\n")
    assert (lines[0].split(",")[:2], len(lines)) == (["key", "model"], 302)
    assert lines[1].startswith("'=cmd()"), "a spreadsheet would run it"
    as_json = browser.get("usage/export", f"{query}&format=json")
    assert len(json.loads(as_json.body)["sums"]) == 300
    assert browser.get("usage/export", f"{query}&format=xml").status == 400
