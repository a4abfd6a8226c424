"""The dispatcher and loads: who starts one, who joins, what becomes of those who wait."""

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report, an_endpoint, loads

from cortex.contract import error
from cortex.contract.profile import Profile
from cortex.fleet.effect import StartLoad
from cortex.fleet.event import LoadSucceeded


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["a", "b"], [a_profile()])


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


def test_after_an_engine_was_killed_the_same_node_is_tried_once_more_for_those_who_have_the_patience() -> None:
    fleet = Fleet(["a"], [a_profile()], load_timeout_s=60)
    patient, hasty = fleet.arrive(), fleet.arrive(patience_s=4)
    assert loads(fleet.load_failed("a", code="engine_killed", message="it was killed by SIGKILL")) == []
    assert "SIGKILL" in fleet.refusal(hasty).error.message, "the back-off is longer than its patience"
    assert patient not in fleet.answers
    assert loads(fleet.tick(4.9)) == []
    assert loads(fleet.tick(0.2)) == ["a"]
    assert loads(fleet.load_failed("a", code="engine_killed", message="it was killed again")) == []
    refused = fleet.refusal(patient).error
    assert isinstance(refused, error.LoadFailed)
    assert "killed again" in refused.message
    assert fleet.is_at_rest()


def test_after_an_engine_was_killed_another_node_is_tried_at_once_and_the_first_once_more_after_it() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    (first,) = loads(fleet.arrive_for("m"))
    (second,) = loads(fleet.load_failed(first, code="engine_killed"))
    assert first != second
    assert loads(fleet.load_failed(second, code="engine_killed")) == []
    assert loads(fleet.tick(5.1)) == [first]
    fleet.loaded(first)
    assert fleet.grant(1).target.node == first
    assert fleet.dispatcher.loads_under_way() == []


def test_who_comes_after_an_accident_that_nobody_waited_out_is_told_of_it_at_once() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.finish(fleet.arrive())
    fleet.load_failed("a", code="load_lost")
    assert isinstance(fleet.refusal(fleet.arrive()).error, error.LoadFailed)


def test_load_that_somebody_calls_off_is_no_failure_and_begins_again_for_who_waits() -> None:
    fleet = Fleet(["a"], [a_profile()])
    waiting = fleet.arrive()
    for _ in range(5):
        assert loads(fleet.load_failed("a", code="unloaded", message="it was unloaded")) == ["a"]
    fleet.loaded("a")
    assert fleet.grant(waiting).target.node == "a"


def test_load_that_was_called_off_and_that_nobody_waits_for_is_over_and_holds_nothing_up() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.finish(fleet.arrive())
    assert loads(fleet.load_failed("a", code="unloaded", message="it was unloaded")) == []
    assert loads(fleet.arrive_for("m")) == ["a"]


def test_a_neuron_that_is_stopping_is_passed_over_and_then_waited_for() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    (first,) = loads(fleet.arrive_for("m"))
    (second,) = loads(fleet.load_failed(first, code="shutting_down", message="it is stopping"))
    assert first != second
    assert loads(fleet.load_failed(second, code="shutting_down", message="it is stopping")) == []
    assert not fleet.answers
    assert len(loads(fleet.tick(1.1))) == 1


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
    assert refused.details == {"model": "m", "state": "starting", "node": "a", "waited_s": 60.0}
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
        images_workflow="/srv/portrait.json",
    )  # fmt: skip
    fleet = Fleet(["a"], [profile], vram_mb=(16_000, 16_000))
    (load,) = fleet.arrive_for("m")
    assert isinstance(load, StartLoad)
    sent = load.request
    assert (sent.quant, sent.vram_mb, sent.source, sent.args) == ("Q4_K_M", 19_000, "hf:x/y", ("--flash",))
    assert (sent.context, sent.parallel, sent.mmproj) == (8192, 4, "p.gguf")
    assert sent.images_workflow == "/srv/portrait.json"
    assert (sent.idle_unload_s, sent.min_residency_s, sent.pinned) == (60.0, 5.0, True)
    assert (sent.devices, sent.tensor_parallel) == ((0, 1), 2)


def test_a_profile_of_two_devices_only_goes_to_a_node_with_two() -> None:
    fleet = Fleet(["benjy", "quadbrat", "beast"], [a_profile(min_devices=2, vram_mb=19_000, min_device_vram_mb=10_000)])
    fleet.discover("beast", vram_mb=(32_000, 32_000))
    assert loads(fleet.arrive_for("m")) == ["beast"]
    assert loads(fleet.load_failed("beast")) == [], "no other node is tried"


def test_what_was_seen_of_a_finished_load_is_on_record_before_the_next_sample(fleet: Fleet) -> None:
    node = loads(fleet.arrive_for("m"))[0]
    report = a_report("m", devices=(0,), vram_used_mb=900)
    endpoint = an_endpoint()
    fleet.tell(LoadSucceeded(node=node, model="m", endpoint=endpoint, asked_s=fleet.now_s, report=report))
    (view,) = (view for view in fleet.dispatcher.view(fleet.now_s).nodes if view.name == node)
    assert view.report_of("m") == report
