"""Who holds what on a node, who has seen that it drains, and what becomes of gateways that fall silent."""

import pytest

from cortex.contract.lease import Lease, LeasePost
from cortex.residency.lease_book import REMEMBERED_TTLS, Double, Late, LeaseBook, TooMany
from cortex.residency.leased_generation import Serving

TTL_S = 40.0
LOADED = Serving("m", 3, 4)
FOUND = LOADED._replace(held_before=frozenset({"b"}))
"""Its engine was found running, and b held it."""


class Node:
    """A book over one loaded model, at change 10; every call that changes something is one change more."""

    def __init__(self, serving: Serving = LOADED, **how: object) -> None:
        self.book = LeaseBook(**{"ttl_s": TTL_S, "cancel_settle_s": 10.0, "known_from_s": TTL_S, **how})  # type: ignore[arg-type]
        self.event = 10
        self.now_s = 0.0
        self.seqs: dict[str, int] = {}
        self.serve(serving)

    def serve(self, *serving: Serving) -> None:
        self.event += 1
        self.book.serve(serving, self.now_s, self.event)

    def hold(self, gateway: str) -> object:
        return self._told(self.book.hold(gateway, "m", self.now_s, self.event + 1))

    def post(
        self, gateway: str, in_flight: int | None = None, *, seen: int | None = None, seq: int | None = None,
        leaving: bool = False, generation: int = 3, waiting: int = 0, claim: int = 0, process: str = "",
    ) -> object:  # fmt: skip
        self.seqs[gateway] = self.seqs.get(gateway, 0) + 1 if seq is None else seq
        lease = Lease(model_id="m", generation=generation, in_flight=in_flight or 0, waiting=waiting, slots=claim)
        post = LeasePost(
            gateway_id=gateway,
            process=process,
            seq=self.seqs[gateway],
            leases=() if in_flight is None else (lease,),
            leaving=leaving,
        )
        seen_event = self.event if seen is None else seen
        return self._told(self.book.post(post, seen_event, self.now_s, self.event + 1))

    def drain(self) -> None:
        self.serve(LOADED._replace(is_draining=True))

    @property
    def in_flight(self) -> int:
        return self.book.in_flight("m", 3, self.now_s)

    @property
    def is_acknowledged(self) -> bool:
        return self.book.has_all_acknowledged("m", 3, self.now_s)

    @property
    def holders(self) -> tuple[str, ...]:
        self.book.tick(self.now_s, self.event + 1)
        return self.book.holders("m")

    def _told(self, outcome: object) -> object:
        self.event += outcome is True
        return outcome


def test_who_asks_for_the_endpoint_holds_and_is_waited_for() -> None:
    node = Node()
    node.hold("a")
    node.drain()
    assert (node.holders, node.is_acknowledged) == (("a",), False)


def test_nobody_is_waited_for_where_nobody_holds() -> None:
    node = Node()
    node.drain()
    assert node.is_acknowledged
    assert node.book.has_all_acknowledged("other", 1, 0.0)


@pytest.mark.parametrize(
    ("seen", "is_acknowledged"),
    [
        pytest.param(-1, False, id="a post that has not seen it"),
        pytest.param(0, True, id="one that has"),
        pytest.param(5, True, id="one that has seen more"),
    ],
)
def test_a_drain_is_acknowledged_by_a_post_that_has_seen_it(seen: int, is_acknowledged: bool) -> None:
    node = Node()
    node.hold("a")
    node.drain()
    drained_at = node.event
    node.event += 5
    node.post("a", 1, seen=drained_at + seen)
    assert (node.is_acknowledged, node.in_flight) == (is_acknowledged, 1)


def test_a_post_that_does_not_mention_it_acknowledges_as_well_and_has_nothing_there() -> None:
    node = Node()
    node.post("a", 2)
    node.drain()
    node.post("a")
    assert (node.is_acknowledged, node.in_flight) == (True, 0)


def test_every_holder_has_to_acknowledge() -> None:
    node = Node()
    node.hold("a")
    node.hold("b")
    node.drain()
    node.post("a", 0)
    assert not node.is_acknowledged
    node.post("b", 0)
    assert node.is_acknowledged


