"""The dispatcher and its neurons' leases: what is granted by them, and when they are reported on."""

import pytest
from tests.unit.fleet.builder import a_profile, a_report, loads
from tests.unit.fleet.lease_builder import TTL_S, Leased

from cortex.contract.event import NodeChange
from cortex.contract.lease import InstanceUse
from cortex.contract.node import HarnessDetail
from cortex.fleet.effect import AskDiscovery, Effect, FetchEndpoint, Grant, PostLeases
from cortex.fleet.event import (
    LeasesRefused,
    NodeChanged,
    NodeMissed,
    PollDue,
    Ticked,
)


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_poll_is_a_report_and_a_question_what_the_host_is_made_of_when_that_is_due() -> None:
    fleet = Leased()
    assert kinds(fleet.tell(PollDue("a"))) == [PostLeases]
    fleet.answer()
    fleet.now_s += 60
    assert kinds(fleet.tell(PollDue("a"))) == [AskDiscovery, PostLeases]


def test_loaded_model_is_asked_for_and_used_by_the_slots_that_were_given() -> None:
    fleet = Leased()
    assert FetchEndpoint("a", "m") in fleet.poll(a_report(parallel=4))
    assert kinds(fleet.place(2)) == [PostLeases], "who holds it says so at once"
    fleet.answer(slots={"m": 2})
    granted = [fleet.is_granted(fleet.arrive()) for _ in range(3)]
    assert granted == [True, True, False]


def test_report_says_what_is_in_flight_and_who_waits() -> None:
    fleet = Leased().holding()
    tickets = [fleet.arrive() for _ in range(3)]
    fleet.settle()
    fleet.now_s += 3
    fleet.tell(PollDue("a"))
    lease = fleet.lease()
    assert (lease.in_flight, lease.waiting, lease.oldest_wait_s, lease.slots) == (2, 1, 3.0, 2)
    fleet.finish(tickets[0])
    assert fleet.is_granted(tickets[2])


def test_instance_that_turns_busy_is_reported_at_once_but_not_with_every_request() -> None:
    fleet = Leased().holding()
    assert kinds(fleet.arrive_for()) == [Grant, PostLeases]
    fleet.settle()
    assert kinds(fleet.arrive_for()) == [Grant], "it is busy already"
    fleet.finish(1)
    fleet.finish(2)
    fleet.now_s += 1
    assert kinds(fleet.arrive_for()) == [Grant], "busy lingers"
    fleet.finish(3)
    fleet.now_s += 3
    assert kinds(fleet.arrive_for()) == [Grant, PostLeases]


def test_slots_that_are_called_back_are_not_used_and_that_is_said_at_once() -> None:
    fleet = Leased().holding()
    assert kinds(fleet.change(slots={"m": 1})) == [PostLeases]
    assert [fleet.is_granted(fleet.arrive()) for _ in range(2)] == [True, False]
    fleet.settle()
    fleet.change(slots={"m": 2})
    assert fleet.is_granted(2), "and given back"


def test_want_of_slots_that_others_have_is_said() -> None:
    fleet = Leased().holding()
    fleet.change(slots={"m": 0})
    fleet.settle()
    fleet.now_s += 1
    assert kinds(fleet.arrive_for()) == [PostLeases]
    assert fleet.lease().waiting == 1


def test_slot_that_comes_free_where_others_share_is_said() -> None:
    fleet = Leased().holding(slots=1)
    ticket = fleet.arrive()
    fleet.settle()
    fleet.now_s += 1
    assert kinds(fleet.finish(ticket)) == [PostLeases]


def test_want_of_slots_that_comes_too_soon_after_a_report_is_said_with_the_next_tick() -> None:
    fleet = Leased().holding()
    fleet.change(slots={"m": 0})
    fleet.settle()
    assert not kinds(fleet.arrive_for()), "the call-back was acknowledged just now"
    fleet.now_s += 0.25
    assert kinds(fleet.tell(Ticked())) == [PostLeases]
    assert fleet.lease().waiting == 1
    fleet.settle()
    fleet.now_s += 0.25
    assert not kinds(fleet.tell(Ticked())), "once is enough"


