"""Names become ids, what is found becomes pages and events, and a log ends with a word why."""

import asyncio

import msgspec
import pytest
from tests.unit.gateway.admin.fake_insight import Seen, a_finished, a_running
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.activity import ActivityQuery
from cortex.contract.engine_log import LogQuery
from cortex.contract.error import ModelNotFound, UpstreamUnreachable
from cortex.contract.history import HistoryQuery


@pytest.fixture
def seen() -> Seen:
    return FakeFleet().seen


def events(seen: Seen) -> list[str]:
    async def read() -> list[str]:
        return [part.decode() async for part in seen.insight.log_events("big", "beast", LogQuery(lines=5))]

    return asyncio.run(read())


def test_requests_come_in_one_page(seen: Seen) -> None:
    seen.activity.now = [a_running(), a_running(request_id="req-2")]
    page = seen.insight.activity(ActivityQuery(limit=1))
    assert (page.running, page.running_count) == ((a_running(),), 2)
    assert (page.finished, page.newest, page.next, page.gap) == ((a_finished(),), 1, 1, False)


def test_only_what_is_over_comes_if_that_is_asked_for(seen: Seen) -> None:
    page = seen.insight.activity(ActivityQuery(running=False))
    assert (page.running, page.running_count) == ((), 0)


def test_an_alias_is_asked_for_by_id_and_nothing_by_a_name_that_nothing_has(seen: Seen) -> None:
    seen.insight.activity(ActivityQuery(model="big"))
    assert seen.activity.asked == [ActivityQuery(model="org/big")]
    with pytest.raises(ModelNotFound, match="did you mean"):
        seen.insight.activity(ActivityQuery(model="bgi"))


def test_figures_are_the_historians(seen: Seen) -> None:
    assert seen.insight.history(HistoryQuery()) == seen.historian.tell(HistoryQuery())


def test_the_end_of_a_log_comes_with_its_place(seen: Seen) -> None:
    tail = asyncio.run(seen.insight.log_tail("big", "beast", LogQuery(lines=2)))
    assert (tail.model, tail.node, tail.lines) == ("big", "beast", ("two", "three"))
    assert seen.logs.asked == [("big", "beast", 2)]


def test_a_log_that_is_followed_comes_as_events_and_ends_with_its_engine(seen: Seen) -> None:
    first, silence, second, end = events(seen)
    assert first == 'event: lines\ndata: {"lines":["one","two"]}\n\n'
    assert silence.startswith(":")
    assert '"three"' in second
    assert end == 'event: end\ndata: {"code":"","reason":"The engine was unloaded, or has failed."}\n\n'
    assert (seen.logs.asked, seen.logs.open) == ([("big", "beast", 5)], 0)


def test_a_log_that_breaks_off_says_why(seen: Seen) -> None:
    seen.logs.failure = UpstreamUnreachable("beast does not answer any more")
    end = events(seen)[-1]
    told = msgspec.json.decode(end.partition("data: ")[2])
    assert told == {"code": "upstream_unreachable", "reason": "beast does not answer any more"}
    assert seen.logs.open == 0


def test_what_is_refused_is_refused_before_anything_is_sent(seen: Seen) -> None:
    seen.logs.refusal = ModelNotFound("no such model")
    with pytest.raises(ModelNotFound):
        seen.insight.log_events("big", "beast", LogQuery())


def test_a_line_cannot_pass_for_an_event(seen: Seen) -> None:
    seen.logs.parts = [("a\n\nevent: end\ndata: {}",)]
    assert len(events(seen)) == 2
    assert events(seen)[0].count("\n\n") == 1
