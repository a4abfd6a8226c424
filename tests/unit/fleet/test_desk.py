"""The gateway's part in the protocol with one neuron: leases, slots, trust, and when it must report."""

from math import inf

import pytest
from tests.unit.fleet.desk_builder import GATEWAY, TTL_S, Neuron, report, use

from cortex.contract.node import Discovery, HarnessDetail


def test_first_report_claims_to_have_seen_nothing_though_the_stream_was_first() -> None:
    neuron = Neuron()
    neuron.change(7, report(), whole=True)
    first = neuron.post()
    assert (first.start_id, first.seen_event, first.seq) == ("", 7, 1)
    neuron.answer(8, whole=True, post=first)
    second = neuron.post()
    assert (second.start_id, second.seen_event, second.seq) == ("life", 8, 2)


def test_one_report_is_under_way_at_a_time_and_another_follows_it() -> None:
    neuron = Neuron()
    post = neuron.post()
    assert neuron.desk.post((), neuron.now_s) is None
    assert not neuron.desk.wants_post, "not while one is under way"
    neuron.answer(post=post)
    assert neuron.desk.wants_post
    neuron.answer()
    assert not neuron.desk.wants_post


def test_report_has_what_is_in_use_and_the_slots_it_goes_by() -> None:
    neuron = Neuron().holding(slots=3)
    (lease,) = neuron.post(use(in_flight=2, waiting=1, oldest_wait_s=-0.1, idle_s=4.0, cancelled=9)).leases
    assert (lease.in_flight, lease.waiting, lease.oldest_wait_s, lease.idle_s) == (2, 1, 0.0, 4.0)
    assert (lease.cancelled, lease.slots) == (9, 3)


def test_lease_that_has_ended_claims_no_slots() -> None:
    neuron = Neuron().holding(slots=3)
    neuron.now_s += TTL_S
    assert neuron.post(use(in_flight=1)).leases[0].slots == 0


def test_lease_is_counted_from_when_its_report_was_sent() -> None:
    neuron = Neuron().holding()
    sent_s = neuron.now_s
    post = neuron.post(use())
    neuron.now_s += 15
    neuron.answer(6, post=post, sent_s=sent_s)
    assert neuron.desk.trusted_until_s("m", 1) == sent_s + TTL_S


def test_lease_that_a_report_did_not_mention_is_not_renewed() -> None:
    neuron = Neuron().holding()
    until_s = neuron.desk.trusted_until_s("m", 1)
    neuron.now_s += 5
    neuron.answer(6, post=neuron.post())
    assert neuron.desk.trusted_until_s("m", 1) == until_s


def test_gateway_that_was_suspended_trusts_no_lease_that_ended_meanwhile() -> None:
    neuron = Neuron().holding()
    neuron.now_s += 3600
    assert neuron.desk.trusted_until_s("m", 1) < neuron.now_s
    neuron.answer(6)
    assert neuron.desk.trusted_until_s("m", 1) == neuron.now_s + TTL_S


def test_fenced_generation_of_a_neuron_out_of_reach_is_served_with_the_slots_it_had() -> None:
    neuron = Neuron().holding(slots=2)
    assert neuron.miss(is_certain=True)
    neuron.now_s += 3600
    assert neuron.desk.trusted_until_s("m", 1) == inf
    assert neuron.desk.slots_of("m", 1) == 2
    assert neuron.post(use(in_flight=1)).leases[0].slots == 0, "a neuron that was restarted is not told of them"


def test_out_of_reach_ends_when_the_neuron_says_otherwise() -> None:
    neuron = Neuron().holding(slots=2)
    neuron.miss(is_certain=True)
    neuron.now_s += 3600
    neuron.answer(2, report(), start_id="other", whole=True, slots={("m", 1): 1})
    assert neuron.desk.slots_of("m", 1) == 1
    assert neuron.desk.trusted_until_s("m", 1) == neuron.now_s + TTL_S


def test_generation_without_a_fence_is_trusted_for_two_thirds_whatever_happens() -> None:
    neuron = Neuron(shared=["llamacpp"]).holding()
    assert neuron.desk.trusted_until_s("m", 1) == pytest.approx(neuron.now_s + TTL_S * 2 / 3)
    neuron.miss(is_certain=True)
    assert neuron.desk.trusted_until_s("m", 1) == pytest.approx(neuron.now_s + TTL_S * 2 / 3)


def test_as_long_as_nobody_knows_of_a_fence_there_is_none() -> None:
    neuron = Neuron()
    neuron.desk.discovered(
        Discovery(
            hostname="", os="", kernel="", harness_details=(HarnessDetail(name="llamacpp", kind="x", usable=True),)
        ),
        neuron.now_s,
    )
    fenced = neuron.holding().desk.trusted_until_s("m", 1)
    bare = Neuron()
    bare.desk._shared = None
    assert bare.holding().desk.trusted_until_s("m", 1) < fenced