def test_slot_that_comes_free_too_soon_after_a_report_is_said_with_the_next_tick() -> None:
    fleet = Leased().holding(slots=1)
    ticket = fleet.arrive()
    fleet.settle()
    assert not kinds(fleet.finish(ticket)), "that it turned busy was said just now"
    fleet.now_s += 0.25
    assert kinds(fleet.tell(Ticked())) == [PostLeases]
    assert fleet.lease().in_flight == 0


def test_node_that_does_not_answer_is_not_asked_with_every_tick() -> None:
    fleet = Leased().holding(slots=1)
    ticket = fleet.arrive()
    fleet.finish(ticket)
    fleet.tell(NodeMissed("a", "silent"))
    fleet.now_s += 0.25
    assert PostLeases not in kinds(fleet.tell(Ticked()))


def test_drain_is_acknowledged_at_once_and_again_when_the_last_request_is_over() -> None:
    fleet = Leased().holding()
    ticket = fleet.arrive()
    fleet.settle()
    assert kinds(fleet.change(a_report(status="draining", parallel=2))) == [PostLeases]
    assert fleet.lease().in_flight == 1
    fleet.settle()
    assert kinds(fleet.finish(ticket)) == [PostLeases]
    assert fleet.lease().in_flight == 0


def test_cancelled_request_keeps_its_slot_until_it_must_be_over() -> None:
    fleet = Leased().holding()
    fleet.finish(fleet.arrive(), is_cancelled=True)
    fleet.settle()
    assert [fleet.is_granted(fleet.arrive()) for _ in range(2)] == [True, False]
    fleet.now_s += 9.9
    fleet.tell(Ticked())
    assert not fleet.is_granted(3)
    fleet.now_s += 0.2
    fleet.tell(Ticked())
    assert fleet.is_granted(3)


def test_cancelled_request_keeps_its_slot_until_the_engine_counts_without_it() -> None:
    fleet = Leased().holding()
    fleet.finish(fleet.arrive(), is_cancelled=True)
    fleet.settle()
    waiting = [fleet.arrive() for _ in range(2)][1]
    fleet.settle()
    fleet.now_s += 2

    def counted(in_flight: int, age_s: float | None) -> bool:
        fleet.poll(in_use=(InstanceUse(model_id="m", in_flight=in_flight, idle_s=0.0, age_s=age_s),))
        fleet.settle()
        return fleet.is_granted(waiting)

    assert not counted(1, 3.0), "counted before it was cancelled"
    assert not counted(1, None), "not counted at all"
    assert not counted(2, 0.1), "it is in there still"
    assert counted(1, 0.1)


def test_cancelled_requests_are_counted_in_the_reports() -> None:
    fleet = Leased().holding()
    for _ in range(3):
        fleet.finish(fleet.arrive(), is_cancelled=True)
        fleet.now_s += 20
        fleet.tell(Ticked())
        fleet.settle()
        fleet.poll()
    assert fleet.lease().cancelled == 3


def test_where_there_is_no_limit_a_cancelled_request_keeps_nothing() -> None:
    fleet = Leased().holding(parallel=None)
    for _ in range(50):
        fleet.finish(fleet.arrive(), is_cancelled=True)
    assert fleet.is_granted(fleet.arrive())


def test_lease_that_may_have_ended_is_not_granted_on_until_it_is_heard_of() -> None:
    fleet = Leased().holding()
    fleet.now_s += 3600
    effects = fleet.arrive_for()
    assert kinds(effects) == [PostLeases], "a gateway that was suspended asks first"
    assert fleet.lease().slots == 0
    fleet.answer()
    assert fleet.is_granted(1)


def test_fenced_generation_of_a_node_out_of_reach_goes_on_to_be_granted() -> None:
    fleet = Leased().holding()
    fleet.lost("a")
    fleet.now_s += 3600
    assert fleet.is_granted(fleet.arrive())
    assert [fleet.is_granted(fleet.arrive()) for _ in range(2)] == [True, False], "with the slots that it had"


def test_generation_without_a_fence_is_granted_for_two_thirds_of_a_lease_only() -> None:
    fleet = Leased(shared=True).holding()
    fleet.lost("a")
    assert fleet.is_granted(fleet.arrive())
    fleet.now_s += TTL_S * 2 / 3
    assert not fleet.is_granted(fleet.arrive())
    replica = fleet.dispatcher._floor.models["m"].replicas["a"]
    assert not replica.is_hopeful(), "nobody waits for what cannot be asked"


