"""The dispatcher and room: who is asked to go for whom, who waits for it, and who is told that there is none."""

import msgspec
import pytest
from tests.unit.fleet.builder import Fleet, a_health, a_profile, a_report, loads

from cortex.contract import error
from cortex.contract.instance import InstanceReport, Victim
from cortex.fleet.effect import Effect, StartLoad
from cortex.fleet.event import LoadDeferred, LoadFailed, LoadWanted, NodeSampled, RequestArrived
from cortex.fleet.load_choice import STRANGERS_S

BIG_MB = 20_000


def big(model: str, **keys: object) -> InstanceReport:
    return a_report(model, declared_mb=BIG_MB, devices=(0,), **keys)


def the_load(effects: list[Effect]) -> StartLoad:
    (load,) = [effect for effect in effects if isinstance(effect, StartLoad)]
    return load


def a_full_fleet(*profiles: object, nodes: tuple[str, ...] = ("a",), **keys: object) -> Fleet:
    """Every node is full of one big idle model, ``old-<node>``."""
    fleet = Fleet(nodes, [a_profile("m", vram_mb=BIG_MB), *profiles])  # type: ignore[list-item]
    fleet.now_s += 10
    for node in nodes:
        fleet.sample(node, big(f"old-{node}", idle_s=500.0, **keys), start_id="s", event=7)
    return fleet


def refused(
    fleet: Fleet, code: str, retry_in_s: float | None = None, node: str = "a", model: str = "m"
) -> list[Effect]:
    return fleet.tell(LoadFailed(node=node, model=model, code=code, message=code, retry_in_s=retry_in_s))


def test_load_names_the_victims_that_it_takes_and_what_it_was_planned_by() -> None:
    load = the_load(a_full_fleet().arrive_for("m"))
    assert load.request.evict == (Victim(model_id="old-a", generation=1),)
    assert load.request.basis_event == 7


def test_load_into_free_memory_names_nobody() -> None:
    fleet = a_full_fleet(nodes=("a", "b"))
    fleet.now_s += 1
    fleet.sample("b")
    load = the_load(fleet.arrive_for("m"))
    assert (load.node, load.request.evict, load.request.basis_event) == ("b", (), None)


def test_busy_victim_is_asked_for_all_the_same_and_again_when_the_node_says_so() -> None:
    fleet = a_full_fleet(in_flight=1)
    assert the_load(fleet.arrive_for("m")).request.evict == (Victim(model_id="old-a", generation=1),)
    assert loads(refused(fleet, "busy", retry_in_s=2.0)) == []
    assert fleet.answers == {}
    assert loads(fleet.tick(1.9)) == []
    assert loads(fleet.tick(0.2)) == ["a"]


def test_room_that_pinned_models_take_up_is_refused_at_once_with_what_is_in_the_way() -> None:
    fleet = a_full_fleet(pinned=True)
    ticket = fleet.arrive()
    cause = fleet.refusal(ticket).error
    assert isinstance(cause, error.NoRoom)
    assert "old-a" in cause.message


def test_nodes_in_maintenance_are_told_as_that_and_not_as_want_of_room() -> None:
    fleet = a_full_fleet(nodes=("a", "b"), pinned=True)
    health = msgspec.structs.replace(a_health(fleet.vram_mb), maintenance=True)
    fleet.now_s += 1
    fleet.tell(NodeSampled(node="a", health=health, models=(), asked_s=fleet.now_s))
    assert isinstance(fleet.refusal(fleet.arrive()).error, error.NoRoom), "on b it is the room"
    fleet.tell(NodeSampled(node="b", health=health, models=(), asked_s=fleet.now_s))
    cause = fleet.refusal(fleet.arrive()).error
    assert (type(cause), cause.details["nodes"]) == (
        error.NoHealthyNode,
        dict.fromkeys("ab", "is in maintenance: nothing new is loaded there"),
    )
    assert "a, b in maintenance, which 'cortex undrain' ends" in cause.message


