"""What is asked of a gateway, and when: a scripted one, a clock that is moved by hand."""

import msgspec
import pytest
from tests.unit.cli.desk import Desk, desk
from tests.unit.cli.top.fleet import BUSY, EMPTY, decision, finished

from cortex.cli.client import gateway
from cortex.cli.top.board import Board
from cortex.cli.top.feed import Feed, ask, events, reason_of, whole
from cortex.contract.activity import ActivityPage
from cortex.contract.admin import NodeList
from cortex.contract.error import UpstreamBroken, UpstreamUnreachable
from cortex.testing.virtual_clock import VirtualClock

NODES = {"nodes": msgspec.to_builtins(BUSY.nodes)}
INSTANCES = {"instances": msgspec.to_builtins(BUSY.instances)}
DECISIONS = {"decisions": [msgspec.to_builtins(decision(4, "load", "m"))], "newest": 4, "next": 4, "gap": False}


def a_page(*numbers: int) -> dict[str, object]:
    newest = max(numbers, default=7)
    done = tuple(finished(number, "m") for number in numbers)
    page = ActivityPage(running=(), running_count=0, finished=done, newest=newest, next=newest, gap=False)
    found: dict[str, object] = msgspec.to_builtins(page)
    return found


ANSWERS = {
    "GET_admin_v1_nodes": NODES,
    "GET_admin_v1_instances": INSTANCES,
    "GET_admin_v1_decisions?limit=100": DECISIONS,
    "GET_admin_v1_activity?limit=100": a_page(7),
    "GET_admin_v1_activity?limit=100&since=7": a_page(),
}


def a_feed(here: Desk, clock: VirtualClock) -> tuple[Feed, list[int]]:
    woken: list[int] = []
    server = gateway(here.url, {})
    return Feed(server, server, clock, lambda: woken.append(1)), woken


def taken(feed: Feed, board: Board = EMPTY) -> Board:
    while not feed.messages.empty():
        board = feed.messages.get()(board)
    return board


def calls(here: Desk) -> list[str]:
    seen = [call.removeprefix("GET /admin/v1/").partition("?")[0] for call, _ in here.seen]
    here.seen.clear()
    return seen


def test_a_round_asks_for_what_is_due_and_no_more() -> None:
    clock = VirtualClock()
    with desk(**ANSWERS) as here:
        feed, woken = a_feed(here, clock)
        feed.round()
        board = taken(feed)
        assert (board.nodes, board.instances, board.decisions) == (
            BUSY.nodes,
            BUSY.instances,
            (decision(4, "load", "m"),),
        )
        assert [one.number for one in board.finished] == [7]
        assert (calls(here), woken) == (["activity", "nodes", "instances", "decisions"], [1])
        feed.round()  # nothing happens any more: the places are looked at once again
        assert calls(here) == ["activity", "nodes", "instances", "decisions"]
        feed.round()
        assert calls(here) == ["activity"]
        feed.stir()
        feed.round()
        assert "nodes" in calls(here)


def test_a_gateway_that_does_not_answer_is_told_and_everything_is_asked_when_it_does() -> None:
    clock = VirtualClock()
    with desk(**ANSWERS) as here:
        feed, _ = a_feed(here, clock)
        feed.round()
        board = taken(feed)
        script, here.answers = here.answers, {}
        feed.round()
        board = taken(feed, board)
        assert (board.trouble.startswith("the gateway at"), board.nodes) == (True, BUSY.nodes)
        here.answers = script
        feed.round()
        assert taken(feed, board).trouble == ""


def test_requests_of_a_new_process_are_asked_for_anew() -> None:
    with desk(**ANSWERS | {"GET_admin_v1_activity?limit=100&since=7": a_page(2)}) as here:
        feed, _ = a_feed(here, VirtualClock())
        feed.round()
        taken(feed)
        here.answers["GET /admin/v1/activity?limit=100"] = [(200, a_page(1, 2))]
        feed.round()
        assert [one.number for one in taken(feed).finished] == [2, 1]


def test_the_stream_passes_decisions_on_and_calls_for_a_look() -> None:
    said = msgspec.json.encode(decision(5, "eviction", "m"))
    stream = b"id: 1\nevent: snapshot\ndata: {}\n\n: still here\n\nevent: decision\ndata: " + said + b"\n\n"
    with desk(**ANSWERS, GET_admin_v1_events=[(200, stream)]) as here:
        feed, _ = a_feed(here, VirtualClock())
        feed.follow()
        assert [one.number for one in taken(feed).decisions] == [5, 4]
        calls(here)
        feed.round()
        assert calls(here) == ["activity", "nodes", "instances"]


def test_the_reason_of_a_silence_is_short() -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        gateway("http://127.0.0.1:1", {}).get("/health")
    assert reason_of(caught.value.message) == "Connection refused"
    assert reason_of("something else") == "something else"


def test_what_crashes_crashes_where_it_is_seen() -> None:
    with desk() as here:
        feed, woken = a_feed(here, VirtualClock())
        feed.run(lambda: 1 // 0)
        assert woken == [1]
        with pytest.raises(ZeroDivisionError):
            taken(feed)


def test_events_are_split_and_not_decoded() -> None:
    lines = [b"event: change", b"data: {no json", b"", b": word", b"data: x"]
    assert list(events(iter(lines))) == [("change", b"{no json"), ("change", b"x")]


def test_everything_is_asked_for_once() -> None:
    answers = {key.replace("100", "20"): value for key, value in ANSWERS.items()}
    with desk(**answers) as here:
        board = whole(gateway(here.url, {}), EMPTY, 5.0, 20)
    assert (board.is_known, board.now_epoch_s, len(board.nodes)) == (True, 5.0, 3)


def test_what_is_no_answer_of_this_version_is_a_sentence() -> None:
    with desk(GET_admin_v1_nodes={"nodes": 5}) as here, pytest.raises(UpstreamBroken, match="another version"):
        ask(gateway(here.url, {}), "nodes", NodeList)
