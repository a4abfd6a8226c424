"""The dispatcher as a transcript: what happened, what is to be done."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report, fetches, loads

from cortex.contract import error
from cortex.contract.profile import Profile
from cortex.fleet.effect import FetchEndpoint, Grant, Refuse, StartLoad
from cortex.fleet.event import CatalogueChanged


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["a", "b"], [a_profile()])


# Granting


def test_request_for_a_ready_replica_is_granted_at_once(fleet: Fleet) -> None:
    target = fleet.ready("a")
    (grant,) = fleet.arrive_for("m")
    assert isinstance(grant, Grant)
    assert grant.target is target
    assert not grant.is_cold_start


def test_alias_leads_to_the_same_replica() -> None:
    fleet = Fleet(["a"], [a_profile(aliases=("default", "gpt-4"))])
    target = fleet.ready("a")
    assert fleet.grant(fleet.arrive("gpt-4")).target is target


def test_finished_request_brings_the_count_back_to_zero(fleet: Fleet) -> None:
    fleet.ready("a")
    tickets = [fleet.arrive() for _ in range(3)]
    assert fleet.counts() == {("m", "a"): 3}
    for ticket in tickets:
        fleet.finish(ticket)
    assert fleet.is_at_rest()


def test_requests_go_to_the_replica_with_fewest_in_flight(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.ready("b")
    by_node: dict[str, list[int]] = {"a": [], "b": []}
    for _ in range(6):
        ticket = fleet.arrive()
        by_node[fleet.grant(ticket).target.node].append(ticket)
    assert [len(tickets) for tickets in by_node.values()] == [3, 3]
    for ticket in by_node["b"]:
        fleet.finish(ticket)
    assert {fleet.grant(fleet.arrive()).target.node for _ in range(3)} == {"b"}


def test_ties_between_idle_replicas_take_turns(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.ready("b")
    nodes = []
    for _ in range(4):
        ticket = fleet.arrive()
        nodes.append(fleet.grant(ticket).target.node)
        fleet.finish(ticket)
    assert sorted(nodes) == ["a", "a", "b", "b"]


def test_more_requests_than_slots_wait_in_order_of_arrival(fleet: Fleet) -> None:
    fleet.ready("a", parallel=1)
    first, second, third = fleet.arrive(), fleet.arrive(), fleet.arrive()
    assert fleet.dispatcher.waiting() == 2
    fleet.finish(first)
    assert fleet.grant(second).target.node == "a"
    assert third not in fleet.answers
    fleet.finish(second)
    assert not fleet.grant(third).is_cold_start
    fleet.finish(third)
    assert fleet.is_at_rest()


def test_cancelled_waiter_is_not_granted_and_leaves_no_trace(fleet: Fleet) -> None:
    fleet.ready("a", parallel=1)
    running, leaver, patient = fleet.arrive(), fleet.arrive(), fleet.arrive()
    fleet.finish(leaver)
    fleet.finish(running)
    assert leaver not in fleet.answers
    assert fleet.grant(patient)
    fleet.finish(patient)
    assert fleet.is_at_rest()


def test_finishing_a_ticket_twice_or_an_unknown_one_changes_nothing(fleet: Fleet) -> None:
    fleet.ready("a")
    ticket = fleet.arrive()
    assert fleet.finish(ticket) == fleet.finish(ticket) == fleet.finish(4711) == []
    assert fleet.is_at_rest()


def test_last_accessed_updated_on_request(fleet: Fleet) -> None:
    fleet.ready("a")
    fleet.now_s += 50
    ticket = fleet.arrive()

    def last_used_s() -> float:
        return fleet.dispatcher.view(fleet.now_s).models[0].replicas[0].last_used_s

    assert last_used_s() == fleet.now_s
    fleet.now_s += 30
    fleet.finish(ticket)
    assert last_used_s() == fleet.now_s


# Loading


def test_first_request_for_an_unloaded_model_starts_a_load(fleet: Fleet) -> None:
    (effect,) = fleet.arrive_for("m")
    assert isinstance(effect, StartLoad)
    assert (effect.request.model_id, effect.request.harness, effect.request.devices) == ("m", "llamacpp", (0,))


def test_fifty_first_requests_cause_exactly_one_load_and_one_leaver_does_not_stop_it(fleet: Fleet) -> None:
    started = [node for _ in range(50) for node in loads(fleet.arrive_for("m"))]
    assert len(started) == 1
    assert fleet.finish(7) == []
    assert fleet.dispatcher.loads_under_way() == [("m", started[0])]
    fleet.loaded(started[0])
    assert sorted(fleet.answers) == [ticket for ticket in range(1, 51) if ticket != 7]
    assert all(fleet.grant(ticket).is_cold_start for ticket in fleet.answers)


def test_load_goes_on_when_all_waiters_leave_and_serves_the_next(fleet: Fleet) -> None:
    (load,) = fleet.arrive_for("m")
    assert isinstance(load, StartLoad)
    fleet.finish(1)
    assert fleet.loaded(load.node) == []
    assert not fleet.grant(fleet.arrive()).is_cold_start


def test_loaded_waiters_are_granted_up_to_the_slots_only() -> None:
    fleet = Fleet(["a"], [a_profile()])
    tickets = [fleet.arrive() for _ in range(3)]
    fleet.loaded("a", parallel=2)
    assert [ticket in fleet.answers for ticket in tickets] == [True, True, False]


def test_failed_load_is_tried_once_on_a_second_node_and_then_refused_with_the_engines_cause() -> None:
    fleet = Fleet(["a", "b", "c"], [a_profile()])
    (first,) = loads(fleet.arrive_for("m"))
    (second,) = loads(fleet.load_failed(first))
    assert first != second
    assert loads(fleet.load_failed(second, message="CUDA error: out of memory")) == []
    refusal = fleet.refusal(1)
    assert isinstance(refusal.error, error.LoadFailed)
    assert "CUDA error: out of memory" in refusal.error.message
    assert refusal.error.details["cause"] == "oom"
    assert refusal.error.details["log_tail"] == ["last words"]
    assert (refusal.model, refusal.node) == ("m", second)
    assert fleet.is_at_rest()


def test_failed_pair_is_held_off_and_tried_again_after_the_back_off() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.arrive()
    fleet.load_failed("a")
    assert isinstance(fleet.refusal(fleet.arrive()).error, error.LoadFailed)
    fleet.now_s += 4.9
    assert isinstance(fleet.refusal(fleet.arrive()).error, error.LoadFailed)
    fleet.now_s += 0.2
    assert loads(fleet.arrive_for("m")) == ["a"]
    fleet.load_failed("a")
    fleet.now_s += 6
    assert isinstance(fleet.refusal(fleet.arrive()).error, error.LoadFailed), "the second back-off is longer"
    fleet.now_s += 5
    assert loads(fleet.arrive_for("m")) == ["a"]


def test_failure_of_one_model_does_not_hold_off_another() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    fleet.arrive("m")
    fleet.load_failed("a", "m")
    assert loads(fleet.arrive_for("n")) == ["a"]


def test_request_that_waited_for_longer_than_the_load_time_out_is_told_that_it_is_loading() -> None:
    fleet = Fleet(["a"], [a_profile()], load_timeout_s=60)
    ticket = fleet.arrive()
    fleet.tick(59)
    assert ticket not in fleet.answers
    fleet.tick(1)
    refused = fleet.refusal(ticket).error
    assert isinstance(refused, error.ModelLoading)
    assert refused.retryable
    assert refused.details == {"model": "m", "state": "loading", "node": "a", "waited_s": 60.0}
    assert fleet.dispatcher.loads_under_way() == [("m", "a")], "the load itself goes on"


def test_request_that_waited_too_long_for_a_slot_is_told_so() -> None:
    fleet = Fleet(["a"], [a_profile()], load_timeout_s=60)
    fleet.ready("a", parallel=1)
    fleet.arrive()
    late = fleet.arrive()
    fleet.tick(60)
    assert fleet.refusal(late).error.code == "no_capacity"


@pytest.mark.parametrize("node", ["a", "b"])
def test_model_that_another_party_is_loading_is_joined_there(fleet: Fleet, node: str) -> None:
    fleet.sample(node, a_report(status="loading"))
    assert loads(fleet.arrive_for("m")) == [node]


def test_load_of_a_profile_carries_all_that_the_catalogue_knows() -> None:
    profile = Profile(
        id="m", harness="llamacpp", quant="Q4_K_M", vram_mb=19_000, min_devices=2, source="hf:x/y", args=("--flash",),
        context=8192, parallel=4, mmproj="p.gguf", idle_unload_s=60.0, min_residency_s=5.0, pinned_on=("a",),
    )  # fmt: skip
    fleet = Fleet(["a"], [profile], vram_mb=(16_000, 16_000))
    (load,) = fleet.arrive_for("m")
    assert isinstance(load, StartLoad)
    sent = load.request
    assert (sent.quant, sent.vram_mb, sent.source, sent.args) == ("Q4_K_M", 19_000, "hf:x/y", ("--flash",))
    assert (sent.context, sent.parallel, sent.mmproj) == (8192, 4, "p.gguf")
    assert (sent.idle_unload_s, sent.min_residency_s, sent.pinned) == (60.0, 5.0, True)
    assert (sent.devices, sent.tensor_parallel) == ((0, 1), 2)


def test_a_profile_of_two_devices_only_goes_to_a_node_with_two() -> None:
    fleet = Fleet(["benjy", "quadbrat", "beast"], [a_profile(min_devices=2, vram_mb=19_000, min_device_vram_mb=10_000)])
    fleet.discover("beast", vram_mb=(32_000, 32_000))
    assert loads(fleet.arrive_for("m")) == ["beast"]
    assert loads(fleet.load_failed("beast")) == [], "no other node is tried"


# Samples


def test_loaded_model_of_unknown_generation_has_its_endpoint_asked_for_once(fleet: Fleet) -> None:
    assert fleet.sample("a", a_report()) == [FetchEndpoint("a", "m")]
    fleet.now_s += 1
    assert fleet.sample("a", a_report()) == []


def test_request_waits_for_the_endpoint_of_a_loaded_model_without_a_cold_start(fleet: Fleet) -> None:
    fleet.sample("a", a_report())
    assert fleet.arrive_for("m") == []
    fleet.fetched("a")
    assert not fleet.grant(1).is_cold_start


def test_model_gone_from_a_sample_is_not_granted_while_its_requests_run_on() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a")
    running = fleet.arrive()
    fleet.now_s += 10
    fleet.sample("a")
    assert fleet.counts() == {("m", "a"): 1}
    assert loads(fleet.arrive_for("m")) == ["a"]
    fleet.loaded("a", generation=2)
    fleet.finish(running)
    fleet.finish(2)
    assert fleet.is_at_rest()


def test_draining_model_is_not_granted_until_the_drain_is_undone() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    target = fleet.ready("a")
    fleet.ready("b")
    fleet.now_s += 10
    fleet.sample("a", a_report(status="draining"))
    assert {fleet.grant(fleet.arrive()).target.node for _ in range(4)} == {"b"}
    fleet.now_s += 10
    assert fleet.sample("a", a_report(status="loaded")) == [], "the same generation needs no new endpoint"
    assert fleet.grant(fleet.arrive()).target is target


def test_sample_asked_before_the_load_ended_does_not_take_the_replica_away() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.arrive()
    asked_s = fleet.now_s
    fleet.now_s += 5
    fleet.loaded("a")
    fleet.sample("a", a_report(status="loading"), asked_s=asked_s)
    assert fleet.grant(fleet.arrive())


def test_sample_of_an_older_event_is_dropped_whole(fleet: Fleet) -> None:
    fleet.sample("a", a_report(), start_id="s", event=7)
    fleet.fetched("a")
    fleet.now_s += 1
    fleet.sample("a", start_id="s", event=6)
    assert fleet.grant(fleet.arrive())


def test_new_generation_gets_a_target_of_its_own(fleet: Fleet) -> None:
    first = fleet.ready("a")
    second = fleet.ready("a", generation=2)
    assert first is not second
    assert fleet.grant(fleet.arrive()).target is second


def test_the_same_endpoint_told_again_keeps_its_target(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.fetched("a")
    assert fleet.grant(fleet.arrive()).target is target


def test_restarted_neuron_is_asked_for_the_endpoint_again_while_requests_run_on(fleet: Fleet) -> None:
    fleet.sample("a", a_report(), start_id="one")
    fleet.fetched("a")
    fleet.now_s += 10
    assert fetches(fleet.sample("a", a_report(), start_id="two")) == ["a"]
    assert fleet.grant(fleet.arrive())


def test_late_endpoint_of_an_older_generation_is_not_used(fleet: Fleet) -> None:
    fleet.sample("a", a_report(generation=2))
    fleet.fetched("a", generation=1)
    fleet.arrive()
    assert fleet.answers == {}


# Failing targets


def test_suspected_target_is_not_granted_before_its_neuron_vouches_for_it(fleet: Fleet) -> None:
    target = fleet.ready("a")
    assert fleet.suspect(target) == [FetchEndpoint("a", "m")]
    ticket = fleet.arrive()
    assert ticket not in fleet.answers
    fleet.fetched("a")
    assert ticket not in fleet.answers, "vouched for, but resting"
    fleet.tick(0.25)
    assert fleet.grant(ticket).target is target
    assert not fleet.grant(ticket).is_cold_start


def test_target_that_keeps_failing_rests_longer_each_time(fleet: Fleet) -> None:
    target = fleet.ready("a")
    rests = []
    for _ in range(3):
        fleet.suspect(target)
        fleet.fetched("a")
        began_s = fleet.now_s
        ticket = fleet.arrive()
        while ticket not in fleet.answers:
            fleet.tick(0.05)
        rests.append(round(fleet.now_s - began_s, 1))
    assert rests == sorted(rests)
    assert rests[2] >= 3 * rests[0]


def test_burst_of_failures_counts_once(fleet: Fleet) -> None:
    target = fleet.ready("a")
    assert len([effect for _ in range(50) for effect in fleet.suspect(target)]) == 1
    fleet.fetched("a")
    fleet.tick(0.25)
    assert fleet.grant(fleet.arrive()).target is target


def test_answer_asked_for_before_the_failure_proves_nothing(fleet: Fleet) -> None:
    fleet.sample("a", a_report(), start_id="one")
    fleet.fetched("a")
    target = fleet.grant(fleet.arrive()).target
    fleet.now_s += 10
    fleet.sample("a", a_report(), start_id="two")
    asked_s = fleet.now_s
    fleet.now_s += 1
    assert fleet.suspect(target) == [], "already asking"
    assert fetches(fleet.fetched("a", asked_s=asked_s)) == ["a"]
    fleet.fetched("a")
    fleet.tick(1)
    assert fleet.grant(fleet.arrive()).target is target


def test_new_generation_behind_a_suspected_target_is_granted_without_rest(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.suspect(target, "gone")
    ticket = fleet.arrive(avoid=(target,))
    fleet.fetched("a", generation=2)
    assert fleet.grant(ticket).target.generation == 2


def test_same_generation_under_another_address_is_another_target(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.suspect(target, "gone")
    fleet.fetched("a", generation=1, url="http://elsewhere")
    granted = fleet.grant(fleet.arrive()).target
    assert granted is not target
    assert granted.url == "http://elsewhere"


def test_avoided_target_is_never_granted_to_who_avoids_it(fleet: Fleet) -> None:
    first = fleet.ready("a")
    second = fleet.ready("b")
    assert {fleet.grant(fleet.arrive(avoid=(first,))).target.node for _ in range(4)} == {"b"}
    refused = fleet.refusal(fleet.arrive(avoid=(first, second))).error
    assert isinstance(refused, error.UpstreamUnreachable)


def test_who_avoids_the_only_replica_gets_another_one_loaded_elsewhere(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.suspect(target)
    ticket = fleet.arrive(avoid=(target,))
    assert loads(fleet.fetched("a")) == ["b"]
    fleet.loaded("b")
    assert fleet.grant(ticket).target.node == "b"


def test_no_replica_is_added_beyond_the_most_that_the_profile_allows() -> None:
    fleet = Fleet(["a", "b"], [a_profile(max_replicas=1)])
    target = fleet.ready("a")
    assert isinstance(fleet.refusal(fleet.arrive(avoid=(target,))).error, error.UpstreamUnreachable)


def test_suspected_target_whose_neuron_is_silent_too_is_replaced_on_another_node(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.suspect(target)
    ticket = fleet.arrive()
    fleet.lost("a")
    assert loads(fleet.fetch_failed("a")) == ["b"]
    fleet.loaded("b")
    assert fleet.grant(ticket).target.node == "b"


def test_suspicion_of_a_target_that_was_replaced_is_ignored(fleet: Fleet) -> None:
    old = fleet.ready("a")
    fleet.ready("a", generation=2)
    assert fleet.suspect(old) == []
    assert fleet.grant(fleet.arrive()).target.generation == 2


# Nodes


def test_unhealthy_node_keeps_serving_what_is_loaded_but_gets_no_new_load() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    target = fleet.ready("a")
    fleet.lost("a")
    assert fleet.grant(fleet.arrive("m")).target is target
    assert isinstance(fleet.refusal(fleet.arrive("n")).error, error.NoHealthyNode)


def test_no_healthy_node_is_said_before_unknown_model() -> None:
    fleet = Fleet(["a"], [], is_up=False)
    fleet.lost("a", "connection refused")
    refused = fleet.refusal(fleet.arrive("whatever")).error
    assert isinstance(refused, error.NoHealthyNode)
    assert "connection refused" in refused.message


def test_unknown_model_is_refused_with_the_names_nearest_to_it() -> None:
    fleet = Fleet(["a"], [a_profile("Qwen/Qwen3-VL-8B"), a_profile("other")])
    refused = fleet.refusal(fleet.arrive("qwen/qwen3-vl-8b"))
    assert isinstance(refused.error, error.ModelNotFound)
    assert "did you mean 'Qwen/Qwen3-VL-8B'" in refused.error.message
    assert refused.model == ""


def test_without_any_neuron_configured_the_refusal_says_how_to_add_one() -> None:
    fleet = Fleet([], [a_profile()])
    refused = fleet.refusal(fleet.arrive("m")).error
    assert isinstance(refused, error.NoHealthyNode)
    assert "[[neurons]]" in refused.message


def test_model_that_no_node_can_ever_hold_is_not_found_and_each_node_says_why() -> None:
    fleet = Fleet(["a", "b"], [a_profile(min_devices=2)])
    refused = fleet.refusal(fleet.arrive("m"))
    assert isinstance(refused.error, error.ModelNotFound)
    assert "a: has 1 device, the model needs 2" in refused.error.message
    assert "b: has 1 device, the model needs 2" in refused.error.message
    assert refused.model == "m"


def test_model_that_only_an_absent_node_can_hold_is_refused_for_now() -> None:
    fleet = Fleet(["a", "b"], [a_profile(min_devices=2)])
    fleet.discover("b", vram_mb=(24_000, 24_000))
    fleet.lost("b")
    refused = fleet.refusal(fleet.arrive("m")).error
    assert isinstance(refused, error.NoHealthyNode)
    assert refused.retryable


def test_model_is_not_called_impossible_while_a_node_was_never_discovered() -> None:
    fleet = Fleet(["a", "b"], [a_profile(min_devices=2)], is_up=False)
    fleet.discover("a")
    fleet.sample("a")
    fleet.lost("b")
    assert isinstance(fleet.refusal(fleet.arrive("m")).error, error.NoHealthyNode)


def test_requests_wait_for_the_first_round_of_polls() -> None:
    fleet = Fleet(["a", "b"], [a_profile()], is_up=False)
    known, unknown = fleet.arrive("m"), fleet.arrive("found")
    fleet.discover("a")
    fleet.sample("a")
    assert fleet.answers == {}, "b may have it already"
    fleet.discover("b")
    fleet.sample("b", a_report(), a_report("found"))
    fleet.fetched("b", "m")
    fleet.fetched("b", "found")
    assert fleet.grant(known).target.node == "b"
    assert fleet.grant(unknown).target.node == "b"


def test_silent_node_holds_up_the_start_for_a_bounded_time_only() -> None:
    fleet = Fleet(["a", "b"], [a_profile()], is_up=False)
    fleet.discover("a")
    fleet.sample("a")
    unknown = fleet.arrive("unknown")
    fleet.arrive("m")
    assert loads(fleet.tick(4.9)) == []
    assert loads(fleet.tick(0.2)) == ["a"]
    assert isinstance(fleet.refusal(unknown).error, error.ModelNotFound)


# Models outside the catalogue, and catalogue changes


def test_model_found_on_a_node_is_served_without_a_catalogue() -> None:
    fleet = Fleet(["a"])
    fleet.ready("a", "found")
    assert fleet.grant(fleet.arrive("found")).target.model == "found"


def test_unloaded_model_found_on_a_node_is_loaded_there_with_the_neurons_own_choices() -> None:
    fleet = Fleet(["a", "b"])
    fleet.sample("b", a_report("found", "unloaded"))
    (load,) = fleet.arrive_for("found")
    assert isinstance(load, StartLoad)
    assert load.node == "b"
    assert load.request.devices is None


def test_found_model_that_is_gone_is_unknown_again() -> None:
    fleet = Fleet(["a"])
    fleet.ready("a", "found")
    fleet.now_s += 10
    fleet.sample("a")
    assert isinstance(fleet.refusal(fleet.arrive("found")).error, error.ModelNotFound)
    assert fleet.dispatcher.view(fleet.now_s).models == ()


def test_found_model_that_vanishes_while_somebody_waits_is_refused() -> None:
    fleet = Fleet(["a"])
    fleet.sample("a", a_report("found"))
    ticket = fleet.arrive("found")
    fleet.now_s += 10
    fleet.sample("a")
    assert isinstance(fleet.refusal(ticket).error, error.ModelNotFound)


def test_catalogue_id_wins_over_an_alias_of_another_model() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n", aliases=("m",))])
    fleet.ready("a", "m")
    assert fleet.grant(fleet.arrive("m")).target.model == "m"


def test_changed_catalogue_takes_effect_for_new_requests() -> None:
    fleet = Fleet(["a"], [a_profile("m")])
    target = fleet.ready("a", "m")
    fleet.tell(CatalogueChanged((a_profile("n"),)))
    assert fleet.grant(fleet.arrive("m")).target is target, "still loaded, so still served"
    assert loads(fleet.arrive_for("n")) == ["a"]


def test_load_that_ends_while_the_model_drains_brings_it_back() -> None:
    fleet = Fleet(["a"], [a_profile()])
    target = fleet.ready("a")
    fleet.now_s += 10
    fleet.sample("a", a_report(status="draining"))
    ticket = fleet.arrive()
    fleet.loaded("a")
    assert fleet.grant(ticket).target is target


def test_load_that_proves_nothing_about_a_suspected_target_has_it_asked_for_again() -> None:
    fleet = Fleet(["a"], [a_profile()])
    target = fleet.ready("a")
    fleet.suspect(target)
    fleet.fetch_failed("a")
    fleet.now_s -= 1
    assert fetches(fleet.loaded("a")) == ["a"]


def test_all_loads_under_way_are_known() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    fleet.arrive("m")
    fleet.arrive("n")
    assert fleet.dispatcher.loads_under_way() == [("m", "a"), ("n", "a")]
    assert fleet.dispatcher.are_all_nodes_tried()


# Hygiene


def test_a_thousand_cancelled_waiters_leave_nothing_behind() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a", parallel=1)
    running = fleet.arrive()
    waiters = [fleet.arrive() for _ in range(1000)]
    for ticket in waiters:
        fleet.finish(ticket)
    fleet.finish(running)
    assert fleet.is_at_rest()
    assert list(fleet.answers) == [running]


def test_waiters_for_a_model_that_is_refused_do_not_touch_waiters_of_another() -> None:
    fleet = Fleet(["a"], [a_profile("m"), a_profile("n")])
    fleet.arrive("m")
    other = fleet.arrive("n")
    fleet.load_failed("a", "m")
    assert isinstance(fleet.answers[1][0], Refuse)
    assert other not in fleet.answers
    fleet.loaded("a", "n")
    assert fleet.grant(other)


def test_unknown_nodes_and_models_in_news_are_ignored() -> None:
    fleet = Fleet(["a"], [a_profile()])
    assert fleet.sample("stranger", a_report()) == []
    assert fleet.fetched("a", "nobody") == []
    assert fleet.fetch_failed("a", "nobody") == []
    assert fleet.load_failed("a", "nobody") == []
    assert fleet.lost("stranger") == []
    assert fleet.dispatcher.canonical_id("m") == "m"
    assert fleet.dispatcher.canonical_id("nobody") == ""