def test_a_drain_that_was_given_up_and_begins_again_needs_to_be_acknowledged_again() -> None:
    node = Node()
    node.hold("a")
    node.drain()
    node.post("a", 0)
    node.serve(LOADED)
    assert not node.is_acknowledged
    seen = node.event
    node.drain()
    node.post("a", 0, seen=seen)
    assert not node.is_acknowledged
    node.post("a", 0)
    assert node.is_acknowledged


def test_a_gateway_that_has_seen_nothing_of_this_process_acknowledges_nothing() -> None:
    node = Node()
    node.drain()
    node.post("a", 0, seen=0)
    assert not node.is_acknowledged


def test_an_older_post_is_dropped_whole_and_told_of_the_newest_number() -> None:
    node = Node()
    node.post("a", 1, seq=7)
    for late in (7, 6, 0):
        assert node.post("a", 4, seq=late) == Late(7)
    assert node.in_flight == 1
    node.drain()
    assert node.post("a", 0, seq=5) == Late(7)
    assert not node.is_acknowledged


def test_a_number_is_known_longer_than_a_lease_and_not_for_ever() -> None:
    node = Node()
    node.post("a", 1, seq=7)
    node.now_s = REMEMBERED_TTLS * TTL_S - 1
    assert node.holders == ()
    assert node.post("a", 1, seq=7) == Late(7)
    node.now_s += 1
    assert node.post("a", 1, seq=1) is True


def test_a_lease_ends_when_its_time_is_over_since_it_was_received() -> None:
    node = Node()
    node.hold("a")
    node.now_s = 30.0
    node.post("a", 0)
    node.drain()
    node.now_s = 30.0 + TTL_S - 0.1
    assert (node.holders, node.is_acknowledged) == (("a",), False)
    node.now_s = 30.0 + TTL_S
    assert (node.is_acknowledged, node.holders) == (True, ())


def test_a_post_does_not_renew_what_it_does_not_mention() -> None:
    node = Node()
    node.hold("a")
    node.now_s = 30.0
    node.post("a")
    assert node.holders == ("a",)
    node.now_s = TTL_S
    assert node.holders == ()


def test_requests_of_a_holder_that_fell_silent_are_over_only_when_the_engine_has_none() -> None:
    node = Node()
    node.post("a", 2)
    node.now_s = TTL_S
    node.drain()
    assert (node.is_acknowledged, node.in_flight) == (True, 2)
    node.book.count("m", 3, 1, asked_s=TTL_S + 1)
    assert node.in_flight == 2
    node.book.count("m", 2, 0, asked_s=TTL_S + 1)
    assert node.in_flight == 2, "that was another generation's engine"
    node.book.count("m", 3, 0, asked_s=TTL_S + 1)
    assert node.in_flight == 0


def test_who_leaves_in_order_is_not_waited_for() -> None:
    node = Node()
    node.post("a", 0)
    node.drain()
    node.post("a", 0, leaving=True)
    assert (node.is_acknowledged, node.holders, node.in_flight) == (True, (), 0)
    assert node.post("a", 0, seq=1) == Late(2)


def test_reports_on_another_generation_count_for_nothing() -> None:
    node = Node()
    node.post("a", 3, generation=2)
    assert (node.holders, node.in_flight) == ((), 0)


def test_a_gateway_that_was_started_anew_has_slots_once_it_is_certain_that_its_last_process_has_none() -> None:
    node = Node()
    node.post("a", 0, process="one")
    assert slots_of(node, "a") == 4
    node.post("a", process="two", seen=0)
    assert slots_of(node, "a") == 0, "were there two, the first would hear that it has none"
    node.post("a", 0, process="two")
    assert slots_of(node, "a") == 4


def test_two_processes_that_report_under_one_name_are_told_from_one_that_was_started_anew() -> None:
    node = Node()
    node.post("a", 0, process="one")
    node.post("a", 0, process="two")
    node.post("a", 0, process="two")
    assert node.post("a", 3, process="one") == Double("one")
    assert node.post("a", leaving=True, process="one") == Double("one"), (
        "what the other one holds is not its to release"
    )
    assert (node.in_flight, node.holders) == (0, ("a",))
    node.now_s = TTL_S
    assert not isinstance(node.post("a", 0, process="one"), Double), "the other one is gone"
    assert not isinstance(node.post("a", 0, process="one"), Double)