def test_refusals_for_want_of_room_never_count_as_tries() -> None:
    fleet = a_full_fleet()
    ticket = fleet.arrive()
    for _ in range(4):
        refused(fleet, "held", retry_in_s=1.0)
        assert loads(fleet.tick(1.1)) == ["a"]
    fleet.loaded("a")
    assert fleet.grant(ticket).is_cold_start


def test_node_that_says_again_and_again_that_it_has_no_room_is_believed() -> None:
    fleet = Fleet(["a"], [a_profile()])
    ticket = fleet.arrive()
    for _ in range(10):
        refused(fleet, "no_room")
        if ticket in fleet.answers:
            break
        fleet.tick(16.0)
    assert isinstance(fleet.refusal(ticket).error, error.LoadFailed)
    assert fleet.is_at_rest()


def test_other_node_is_tried_when_one_has_no_room_after_all() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    first = the_load(fleet.arrive_for("m")).node
    (second,) = loads(refused(fleet, "no_room", node=first))
    assert {first, second} == {"a", "b"}


def test_model_that_ran_out_of_memory_is_loaded_once_more_with_more_room_than_there_was() -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=10_000)])
    fleet.now_s += 1
    fleet.sample("a", a_report("old", declared_mb=9000, devices=(0,), idle_s=500.0))
    ticket = fleet.arrive()
    again = the_load(refused(fleet, "out_of_memory"))
    assert (again.node, again.request.vram_mb) == ("a", 15_001)
    assert again.request.evict == (Victim(model_id="old", generation=1),)
    assert loads(refused(fleet, "out_of_memory")) == []
    assert isinstance(fleet.refusal(ticket).error, error.LoadFailed)


def test_model_that_was_seen_to_need_more_than_it_says_is_planned_by_what_was_seen() -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=1000)])
    fleet.dispatcher._floor.models["m"].learnt_mb = 3000
    assert the_load(fleet.arrive_for("m")).request.vram_mb == 3000


def test_load_that_another_gateway_has_claimed_is_waited_for_and_not_counted() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    load = the_load(fleet.arrive_for("m"))
    assert load.is_first
    other = "b" if load.node == "a" else "a"
    deferred = LoadDeferred(node=load.node, model="m", target=other, holder="g2", retry_in_s=2.0)
    assert loads(fleet.tell(deferred)) == []
    assert fleet.dispatcher.loads_under_way() == []
    assert loads(fleet.tick(1.0)) == []
    assert len(loads(fleet.tick(1.1))) == 1


def test_load_of_a_model_that_somebody_has_is_not_the_first() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.now_s += 1
    fleet.sample("a", a_report(status="unloaded"), a_report("other"))
    load = the_load(fleet.arrive_for("m"))
    assert load.is_first, "an unloaded one may be loaded by another gateway too"


def test_operator_may_load_what_nobody_asks_for_on_the_node_of_choice() -> None:
    fleet = Fleet(["a", "b", "c"], [a_profile()])
    assert loads(fleet.tell(LoadWanted(model="m", node="c"))) == ["c"]
    fleet.loaded("c")
    assert fleet.tick(1) == []


def test_operators_load_beside_a_replica_is_one_more_replica() -> None:
    fleet = Fleet(["a", "b"], [a_profile()])
    fleet.ready("a")
    assert loads(fleet.tell(LoadWanted(model="m", node="b"))) == ["b"]
    assert loads(fleet.tell(LoadWanted(model="m"))) == [], "it is loaded already"


@pytest.mark.parametrize("node", ["a", None])
def test_what_an_operator_wants_is_tried_though_it_has_just_failed(node: str | None) -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.tell(LoadWanted(model="m"))
    fleet.load_failed("a", code="engine_failed")
    assert fleet.dispatcher.view(fleet.now_s).models[0].failures
    assert loads(fleet.tell(LoadWanted(model="m", node=node))) == ["a"]


def test_operators_load_that_fails_is_not_tried_for_ever() -> None:
    fleet = Fleet(["a"], [a_profile()])
    fleet.tell(LoadWanted(model="m", node="a"))
    refused(fleet, "engine_failed")
    assert loads(fleet.tick(1000)) == []
    assert fleet.is_at_rest()