def without_slots(*others: str, **keys: object) -> Leased:
    """Have a model loaded whose slots another gateway has, on a node that died a moment ago."""
    fleet = Leased(others=others, profiles=(a_profile(**keys), a_profile("other", vram_mb=20_000))).holding()
    fleet.change(slots={"m": 0})
    fleet.settle()
    fleet.now_s += 1
    fleet.lost("a")
    return fleet


@pytest.mark.parametrize("limit", [None, 1])
def test_replica_without_slots_on_a_node_that_is_gone_is_no_place_to_wait_for(limit: int | None) -> None:
    fleet = without_slots("b", max_replicas=limit)
    assert loads(fleet.arrive_for("m")) == ["b"]
    (replica,) = next(model for model in fleet.dispatcher.view(fleet.now_s).models if model.id == "m").replicas
    assert not replica.is_ready
    fleet.loaded("b")
    assert fleet.grant(1).target.node == "b"


def test_requests_that_wait_for_slots_are_loaded_for_when_the_node_goes() -> None:
    fleet = Leased(others=("b",), profiles=(a_profile(),)).holding()
    fleet.change(slots={"m": 0})
    fleet.settle()
    assert not loads(fleet.arrive_for("m"))
    assert loads(fleet.lost("a")) == ["b"]


def test_slots_of_its_own_are_used_and_waited_for_though_the_node_is_gone() -> None:
    fleet = Leased(others=("b",), profiles=(a_profile(),)).holding(slots=1)
    fleet.lost("a")
    first = fleet.arrive()
    assert not loads(fleet.arrive_for("m"))
    fleet.finish(first)
    assert fleet.grant(2).target.node == "a"


def test_nobody_goes_for_a_model_whose_node_may_be_back_before_the_lease_is_over() -> None:
    fleet = without_slots("b")
    fleet.sample("b", a_report("other", devices=(0,), declared_mb=24_000, idle_s=500.0))
    assert not loads(fleet.arrive_for("m"))
    assert not loads(fleet.tick(by_s=TTL_S / 2))
    assert loads(fleet.tick(by_s=TTL_S / 2)) == ["b"]


def test_request_for_slots_of_the_only_node_is_served_when_that_is_back() -> None:
    fleet = without_slots()
    ticket = fleet.arrive()
    fleet.poll(slots={"m": 1})
    assert fleet.is_granted(ticket)


def test_request_for_slots_of_the_only_node_waits_no_longer_than_the_lease_lives() -> None:
    fleet = without_slots()
    ticket = fleet.arrive()
    fleet.tick(by_s=TTL_S / 2)
    assert ticket not in fleet.answers
    fleet.tick(by_s=TTL_S / 2)
    assert fleet.refusal(ticket).error.code == "no_healthy_node"


def test_three_missed_polls_make_a_node_unhealthy_and_one_answer_healthy_again() -> None:
    fleet = Leased().holding()

    def is_healthy() -> bool:
        return fleet.dispatcher.view(fleet.now_s).nodes[0].is_healthy

    states = []
    for _ in range(3):
        fleet.tell(PollDue("a"))
        fleet.under_way.clear()
        fleet.tell(NodeMissed("a", "silence"))
        states.append(is_healthy())
    assert states == [True, True, False]
    fleet.poll()
    assert is_healthy()


def test_refusals_are_misses_but_for_numbers_that_are_known() -> None:
    fleet = Leased()
    fleet.tell(PollDue("a"))
    fleet.under_way.clear()
    effects = fleet.tell(LeasesRefused(node="a", code="stale", message="", known_seq=41))
    assert [effect.post.seq for effect in effects if isinstance(effect, PostLeases)] == [42]
    fleet.under_way.clear()
    fleet.tell(LeasesRefused(node="a", code="starting", message="adopting engines"))
    assert fleet.dispatcher.view(fleet.now_s).nodes[0].why == "adopting engines"


def test_endpoint_that_could_not_be_had_is_asked_for_again_when_the_node_is_heard() -> None:
    fleet = Leased()
    fleet.poll(a_report(parallel=2))
    fleet.fetch_failed("a")
    assert FetchEndpoint("a", "m") in fleet.poll()
    fleet.place(2)
    fleet.settle()
    assert FetchEndpoint("a", "m") not in fleet.poll()


