"""Which logs can be looked at, and what is shown of one."""

import asyncio

import pytest
from tests.unit.gateway.admin.dashboard.stage import Browser, call_of, desk_of
from tests.unit.gateway.admin.scene import FakeFleet

from cortex.contract.error import MalformedRequest, NodeRefused
from cortex.gateway.admin.dashboard.log_page import LINES, follow_log, look_at_logs
from cortex.gateway.admin.dashboard.page import Filling

HERE = {"model": "org/big", "node": "beast"}


def page(fleet: FakeFleet, **query: str) -> Filling:
    return asyncio.run(look_at_logs(desk_of(fleet), query))


def test_engines_at_work_stand_before_those_that_have_failed() -> None:
    assert [(one.model, one.node, one.status) for one in page(FakeFleet())["choices"]] == [
        ("org/big", "beast", "loaded"),
        ("old", "benjy", "failed"),
    ]


def test_nothing_is_asked_of_a_node_before_one_is_chosen() -> None:
    fleet = FakeFleet()
    assert page(fleet)["lines"] == ()
    assert fleet.seen.logs.asked == []


@pytest.mark.parametrize("query", [HERE, {"at": "beast org/big"}], ids=["link", "form"])
def test_the_last_lines_of_the_chosen_one_are_shown(query: dict[str, str]) -> None:
    fleet = FakeFleet()
    filling = page(fleet, **query)
    assert filling["lines"] == ("one", "two", "three")
    assert fleet.seen.logs.asked == [("org/big", "beast", LINES)]
    assert [one.is_chosen for one in filling["choices"]] == [True, False]


def test_one_that_no_list_has_is_asked_for_all_the_same() -> None:
    assert page(FakeFleet(), model="gone", node="beast")["choices"][-1].status == "unknown"


def test_why_there_is_no_log_is_told_on_the_page() -> None:
    fleet = FakeFleet()
    fleet.seen.logs.refusal = NodeRefused("beast refused: its log is not kept")
    assert page(fleet, **HERE)["trouble"] == "beast refused: its log is not kept"


def test_what_is_followed_comes_as_events() -> None:
    fleet = FakeFleet()
    answer = Browser(fleet=fleet).get("logs/stream", "model=org/big&node=beast")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b'event: lines\ndata: {"lines":["one","two"]}\n\n')
    assert b"event: end" in answer.body
    assert fleet.seen.logs.open == 0


def test_it_ends_with_the_session() -> None:
    fleet = FakeFleet()
    may = iter((True, False))

    async def read() -> list[bytes]:
        reply = await follow_log(desk_of(fleet), call_of(HERE)._replace(may_stay=lambda: next(may)))
        stream = reply.response.body_iterator  # type: ignore[union-attr]
        return [part async for part in stream]

    assert len(asyncio.run(read())) == 1
    assert fleet.seen.logs.open == 0


def test_both_names_are_needed_to_follow() -> None:
    with pytest.raises(MalformedRequest, match="node"):
        asyncio.run(follow_log(desk_of(FakeFleet()), call_of({"model": "org/big"})))


def test_a_line_is_text_whatever_is_in_it() -> None:
    fleet = FakeFleet()
    fleet.seen.logs.parts = [("</pre><script>alert(1)</script>", "& <b>")]
    told = Browser(fleet=fleet).get("logs", "model=org/big&node=beast").body.decode()
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in told
    assert "<script>alert" not in told
    assert "&amp; &lt;b&gt;" in told