def test_server_that_runs_by_itself_has_no_leases() -> None:
    neuron = Neuron()
    neuron.answer(5, report(generation=0, parallel=None), report("n", generation=0, parallel=7), whole=True)
    neuron.desk.endpoint_taken("m", 0, None, neuron.now_s)
    assert (neuron.desk.slots_of("m", 0), neuron.desk.slots_of("n", 0)) == (None, None)
    assert neuron.desk.trusted_until_s("m", 0) == inf
    assert neuron.post(use(generation=0, in_flight=1)).leases == ()
    assert list(neuron.desk.held()) == []


def test_engine_without_a_limit_has_no_slots_and_a_lease_all_the_same() -> None:
    neuron = Neuron()
    neuron.answer(5, report(parallel=None), whole=True)
    assert neuron.desk.slots_of("m", 1) == 0, "not asked where it is yet"
    neuron.desk.endpoint_taken("m", 1, None, neuron.now_s)
    assert neuron.desk.slots_of("m", 1) is None
    neuron.now_s += 1
    neuron.answer(6)
    assert neuron.desk.trusted_until_s("m", 1) == neuron.now_s + TTL_S


def test_place_that_was_named_makes_a_holder_which_says_so_at_once() -> None:
    neuron = Neuron()
    neuron.answer(5, report(), whole=True)
    assert neuron.desk.slots_of("m", 1) == 0
    neuron.desk.endpoint_taken("m", 1, 4, neuron.now_s)
    assert list(neuron.desk.held()) == [("m", 1)]
    assert neuron.desk.slots_of("m", 1) == 4
    assert neuron.desk.wants_post
    neuron.answer(6, slots={("m", 1): 4})
    neuron.desk.endpoint_taken("m", 1, 4, neuron.now_s)
    assert not neuron.desk.wants_post, "it is a holder already"


def test_place_asked_for_before_a_call_back_brings_no_slots_back() -> None:
    neuron = Neuron()
    neuron.answer(5, report(), whole=True)
    asked_s = neuron.now_s
    neuron.now_s += 1
    neuron.change(6, slots={("m", 1): 1})
    neuron.desk.endpoint_taken("m", 1, 4, asked_s)
    assert neuron.desk.slots_of("m", 1) == 1


def test_place_asked_for_in_an_earlier_life_brings_no_slots() -> None:
    neuron = Neuron()
    neuron.answer(5, report(), whole=True)
    asked_s = neuron.now_s
    neuron.now_s += 1
    neuron.answer(2, report(), start_id="other", whole=True)
    neuron.desk.endpoint_taken("m", 1, 4, asked_s)
    assert neuron.desk.slots_of("m", 1) == 0


def test_slots_that_an_earlier_life_told_and_nobody_used_are_nothing_to_go_by() -> None:
    neuron = Neuron()
    neuron.answer(5, report(), whole=True)
    neuron.change(6, slots={("m", 1): 2})
    neuron.now_s += 1
    neuron.change(2, report(), start_id="other", whole=True)
    neuron.desk.endpoint_taken("m", 1, 0, neuron.now_s)
    assert neuron.desk.slots_of("m", 1) == 0


def test_place_of_a_generation_that_is_over_is_not_held() -> None:
    neuron = Neuron().holding(generation=2)
    neuron.desk.endpoint_taken("m", 1, 4, neuron.now_s)
    assert list(neuron.desk.held()) == [("m", 2)]


def test_fewer_slots_are_acknowledged_at_once_and_more_are_not() -> None:
    neuron = Neuron().holding(slots=2)
    neuron.change(7, slots={("m", 1): 4})
    assert not neuron.desk.wants_post
    neuron.change(8, slots={("m", 1): 1})
    assert neuron.desk.slots_of("m", 1) == 1
    assert neuron.desk.wants_post
    assert neuron.post(use()).seen_event == 8


def test_slots_of_other_gateways_are_none_of_its_business() -> None:
    neuron = Neuron().holding(slots=2)
    neuron.change(7, slots={("m", 1): 0}, gateway="other")
    assert neuron.desk.slots_of("m", 1) == 2


def test_snapshot_that_tells_of_no_slots_takes_them() -> None:
    neuron = Neuron().holding(slots=2)
    neuron.answer(9, report(), whole=True)
    assert neuron.desk.slots_of("m", 1) == 0
    assert neuron.desk.wants_post


def test_drain_is_acknowledged_at_once_by_who_holds_it_only() -> None:
    neuron = Neuron().holding()
    neuron.change(7, report("n", "draining"))
    assert not neuron.desk.wants_post
    neuron.change(8, report(status="draining"))
    assert neuron.desk.wants_post
    neuron.answer(8)
    neuron.change(9, report())
    assert not neuron.desk.wants_post, "a drain that was given up needs no answer"


