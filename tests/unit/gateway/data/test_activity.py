"""Requests that run and that are over, as they are shown: narrowed down, in pages, with why they were cold."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.gateway.data.rig import DONE, ROLE, Rig, rig, token, usage
from tests.unit.gateway.data.test_metric import UNKNOWN, a_record

from cortex.contract.activity import ActivityQuery, FinishedRequest, RequestOutcome, RunningRequest
from cortex.contract.key import Key
from cortex.fleet.cause import Causes
from cortex.fleet.decision import DecisionLog
from cortex.fleet.outlook import Outlook
from cortex.gateway.data.activity import Activity
from cortex.gateway.data.record import Outcome
from cortex.gateway.ports import FinishedPart

STREAMED = b'{"model":"alias-of-m","stream":true}'


class Scene:
    def __init__(self, it: Rig, kept: int = 5) -> None:
        self.it = it
        self.log, self.causes = DecisionLog(), Causes()
        self.log.watch(self.causes.note)
        self.activity = Activity(self.causes, lambda: it.plane.running, it.leases, kept=kept)

    def running(self, **query: object) -> tuple[RunningRequest, ...]:
        return self.activity.running(ActivityQuery(**query))[0]  # type: ignore[arg-type]

    @property
    def one(self) -> RunningRequest:
        (request,) = self.running()
        return request

    def finished(self, **query: object) -> FinishedPart:
        return self.activity.finished(ActivityQuery(**query))  # type: ignore[arg-type]

    def place(self, reason: str = "fits free memory", **keys: object) -> None:
        self.log.note("placement", reason, now_s=1.0, **({"model": "m", "node": "a"} | keys))  # type: ignore[arg-type]


@pytest.fixture
def it() -> Iterator[Scene]:
    with rig() as one:
        yield Scene(one)


def numbers(part: FinishedPart) -> list[int]:
    return [request.number for request in part.requests]


# running


def test_a_request_is_seen_at_every_stage_of_its_way(it: Scene) -> None:
    client = it.it.post(STREAMED, (b"x-request-id", b"mine"))
    it.it.loop.advance(2)
    waiting = it.one
    assert (waiting.request_id, waiting.operation, waiting.stream) == ("mine", "chat", True)
    assert (waiting.state, waiting.model, waiting.node, waiting.attempts) == ("waiting", "m", "", 0)
    assert (waiting.for_s, waiting.caller, waiting.key) == (2.0, client.peer, "")
    it.it.leases.grant(it.it.place())
    engine = it.it.upstream.accept()
    assert (it.one.state, it.one.node, it.one.attempts, it.one.first_token_s) == ("sent", "a", 1, None)
    engine.stream(ROLE)
    assert it.one.state == "sent"
    it.it.loop.advance(1)
    engine.more(token())
    assert (it.one.state, it.one.first_token_s, it.one.completion_tokens) == ("streaming", 3.0, None)
    engine.more(usage(7, 6), DONE, end=True)
    assert it.running() == ()


def test_who_waits_for_a_load_is_told_with_where_and_why(it: Scene) -> None:
    it.it.post(STREAMED)
    it.place(caller="alice", evicts=["old"])
    (ticket,) = it.it.leases.open
    it.it.leases.outlooks[ticket] = Outlook(state="loading", node="a", progress=0.4, eta_s=30.0)
    seen = it.one
    assert (seen.state, seen.node, seen.outlook) == ("loading", "a", "loading on a, 40 %, about 30 s")
    assert seen.why is not None
    assert (seen.why.reason, seen.why.caller, seen.why.evicts) == ("fits free memory", "alice", ("old",))
    it.it.leases.grant(it.it.place(), is_cold=True)
    assert (it.one.state, it.one.cold_start, it.one.why) == ("sent", True, seen.why)
    it.it.upstream.accept().stream(token(), DONE, end=True)


def test_who_waits_behind_others_is_not_told_of_a_load_that_is_over(it: Scene) -> None:
    it.it.post(STREAMED)
    it.place()
    (ticket,) = it.it.leases.open
    it.it.leases.outlooks[ticket] = Outlook(state="queued", position=3)
    assert (it.one.state, it.one.outlook, it.one.why) == ("waiting", "queued", None)
    it.log.note("deferral", "nothing may leave yet", now_s=2.0, model="m", node="a")
    assert it.one.why is not None
    assert it.one.why.reason == "nothing may leave yet"
    it.it.leases.grant(it.it.place())
    it.it.upstream.accept().stream(token(), DONE, end=True)


def test_running_requests_come_the_oldest_first_and_no_more_than_asked_for(it: Scene) -> None:
    for name in (b"first", b"second", b"third"):
        it.it.post(STREAMED, (b"x-request-id", name))
        it.it.loop.advance(1)
    assert [request.request_id for request in it.running(limit=2)] == ["first", "second"]
    assert it.activity.running(ActivityQuery(limit=1))[1] == 3
    assert len(it.running(model="m")) == 3
    assert it.running(model="other") == it.running(node="a") == it.running(outcome="ok") == ()
    assert len(it.running(key="10.0.0.9")) == 3
    assert it.running(key="alice") == ()
    for _ in range(3):
        it.it.leases.grant(it.it.place())
        it.it.upstream.accept().stream(token(), DONE, end=True)


def test_a_key_is_told_by_id_and_name(it: Scene) -> None:
    client = it.it.post(STREAMED)
    client.exchange.key = Key(id="key_1", name="alice", shown="ctx-1")
    assert (it.one.caller, it.one.key) == ("key_1", "alice")
    assert it.running(key="alice") == it.running(key="key_1") == it.running()
    client.exchange.key = None
    client.leave()


# over


def test_what_is_over_has_its_place_its_cost_and_its_times(it: Scene) -> None:
    it.activity.record(
        a_record(started_s=100.0, key="alice", key_id="key_1", attempts=2, lost=(("benjy", "upstream_broken"),))
    )
    (seen,) = it.finished().requests
    assert seen == FinishedRequest(
        number=1, request_id="r", operation="chat", model="org/m", node="beast", caller="key_1", key="alice",
        ended_epoch_s=100.65, duration_s=0.65, stream=True, status=200, outcome="ok", attempts=2,
        lost=(("benjy", "upstream_broken"),), cold_start=False, first_token_s=0.15, prompt_tokens=10,
        completion_tokens=20, tokens_per_s=40.0, error=None, why=None,
    )  # fmt: skip


def test_a_cold_start_keeps_the_reason_of_the_load_it_waited_for(it: Scene) -> None:
    it.place("fits free memory", model="org/m", node="beast")
    it.activity.record(a_record(cold_start=True))
    it.activity.record(a_record())
    it.place("a later one", model="org/m", node="beast")
    cold, warm = it.finished().requests
    assert cold.why is not None
    assert cold.why.reason == "fits free memory"
    assert warm.why is None


def test_a_refusal_keeps_what_was_in_the_way(it: Scene) -> None:
    it.log.note("failure", "it ran out of memory", now_s=1.0, model="org/m", node="beast", code="load_failed")
    it.activity.record(a_record(outcome="refused", status=503, error="load_failed"))
    it.activity.record(a_record(**UNKNOWN))
    known, unknown = it.finished().requests
    assert known.why is not None
    assert known.why.reason == "it ran out of memory"
    assert (unknown.why, unknown.first_token_s, unknown.tokens_per_s) == (None, None, None)


def test_pages_go_on_where_the_one_before_ended(it: Scene) -> None:
    for _ in range(4):
        it.activity.record(a_record())
    first = it.finished(since=0, limit=3)
    assert (numbers(first), first.next, first.newest, first.is_gap) == ([1, 2, 3], 3, 4, False)
    rest = it.finished(since=first.next, limit=3)
    assert (numbers(rest), rest.next, rest.is_gap) == ([4], 4, False)
    assert numbers(it.finished(since=4)) == []
    assert numbers(it.finished(limit=2)) == [3, 4]
    assert not it.finished().is_gap


def test_what_is_not_kept_any_more_or_was_another_process_is_a_gap(it: Scene) -> None:
    for _ in range(8):
        it.activity.record(a_record())
    part = it.finished(since=2)
    assert (numbers(part), part.is_gap) == ([4, 5, 6, 7, 8], True)
    assert not it.finished(since=3).is_gap
    foreign = it.finished(since=99)
    assert (numbers(foreign), foreign.is_gap) == ([4, 5, 6, 7, 8], True)


def test_what_is_over_is_narrowed_down(it: Scene) -> None:
    it.activity.record(a_record(key="alice", key_id="key_1"))
    it.activity.record(a_record(model="other", node="benjy"))
    it.activity.record(a_record(outcome="failed", status=502))
    assert numbers(it.finished(model="other")) == numbers(it.finished(node="benjy")) == [2]
    assert numbers(it.finished(outcome="failed")) == [3]
    assert numbers(it.finished(key="alice")) == numbers(it.finished(key="key_1")) == [1]
    assert numbers(it.finished(key="10.0.0.9")) == [2, 3]
    assert numbers(it.finished(outcome="failed", since=0, limit=1)) == [3]
    assert it.finished(outcome="failed", since=0, limit=1).next == 3


def test_the_words_for_outcomes_are_those_of_records() -> None:
    assert msgspec.inspect.type_info(RequestOutcome) == msgspec.inspect.type_info(Outcome)