def test_a_gateway_that_has_left_may_come_back_as_whatever_it_likes() -> None:
    node = Node()
    for process in ("one", "two", "one"):
        assert not isinstance(node.post("a", 0, process=process, leaving=True), Double)


def test_a_new_generation_begins_without_holders() -> None:
    node = Node()
    node.post("a", 3)
    node.serve(LOADED._replace(generation=4))
    assert node.book.holders("m") == ()
    assert node.book.in_flight("m", 4, 0.0) == node.in_flight == 0


def test_after_a_start_no_drain_of_a_found_engine_is_over_before_every_lease_of_the_last_process() -> None:
    node = Node(FOUND)
    node.post("a", 0)
    node.serve(FOUND._replace(is_draining=True))
    node.post("a", 0)
    node.now_s = TTL_S - 0.1
    assert not node.is_acknowledged
    node.now_s = TTL_S
    assert node.is_acknowledged


@pytest.mark.parametrize(("claim", "is_over"), [(4, True), (3, False)])
def test_after_a_start_a_drain_waits_for_nobody_unheard_once_all_slots_were_claimed(claim: int, is_over: bool) -> None:
    node = Node(FOUND)
    node.post("a", 0, claim=claim)
    node.serve(FOUND._replace(is_draining=True))
    assert not node.is_acknowledged
    node.post("a", 0, claim=claim)
    assert node.is_acknowledged == is_over


def slots_of(node: Node, gateway: str) -> int:
    return sum(change.slots for change in node.book.slots() if change.gateway_id == gateway)


def test_after_a_start_a_drain_waits_for_nobody_once_everybody_who_held_has_heard_of_this_process() -> None:
    node = Node(FOUND)
    node.serve(FOUND._replace(is_draining=True))
    node.post("a", 0)
    node.post("b", 0, seen=0)
    assert not node.is_acknowledged, "b may not have heard of this process when it sent that"
    node.post("b", 0)
    assert node.is_acknowledged


def test_after_a_start_slots_are_shared_out_once_everybody_who_held_has_heard_and_the_engine_was_asked() -> None:
    node = Node(FOUND)
    node.post("b", seen=0)
    node.post("b", 0, waiting=1)
    assert (slots_of(node, "b"), node.book.is_contended()) == (0, True), "its last process may have left something"
    node.book.count("m", 3, 1, asked_s=node.now_s)
    node.book.tick(node.now_s, node.event + 1)
    assert slots_of(node, "b") == 3
    node.book.count("m", 3, 0, asked_s=node.now_s)
    node.book.tick(node.now_s, node.event + 1)
    assert slots_of(node, "b") == 4


def test_after_a_start_slots_that_somebody_may_go_by_are_nobodys_until_it_goes_by_what_it_was_told() -> None:
    node = Node(FOUND)
    node.post("b", 0, claim=3, seen=0)
    node.post("b", 0, claim=4, seen=1)
    assert slots_of(node, "b") == 3, "it was told of the fourth by the last process, after its first report"
    node.post("b", 0, claim=3)
    assert slots_of(node, "b") == 3
    node.book.count("m", 3, 0, asked_s=node.now_s)
    node.book.tick(node.now_s, node.event + 1)
    assert slots_of(node, "b") == 4


def test_who_held_something_and_has_nothing_of_it_any_more_is_not_waited_for() -> None:
    node = Node(FOUND)
    node.post("b")
    assert node.book.held() == {}
    node.serve(FOUND._replace(is_draining=True))
    assert node.is_acknowledged


def test_who_has_to_be_reckoned_with_by_the_next_process_is_known() -> None:
    node = Node(FOUND)
    node.post("a", 0)
    assert node.book.held() == {3: {"a", "b"}}, "b may still hold it"
    node.post("b", 1)
    node.post("a", 0, leaving=True)
    assert node.book.held() == {3: {"b"}}
    node.post("b", 1, leaving=True)
    assert node.book.held() == {3: {"b"}}, "it has left a request behind"
    node.book.count("m", 3, 0, asked_s=node.now_s)
    assert node.book.held() == {}


def test_an_engine_of_this_process_has_no_unknown_holders() -> None:
    node = Node()
    node.drain()
    assert node.is_acknowledged


