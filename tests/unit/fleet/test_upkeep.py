"""The dispatcher as steward: advice that becomes loads, unloads and restarts, in one gateway only."""

import msgspec
from tests.unit.fleet.builder import Fleet, a_health, a_profile, a_report

from cortex.contract.node import HarnessHealth
from cortex.fleet.effect import Effect, RestartHarness, StartLoad, UnloadModel
from cortex.fleet.event import NodeSampled, RestartFinished, StewardChanged, UnloadFinished
from cortex.fleet.upkeep import LOOK_S

PRELOADED = a_profile(preload=True)


def a_steward(*nodes: str, number: int | None = None, **profile: object) -> Fleet:
    fleet = Fleet(nodes, [a_profile(**profile)])
    fleet.tell(StewardChanged(is_steward=True, number=number))
    return fleet


def loads(effects: list[Effect]) -> list[StartLoad]:
    return [effect for effect in effects if isinstance(effect, StartLoad)]


def test_steward_preloads_with_its_number_and_says_why() -> None:
    fleet = a_steward("a", preload=True, number=7)
    (load,) = loads(fleet.tick(LOOK_S))
    assert (load.node, load.request.model_id, load.request.steward) == ("a", "m", 7)
    newest = fleet.dispatcher.decisions.latest(1).decisions[0]
    assert (newest.kind, newest.model, newest.caller) == ("placement", "m", "steward")
    assert newest.reason


def test_gateway_that_is_not_the_steward_does_nothing_unasked() -> None:
    fleet = Fleet(["a"], [PRELOADED])
    assert fleet.tick(LOOK_S) == []
    fleet.tell(StewardChanged(is_steward=True))
    fleet.tell(StewardChanged(is_steward=False))
    assert fleet.tick(LOOK_S) == []


def test_steward_does_not_ask_twice_for_what_is_under_way() -> None:
    fleet = a_steward("a", preload=True)
    assert len(loads(fleet.tick(LOOK_S))) == 1
    assert [loads(fleet.tick(LOOK_S)) for _ in range(5)] == [[]] * 5
    assert fleet.dispatcher.loads_under_way() == [("m", "a")]


def test_steward_looks_around_once_a_second_at_the_most() -> None:
    fleet = a_steward("a", preload=True)
    fleet.tick(LOOK_S)
    fleet.load_failed("a", code="no_room")
    assert loads(fleet.tick(LOOK_S / 2)) == []


def test_steward_waits_until_every_node_was_asked() -> None:
    fleet = Fleet(["a"], [PRELOADED], is_up=False)
    fleet.tell(StewardChanged(is_steward=True))
    assert fleet.tick(LOOK_S) == []


def test_harness_that_is_due_is_restarted_and_a_refusal_is_put_on_record() -> None:
    fleet = a_steward("a", number=3)
    due = HarnessHealth(name="llamacpp", kind="llamacpp", healthy=True, cycles=60, restart_due=True)
    health = msgspec.structs.replace(a_health(fleet.vram_mb), harnesses=(due,))
    restarts: list[RestartHarness] = []
    for _ in range(100):
        fleet.now_s += LOOK_S
        fleet.tell(NodeSampled(node="a", health=health, models=(), asked_s=fleet.now_s))
        restarts += [effect for effect in fleet.tick() if isinstance(effect, RestartHarness)]
        if restarts:
            break
    (restart,) = restarts
    assert (restart.harness, restart.request.cycles, restart.request.steward) == ("llamacpp", 60, 3)
    fleet.tell(RestartFinished(node="a", harness="llamacpp", code="busy", message="it has requests"))
    newest = fleet.dispatcher.decisions.latest(1).decisions[0]
    assert (newest.kind, newest.reason, newest.details["code"]) == ("failure", "it has requests", "busy")


def test_a_move_is_put_on_record_with_its_reason_and_where_it_leads() -> None:
    fleet = a_steward("a", "b")
    fleet.ready("a")
    health = msgspec.structs.replace(a_health(fleet.vram_mb), maintenance=True)
    for _ in range(100):
        fleet.now_s += LOOK_S
        fleet.tell(NodeSampled(node="a", health=health, models=(a_report(in_flight=1),), asked_s=fleet.now_s))
        if loads(fleet.tick()):
            break
    noted = [one for one in fleet.dispatcher.decisions.latest(100).decisions if one.kind == "move"]
    assert [(one.model, one.node, one.caller, one.details) for one in noted] == [("m", "b", "steward", {"leaves": "a"})]
    assert noted[0].reason == "a is in maintenance"


def test_node_in_maintenance_is_cleared_by_an_unload_once_the_model_is_elsewhere() -> None:
    fleet = a_steward("a", "b", number=5)
    for node in ("a", "b"):
        fleet.ready(node)
    health = msgspec.structs.replace(a_health(fleet.vram_mb), maintenance=True)
    unloads: list[UnloadModel] = []
    for _ in range(100):
        fleet.now_s += LOOK_S
        fleet.tell(NodeSampled(node="a", health=health, models=(a_report(),), asked_s=fleet.now_s))
        unloads += [effect for effect in fleet.tick() if isinstance(effect, UnloadModel)]
        if unloads:
            break
    (unload,) = unloads
    assert (unload.node, unload.request.model_id, unload.request.force, unload.request.steward) == ("a", "m", False, 5)
    fleet.tell(UnloadFinished(node="a", model="m"))