@pytest.mark.parametrize(("after_s", "count"), [(2.9, 1), (3.1, 0)])
def test_what_an_operator_wants_is_given_up_when_it_has_taken_too_long(after_s: float, count: int) -> None:
    fleet = Fleet(["a", "b"], [a_profile()], load_timeout_s=3, is_up=False)
    fleet.discover("a")
    fleet.sample("a")
    assert loads(fleet.tell(LoadWanted(model="m"))) == [], "the other node has not been asked yet"
    fleet.tick(after_s)
    fleet.discover("b")
    assert len(loads(fleet.sample("b"))) == count
    assert loads(fleet.tick(10)) == []


def test_model_of_lower_priority_does_not_take_what_one_of_higher_priority_waits_for() -> None:
    fleet = a_full_fleet(
        a_profile("n", vram_mb=BIG_MB), a_profile("vip", vram_mb=BIG_MB, queue_priority=5), in_flight=1
    )
    assert loads(fleet.arrive_for("vip")) == ["a"]
    refused(fleet, "busy", retry_in_s=5.0, model="vip")
    fleet.now_s += 0.1
    assert loads(fleet.arrive_for("n")) == []
    fleet.now_s += 0.1
    assert loads(fleet.arrive_for("m")) == []
    assert the_load(fleet.tick(121)).request.model_id == "vip"
    refused(fleet, "busy", retry_in_s=5.0, model="vip")
    assert the_load(fleet.tick(0.3)).request.model_id == "n", "after a while nobody is starved for anybody"


def test_a_callers_priority_is_added_to_that_of_the_model_it_waits_for() -> None:
    fleet = a_full_fleet(
        a_profile("n", vram_mb=BIG_MB, queue_priority=1), a_profile("asked", vram_mb=BIG_MB), in_flight=1
    )
    fleet.arrive("asked", caller="vip", priority=5)
    refused(fleet, "busy", retry_in_s=5.0, model="asked")
    fleet.now_s += 0.1
    assert loads(fleet.arrive_for("n")) == []


def test_a_request_that_may_cause_no_load_is_refused_where_it_takes_one() -> None:
    fleet = a_full_fleet(nodes=("a", "b"))
    ticket = fleet.arrive("m", caller="poor", no_load_s=90.0)
    refusal = fleet.refusal(ticket)
    assert (refusal.error.code, refusal.error.details["retry_in_s"]) == ("insufficient_quota", 90.0)
    assert "cold_starts_per_day" in refusal.error.message
    assert loads(fleet.tick(1)) == []


def test_a_request_that_may_cause_no_load_joins_that_of_another_and_is_refused_when_that_fails() -> None:
    fleet = a_full_fleet(nodes=("a", "b"))
    first = fleet.arrive("m", caller="rich")
    poor = fleet.arrive("m", caller="poor", no_load_s=90.0)
    assert poor not in fleet.answers
    fleet.finish(first)
    fleet.load_failed("a")
    fleet.load_failed("b")
    assert fleet.refusal(poor).error.code == "insufficient_quota"


def test_equals_are_kept_in_order_by_the_node() -> None:
    fleet = a_full_fleet(a_profile("n", vram_mb=BIG_MB), in_flight=1)
    assert loads(fleet.arrive_for("m")) == ["a"]
    refused(fleet, "busy", retry_in_s=5.0)
    assert loads(fleet.arrive_for("n")) == ["a"]


def test_decisions_say_who_went_for_whom() -> None:
    fleet = a_full_fleet()
    fleet.tell(RequestArrived(1, "m", caller="alice"))
    fleet.now_s += 1
    fleet.sample("a")
    found = {decision.kind: decision for decision in fleet.dispatcher.decisions.latest(10).decisions}
    assert found["placement"].details["evicts"] == ["old-a"]
    assert (found["eviction"].model, found["eviction"].caller, found["eviction"].details["by"]) == (
        "old-a",
        "alice",
        "m",
    )