def test_a_gateway_is_told_what_has_changed_since_it_looked() -> None:
    node = Node()
    node.post("a", 0)
    told_at = node.event
    assert [grant.slots for grant in node.book.slots_of("a", told_at - 1)] == [4]
    assert node.book.slots_of("a", told_at) == ()
    node.post("b", 0, waiting=1)
    assert [grant.slots for grant in node.book.slots_of("a", told_at)] == [3]
    assert [(change.gateway_id, change.slots) for change in node.book.slots()] == [("a", 3), ("b", 0)]


def test_who_waits_for_a_slot_of_what_it_has_cancelled_has_the_engine_asked() -> None:
    node = Node()
    node.post("a", 4)
    node.post("a", 3)
    assert not node.book.is_contended()
    node.post("a", 3, waiting=1)
    assert node.book.is_contended()


def test_slots_that_a_lapsed_lease_leaves_go_to_who_waits() -> None:
    node = Node()
    node.post("a", 0)
    node.now_s = 20.0
    node.post("b", 0, waiting=1)
    node.now_s = TTL_S
    assert node.book.tick(node.now_s, node.event + 1) is True, "that a has lost its slots is a change"
    assert [change.slots for change in node.book.slots()] == [0], "a may have sent something since it was heard"
    assert node.book.tick(node.now_s, node.event + 2) is False
    assert node.book.is_contended()
    node.book.count("m", 3, 0, asked_s=TTL_S)
    assert node.book.tick(node.now_s, node.event + 1) is True
    assert [change.slots for change in node.book.slots()] == [4]
    assert (node.book.is_contended(), node.book.debris("m")) == (False, 0)


def test_gateways_are_taken_in_up_to_a_number_and_the_idle_make_room_first() -> None:
    node = Node(max_gateways=2)
    node.post("idle")
    node.hold("a")
    node.hold("b")
    assert node.book.holders("m") == ("a", "b")
    assert node.hold("c") == node.post("c", 0) == TooMany(2)
    node.now_s = TTL_S
    assert node.hold("c") is not TooMany(2)
    assert node.holders == ("c",)


def test_a_gateway_that_fell_silent_is_told_that_it_has_no_slots_any_more() -> None:
    node = Node()
    node.post("a", 0)
    seen = node.event
    node.now_s = 30.0
    node.post("b", 0, waiting=4)
    node.now_s = TTL_S
    node.book.count("m", 3, 0, asked_s=TTL_S)
    node.book.tick(node.now_s, node.event + 1)
    node.post("a", 0, seen=seen)
    assert [grant.slots for grant in node.book.slots_of("a", seen)] == [0]
    assert [change.slots for change in node.book.slots()] == [4, 0]


@pytest.mark.parametrize(
    ("count", "asked_s", "in_flight"),
    [
        pytest.param(0, 0.5, 2, id="requests may be on their way to the engine"),
        pytest.param(0, 1.0, 0, id="after a while they have been there"),
        pytest.param(1, 1.0, 1, id="as many as the engine says"),
        pytest.param(9, 1.0, 2, id="no more than the gateway says"),
    ],
)
def test_an_old_report_counts_no_more_than_the_engine_has(count: int, asked_s: float, in_flight: int) -> None:
    node = Node()
    node.post("a", 2)
    node.book.count("m", 3, count, asked_s=asked_s)
    node.now_s = asked_s
    assert node.in_flight == in_flight
    node.drain()
    assert node.in_flight == in_flight, "a may not have heard yet"
    node.post("a", 2)
    node.book.count("m", 3, 0, asked_s=asked_s + 2)
    assert node.in_flight == 2, "what acknowledges the drain holds as it is"


def test_who_asks_for_an_endpoint_and_never_reports_gets_no_slots_that_it_would_not_give_back() -> None:
    node = Node()
    assert node.hold("curious") is False
    node.post("a", 0)
    assert [(change.gateway_id, change.slots) for change in node.book.slots()] == [("curious", 0), ("a", 4)]


def test_who_reports_gets_its_slots_with_the_endpoint() -> None:
    node = Node()
    node.post("a")
    assert node.hold("a") is True
    assert [change.slots for change in node.book.slots()] == [4]
