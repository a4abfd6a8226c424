"""Requests as a page shows them, and one of them closely."""

import asyncio

import pytest
from tests.unit.gateway.admin.dashboard.stage import Browser, call_of, desk_of
from tests.unit.gateway.admin.fake_insight import CAUSE, a_finished, a_running
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.activity import ActivityQuery
from cortex.contract.error import MalformedRequest
from cortex.gateway.admin.dashboard.activity_list import (
    LIMITS,
    OUTCOME_PILLS,
    OUTCOME_WORDS,
    OUTCOMES,
    look_at_activity,
    show_request,
)
from cortex.gateway.admin.dashboard.page import Filling, Reply

HOSTILE = "<script>alert(1)</script>"


def page(fleet: FakeFleet, **query: str) -> Filling:
    return asyncio.run(look_at_activity(desk_of(fleet), query))


def sheet(fleet: FakeFleet, **query: str) -> Reply:
    return asyncio.run(show_request(desk_of(fleet), call_of(query)))


def test_what_is_over_stands_the_newest_first() -> None:
    fleet = FakeFleet()
    fleet.seen.activity.over = [a_finished(number=1), a_finished(number=2)]
    assert [row.entry.number for row in page(fleet)["finished"]] == [2, 1]


def test_it_is_narrowed_down_by_what_the_url_asks() -> None:
    fleet = FakeFleet()
    page(fleet, model=" big ", node="beast", key="alice", outcome="failed", limit="200")
    assert fleet.seen.activity.asked == [
        ActivityQuery(model="org/big", node="beast", key="alice", outcome="failed", limit=200)
    ]


def test_what_is_no_outcome_and_no_amount_is_as_if_it_was_not_asked() -> None:
    fleet = FakeFleet()
    page(fleet, outcome="fine", limit="9999", model="", key=" ")
    assert fleet.seen.activity.asked == [ActivityQuery(limit=LIMITS[0])]


def test_a_model_that_nothing_has_is_told_on_the_page() -> None:
    assert "did you mean" in page(FakeFleet(), model="bgi")["trouble"]


def test_every_outcome_has_its_word_and_its_colour() -> None:
    assert set(OUTCOMES) == set(OUTCOME_WORDS) == set(OUTCOME_PILLS)


def test_one_that_is_over_is_found_by_its_number() -> None:
    fleet = FakeFleet()
    reply = sheet(fleet, number="1")
    assert (reply.filling["one"], reply.filling["is_over"]) == (a_finished(), True)
    assert fleet.seen.activity.asked[0].since == 0


@pytest.mark.parametrize("number", ["", "0", "7", "-1", "x", "1" * 30, "१"])
def test_one_that_is_not_kept_any_more_is_said(number: str) -> None:
    with pytest.raises(MalformedRequest, match="not kept any more"):
        sheet(FakeFleet(), number=number)


def test_one_that_runs_is_found_by_its_id_also_when_it_has_ended_meanwhile() -> None:
    fleet = FakeFleet()
    running = sheet(fleet, id="req-1")
    assert (running.filling["one"], running.filling["is_over"]) == (a_running(), False)
    assert sheet(fleet, id="req-0").filling["is_over"]


def test_why_it_was_cold_and_where_it_was_tried_before_stand_on_its_sheet() -> None:
    told = Browser(fleet=FakeFleet()).get("activity/one", "number=1", hx_request="true").body.decode()
    assert CAUSE.reason in told
    assert "old had to go" in told
    assert "upstream_broken" in told
    assert "<html" not in told


def test_who_waits_is_told_what_for() -> None:
    fleet = FakeFleet()
    fleet.seen.activity.now = [a_running(state="loading", node="beast", outlook="loading on beast, 40 %")]
    told = Browser(fleet=fleet).get("activity").body.decode()
    assert "loading on beast, 40 %" in told
    assert CAUSE.reason in told


def test_whatever_callers_and_engines_say_is_text() -> None:
    fleet = FakeFleet()
    bad = {"model": HOSTILE, "node": HOSTILE, "key": HOSTILE, "request_id": HOSTILE, "operation": HOSTILE}
    fleet.seen.activity.now = [a_running(**bad, outlook=HOSTILE)]
    fleet.seen.activity.over = [a_finished(**bad, error=HOSTILE, outcome="failed")]
    browser = Browser(fleet=fleet)
    for path, query in (("activity", ""), ("activity/one", "number=1"), ("activity/one", f"id={HOSTILE}")):
        told = browser.get(path, query)
        assert told.status == 200
        assert b"&lt;script&gt;alert(1)" in told.body
        assert b"<script>alert" not in told.body