def test_model_whose_only_node_has_failed_it_and_fallen_silent_is_never_refused_for_good() -> None:
    fleet = Fleet(["a", "b"], [a_profile(vram_mb=BIG_MB)])
    fleet.discover("b", vram_mb=(1000,))
    ticket = fleet.arrive()
    refused(fleet, "load_lost")
    fleet.lost("a")
    fleet.tick(1)
    late = fleet.arrive()
    assert not isinstance(fleet.refusal(ticket).error, error.ModelNotFound)
    assert isinstance(fleet.refusal(late).error, error.NoHealthyNode)


def test_room_that_strangers_have_taken_since_is_the_reason_that_is_told() -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=BIG_MB)])
    ticket = fleet.arrive()
    refused(fleet, "no_room")
    fleet.now_s += 1
    fleet.vram_mb = (24_000,)
    fleet.tell(NodeSampled(node="a", health=a_health((3000,)), models=(), asked_s=fleet.now_s))
    fleet.tick(20)
    cause = fleet.refusal(ticket).error
    assert isinstance(cause, error.NoRoom), cause
    assert "a:" in cause.message


def test_model_that_is_kept_is_not_unloaded_for_being_idle() -> None:
    for kept in ({"preload": True}, {"min_replicas": 1}):
        fleet = Fleet(["a"], [a_profile(idle_unload_s=60.0, **kept)])
        assert the_load(fleet.arrive_for("m")).request.idle_unload_s is None
    assert the_load(Fleet(["a"], [a_profile(idle_unload_s=60.0)]).arrive_for("m")).request.idle_unload_s == 60.0


def no_room(fleet: Fleet, need_mb: int | None) -> list[Effect]:
    failed = LoadFailed(node="a", model="m", code="no_room", message="full", need_mb=need_mb)
    return fleet.tell(failed)


def test_room_is_made_for_a_model_of_unknown_need_once_the_node_has_said_what_that_is() -> None:
    fleet = a_full_fleet(a_profile("m", vram_mb=None))
    load = the_load(fleet.arrive_for("m"))
    assert (load.request.evict, load.request.vram_mb) == ((), None), "unknown is not too much"
    no_room(fleet, BIG_MB)
    load = the_load(fleet.tick(2))
    assert load.request.evict == (Victim(model_id="old-a", generation=1),)
    assert load.request.vram_mb is None, "the node estimates it as before"


def test_what_a_node_says_of_a_need_that_the_catalogue_knows_is_passed_over() -> None:
    fleet = a_full_fleet()
    fleet.arrive("m")
    no_room(fleet, 99_000)
    load = the_load(fleet.tick(2))
    assert load.request.vram_mb == BIG_MB


def test_room_is_made_for_a_model_that_is_not_in_the_catalogue() -> None:
    fleet = a_full_fleet()
    fleet.now_s += 1
    found = a_report("found", "unloaded")
    fleet.sample("a", big("old-a", idle_s=500.0), found, start_id="s", event=8)
    load = the_load(fleet.arrive_for("found"))
    assert (load.request.devices, load.request.evict) == (None, ())
    fleet.tell(LoadFailed(node="a", model="found", code="no_room", message="full", need_mb=BIG_MB))
    load = the_load(fleet.tick(2))
    assert load.request.devices is None, "it names nothing but the model: loaded as it was before"
    assert load.request.evict == (Victim(model_id="old-a", generation=1),)


def test_model_of_unknown_need_that_ran_out_of_memory_is_asked_for_with_more_than_was_estimated() -> None:
    fleet = Fleet(("a",), [a_profile("m", vram_mb=None)])
    fleet.arrive("m")
    no_room(fleet, 10_000)
    fleet.tick(2)
    (load,) = [effect for effect in refused(fleet, "out_of_memory") if isinstance(effect, StartLoad)]
    assert load.request.vram_mb is not None
    assert load.request.vram_mb > 10_000


