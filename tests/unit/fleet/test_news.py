"""The dispatcher and what goes wrong or changes: failing targets, lost nodes, other catalogues."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report, fetches, loads

from cortex.contract import error
from cortex.fleet.effect import FetchEndpoint, StartLoad
from cortex.fleet.event import CatalogueChanged, NodeSampled


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["a", "b"], [a_profile()])


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
    fleet.suspect(target)
    for _ in range(3):
        fleet.fetched("a")
        began_s = fleet.now_s
        ticket = fleet.arrive()
        while ticket not in fleet.answers:
            fleet.tick(0.05)
        rests.append(round(fleet.now_s - began_s, 2))
        fleet.suspect(target)
        fleet.finish(ticket)
    assert rests == pytest.approx([0.25, 0.5, 1.0], abs=0.06)


def test_burst_of_failures_counts_once(fleet: Fleet) -> None:
    target = fleet.ready("a")
    assert len([effect for _ in range(50) for effect in fleet.suspect(target)]) == 1
    fleet.fetched("a")
    fleet.tick(0.25)
    assert fleet.grant(fleet.arrive()).target is target


def test_a_load_that_failed_is_forgiven_once_the_model_serves_there_whoever_has_loaded_it() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.arrive()
    fleet.load_failed("a")
    fleet.ready("a")
    fleet.sample("a")
    assert loads(fleet.arrive_for()) == ["a"]


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


def test_target_that_answered_is_granted_again_as_soon_as_its_neuron_vouches_for_it(fleet: Fleet) -> None:
    """An engine without some path says 404 as a stale fence does; it is well, and others want to be served."""
    target = fleet.ready("a")
    for _ in range(9):
        fleet.suspect(target, "gone")
        ticket = fleet.arrive()
        fleet.fetched("a")
        assert fleet.grant(ticket).target is target


def test_same_generation_under_another_address_is_another_target(fleet: Fleet) -> None:
    target = fleet.ready("a")
    fleet.suspect(target, "gone")
    fleet.fetched("a", generation=1, url="http://elsewhere")
    granted = fleet.grant(fleet.arrive()).target
    assert granted is not target
    assert granted.url == "http://elsewhere"


def test_server_that_stands_in_for_a_silent_one_is_granted_though_no_request_has_failed(fleet: Fleet) -> None:
    fleet.sample("a", a_report(generation=0), event=1)
    fleet.fetched("a", generation=0, url="http://hangs")
    assert fetches(fleet.sample("a", a_report(generation=0), event=1)) == [], "nothing has changed"
    assert fetches(fleet.sample("a", a_report(generation=0), event=2)) == ["a"]
    assert fleet.grant(fleet.arrive()).target.url == "http://hangs"
    fleet.fetched("a", generation=0, url="http://stands-in")
    assert fleet.grant(fleet.arrive()).target.url == "http://stands-in"
    assert fleet.counts() == {("m", "a"): 2}


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


def test_no_healthy_node_is_said_before_unknown_model_also_while_another_model_is_served() -> None:
    fleet = Fleet(["a"], [a_profile("m")])
    fleet.ready("a")
    fleet.lost("a")
    assert fleet.grant(fleet.arrive("m"))
    assert isinstance(fleet.refusal(fleet.arrive("whatever")).error, error.NoHealthyNode)


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


def test_load_that_ends_does_not_undo_a_drain_that_was_heard_of() -> None:
    """Its place may have been named before: who has acknowledged a drain grants nothing until that is undone."""
    fleet = Fleet(["a"], [a_profile()])
    target = fleet.ready("a")
    fleet.now_s += 10
    fleet.sample("a", a_report(status="draining"))
    ticket = fleet.arrive()
    fleet.loaded("a")
    assert ticket not in fleet.answers
    fleet.sample("a", a_report())
    assert fleet.grant(ticket).target is target


def test_load_of_ours_that_drains_before_it_is_told_to_have_ended_is_not_granted() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.discover("a")
    fleet.sample("a")
    ticket = fleet.arrive()
    fleet.sample("a", a_report(status="draining"))
    fleet.loaded("a")
    assert ticket not in fleet.answers
    fleet.sample("a", a_report())
    assert fleet.grant(ticket).target.generation == 1


def test_load_of_a_newer_generation_is_served_though_the_last_one_drained() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.ready("a")
    fleet.now_s += 10
    fleet.sample("a", a_report(status="draining"))
    ticket = fleet.arrive()
    fleet.loaded("a", generation=2)
    assert fleet.grant(ticket).target.generation == 2


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


def test_models_that_come_and_go_before_they_could_be_used_leave_nothing_behind() -> None:
    fleet = Fleet(["a"])
    for number in range(20):
        fleet.sample("a", a_report(f"m{number}"))
    fleet.sample("a")
    fleet.sample("a")
    news = fleet.dispatcher._on[NodeSampled].__self__  # type: ignore[attr-defined]
    assert not any(news._unready.values())
    assert not fleet.dispatcher.view(fleet.now_s).models