def test_generation_that_is_over_is_let_go_of() -> None:
    for last in (report(status="unloaded", generation=0), report(status="failed"), report(generation=2)):
        neuron = Neuron().holding()
        neuron.change(7, last)
        assert list(neuron.desk.held()) == [], last
    neuron = Neuron().holding()
    neuron.change(7, gone=["m"])
    assert list(neuron.desk.held()) == []


def test_late_word_of_an_earlier_generation_does_not_take_the_new_one() -> None:
    neuron = Neuron().holding()
    neuron.desk.endpoint_taken("m", 2, 4, neuron.now_s)
    neuron.change(7, report(status="failed", generation=1))
    assert list(neuron.desk.held()) == [("m", 2)]


@pytest.mark.parametrize("cause", ["turned_busy", "drained"])
def test_what_is_urgent_is_reported_at_once(cause: str) -> None:
    neuron = Neuron().holding()
    getattr(neuron.desk, cause)()
    assert neuron.desk.wants_post
    neuron.answer(6)
    assert not neuron.desk.wants_post


def test_want_of_slots_is_told_now_and_then() -> None:
    neuron = Neuron().holding()
    neuron.desk.contended(neuron.now_s)
    assert not neuron.desk.wants_post, "the last report was just now"
    neuron.now_s += 0.3
    neuron.desk.contended(neuron.now_s)
    assert neuron.desk.wants_post


def test_stale_report_is_made_anew_with_a_higher_number() -> None:
    neuron = Neuron()
    neuron.post()
    assert not neuron.refuse(known_seq=50)
    assert neuron.desk.wants_post
    assert neuron.post().seq == 51
    neuron.refuse(known_seq=51)
    assert not neuron.desk.wants_post, "it has come twice, and the first one was taken in"


def test_who_has_lost_its_name_to_another_goes_by_one_of_its_own_and_by_no_slots_of_the_other() -> None:
    neuron = Neuron().holding(slots=4)
    neuron.desk.process = "p1"
    neuron.post()
    assert not neuron.refuse(None, code="double_gateway"), "the node is well"
    assert "another gateway" in neuron.desk.trouble
    assert (neuron.desk.slots_of("m", 1), neuron.desk.wants_post) == (0, True)
    post = neuron.post(use(in_flight=2))
    assert (post.gateway_id, post.leases[0].slots, post.leases[0].in_flight) == (f"{GATEWAY}~p1", 0, 2)
    neuron.change(7, slots={("m", 1): 4})
    neuron.desk.endpoint_taken("m", 1, 4, neuron.now_s)
    assert neuron.desk.slots_of("m", 1) == 0, "that was said to the other one"
    neuron.answer(8, slots={("m", 1): 1}, post=post)
    assert neuron.desk.slots_of("m", 1) == 1


def test_double_under_the_same_name_is_no_reason_to_report_in_a_circle() -> None:
    neuron = Neuron()
    reports = 0
    while neuron.desk.wants_post or not reports:
        reports += 1
        neuron.refuse(known_seq=neuron.post().seq + 1)
    assert reports == 3


def test_other_refusal_is_a_miss() -> None:
    neuron = Neuron().holding()
    neuron.post()
    assert [neuron.refuse(None, "too_many_gateways") for _ in range(3)] == [False, False, True]
    assert neuron.desk.live.why == "no"


def test_miss_ends_what_was_urgent_so_that_the_dead_are_not_asked_in_a_circle() -> None:
    neuron = Neuron().holding()
    neuron.post()
    neuron.desk.turned_busy()
    neuron.miss()
    assert not neuron.desk.wants_post
    assert neuron.post().seq == 4, "and another report may go out"


def test_who_leaves_says_so_though_a_report_is_under_way_and_then_no_more() -> None:
    neuron = Neuron().holding()
    neuron.post()
    last = neuron.post(use(in_flight=1), leaving=True)
    assert last.leaving
    neuron.desk.turned_busy()
    assert neuron.desk.post((), neuron.now_s) is None
    assert not neuron.desk.wants_post


def test_report_of_too_many_instances_has_those_in_use() -> None:
    neuron = Neuron()
    post = neuron.post(*(use(f"m{number}", in_flight=number % 2) for number in range(400)))
    assert len(post.leases) == 256
    assert sum(lease.in_flight for lease in post.leases) == 200


def test_discovery_is_asked_for_once_a_minute_and_once_at_a_time() -> None:
    neuron = Neuron()
    desk = neuron.desk
    assert not desk.asks_discovery(neuron.now_s + 59)
    assert desk.asks_discovery(neuron.now_s + 60)
    assert not desk.asks_discovery(neuron.now_s + 61, is_wanted=True), "one is under way"
    desk.discovered(Discovery(hostname="", os="", kernel=""), neuron.now_s + 62)
    assert desk.asks_discovery(neuron.now_s + 63, is_wanted=True)