def test_node_that_lists_it_as_loaded_after_a_load_of_ours_was_given_up_is_asked() -> None:
    fleet = Leased()
    fleet.discover("a", details=[HarnessDetail(name="llamacpp", kind="llamacpp", usable=True)])
    fleet.poll()
    fleet.dispatcher._floor.know("m")
    fleet.poll(a_report(parallel=2))
    fleet.fetch_failed("a")
    fleet.poll()
    fleet.place(2)
    assert fleet.is_granted(fleet.arrive())


def test_only_what_is_told_is_looked_at() -> None:
    fleet = Leased()
    fleet.poll(*(a_report(f"m{number}", "unloaded", 0) for number in range(50)))
    before = dict(fleet.dispatcher._floor.models)
    fleet.poll(a_report("m7", "failed", 0))
    assert fleet.dispatcher._floor.models == before
    fleet.poll(gone=("m7", "m8"))
    assert len(fleet.dispatcher._floor.models) == 48
    assert fleet.dispatcher.canonical_id("m7") == ""
    assert fleet.dispatcher.canonical_id("m9") == "m9"


def test_new_life_has_every_place_confirmed_while_requests_go_on() -> None:
    fleet = Leased().holding()
    fleet.start_id = "other"
    assert FetchEndpoint("a", "m") in fleet.poll(a_report(parallel=2), whole=True, slots={"m": 2})
    assert fleet.is_granted(fleet.arrive())


def test_who_leaves_says_so_to_nodes_that_answer() -> None:
    fleet = Leased().holding()
    (goodbye,) = fleet.dispatcher.goodbyes(fleet.now_s)
    assert goodbye.post.leaving
    assert fleet.dispatcher.goodbyes(fleet.now_s) == []
    lost = Leased().holding()
    lost.lost("a")
    assert lost.dispatcher.goodbyes(lost.now_s) == []


def test_news_of_an_unknown_node_is_passed_over() -> None:
    fleet = Leased()
    for event in (
        PollDue("x"),
        NodeMissed("x", "y"),
        LeasesRefused(node="x", code="", message=""),
        NodeChanged("x", NodeChange(start_id="a", event=1)),
    ):
        assert fleet.tell(event) == []


@pytest.mark.parametrize("is_first", ["answer", "place"])
def test_place_and_slots_may_come_in_either_order(is_first: str) -> None:
    fleet = Leased()
    fleet.poll(a_report(parallel=4))
    if is_first == "place":
        fleet.place(3)
        fleet.answer(slots={"m": 1})
    else:
        fleet.change(slots={"m": 1})
        fleet.place(3, asked_s=fleet.now_s - 1)
    assert [fleet.is_granted(fleet.arrive()) for _ in range(2)] == [True, False]


def test_discovery_that_tells_of_a_fence_changes_how_long_a_lease_is_trusted() -> None:
    fleet = Leased(shared=True).holding()
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=True)
    fleet.discover("a", details=[detail])
    fleet.now_s += TTL_S * 2 / 3
    assert fleet.is_granted(fleet.arrive())


def test_engine_is_asked_again_and_again_while_somebody_waits_for_the_slot_of_what_was_cancelled() -> None:
    fleet = Leased().holding(slots=1, parallel=1)
    fleet.finish(fleet.arrive(), is_cancelled=True)
    fleet.settle()
    fleet.arrive()
    reports = []
    for _ in range(8):
        fleet.settle()
        fleet.now_s += 0.25
        reports += fleet.tell(Ticked())
    assert kinds(reports) == [PostLeases] * 8
    fleet.poll(in_use=(InstanceUse(model_id="m", in_flight=0, idle_s=0.0, age_s=0.1),))
    assert fleet.is_granted(2)


def test_drain_of_an_engine_without_a_limit_is_acknowledged_too_when_it_is_empty() -> None:
    fleet = Leased().holding(parallel=None)
    ticket = fleet.arrive()
    fleet.change(a_report(status="draining"))
    fleet.settle()
    assert kinds(fleet.finish(ticket)) == [PostLeases]


def test_neuron_that_learns_of_leases_is_asked_for_every_place_again() -> None:
    fleet = Leased()
    fleet.sample("a", a_report(parallel=2), start_id="life", event=5)
    fleet.fetched("a")
    assert fleet.is_granted(fleet.arrive())
    assert FetchEndpoint("a", "m") in fleet.poll(a_report(parallel=2), whole=True)
    fleet.place(2)
    fleet.settle()
    assert fleet.is_granted(fleet.arrive())