def test_what_one_node_is_to_give_after_it_ran_out_of_memory_is_asked_of_no_other() -> None:
    fleet = Fleet(["a", "b"], [a_profile(vram_mb=3000, pinned_on=("a",))])
    fleet.discover("b", vram_mb=(4500,))
    ticket = fleet.arrive()
    again = the_load(refused(fleet, "out_of_memory"))
    assert (again.node, again.request.vram_mb) == ("a", 24_000)
    other = the_load(refused(fleet, "out_of_memory"))
    assert (other.node, other.request.vram_mb) == ("b", 3000)
    fleet.loaded("b")
    assert fleet.grant(ticket).is_cold_start


def test_node_that_still_counts_the_engine_that_ran_out_of_memory_is_waited_for() -> None:
    fleet = Fleet(["a", "b"], [a_profile(vram_mb=3000, pinned_on=("a",))], vram_mb=(4500,))
    ticket = fleet.arrive()
    assert loads(refused(fleet, "out_of_memory")) == ["a"]
    assert loads(refused(fleet, "out_of_memory")) == ["b"]
    fleet.now_s += 1
    promised = a_health((4500,), reserved_mb=3000)
    fleet.tell(NodeSampled(node="b", health=promised, models=(a_report(status="failed"),), asked_s=fleet.now_s))
    assert loads(refused(fleet, "out_of_memory", node="b")) == []
    assert ticket not in fleet.answers, "b has not had its second try yet"
    fleet.now_s += 1
    again = the_load(fleet.sample("b", a_report(status="failed")))
    assert (again.node, again.request.vram_mb) == ("b", 3600)


def test_strangers_that_came_meanwhile_on_one_node_leave_the_other_to_be_tried() -> None:
    fleet = Fleet(["a", "b"], [a_profile(vram_mb=3000, pinned_on=("a",))])
    fleet.discover("b", vram_mb=(4500,))
    fleet.arrive()
    fleet.now_s += 1
    fleet.tell(NodeSampled(node="a", health=a_health((1500,)), models=(), asked_s=fleet.now_s))
    other = the_load(refused(fleet, "out_of_memory"))
    assert (other.node, other.request.vram_mb) == ("b", 3000)


def test_strangers_that_show_for_a_moment_only_refuse_nobody() -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=BIG_MB)])
    fleet.now_s += 1
    fleet.tell(NodeSampled(node="a", health=a_health((3000,)), models=(), asked_s=fleet.now_s))
    assert loads(fleet.arrive_for("m")) == []
    fleet.tick(STRANGERS_S - 1)
    assert fleet.answers == {}
    fleet.now_s += 0.5
    assert loads(fleet.sample("a")) == ["a"]


def test_strangers_that_stay_are_the_reason_that_is_told_after_a_while() -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=BIG_MB)])
    fleet.now_s += 1
    fleet.tell(NodeSampled(node="a", health=a_health((3000,)), models=(), asked_s=fleet.now_s))
    ticket = fleet.arrive()
    fleet.tick(STRANGERS_S)
    assert isinstance(fleet.refusal(ticket).error, error.NoRoom)


def test_node_whose_strangers_are_in_the_way_is_asked_for_its_newest_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(["a"], [a_profile(vram_mb=BIG_MB)])
    asked: list[str] = []
    monkeypatch.setattr(fleet.dispatcher._floor.leasing, "ask", lambda node, _now_s: asked.append(node))
    fleet.now_s += 1
    fleet.tell(NodeSampled(node="a", health=a_health((3000,)), models=(), asked_s=fleet.now_s))
    fleet.arrive()
    fleet.tick(0.3)
    assert asked == ["a"], "not with every look"
    fleet.tick(2)
    assert asked == ["a", "a"]


def test_model_that_another_gateway_has_loaded_there_on_other_devices_is_used_and_nothing_has_failed() -> None:
    fleet = Fleet(["a"], [a_profile()], vram_mb=(24_000, 24_000))
    ticket = fleet.arrive()
    assert loads(refused(fleet, "loaded_differently")) == []
    assert fleet.answers == {}
    fleet.now_s += 1
    fleet.sample("a", a_report(devices=(1,)))
    fleet.fetched("a")
    assert fleet.grant(ticket).target.node == "a"
