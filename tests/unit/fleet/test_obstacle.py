"""What stands in the way on a node that could serve later."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport
from cortex.fleet.eviction import Strategy
from cortex.fleet.fact import KnownFacts, Use
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.obstacle import Obstacle
from cortex.fleet.plan import Plans, plan_load
from cortex.fleet.view import NodeView

NOW_S = 1000.0


def held(model: str, mb: int = 20_000, **keys: object) -> InstanceReport:
    return a_report(model, **({"devices": (0,), "declared_mb": mb} | keys))  # type: ignore[arg-type]


def node(*models: InstanceReport, strangers_mb: int | None = None, **keys: object) -> NodeView:
    made = a_node("a", (24_000,), **({"free_mb": [0], "models": models} | keys))  # type: ignore[arg-type]
    if strangers_mb is None or made.health is None:
        return made
    reading = msgspec.structs.replace(made.health.devices[0], strangers_mb=strangers_mb)
    return msgspec.structs.replace(made, health=msgspec.structs.replace(made.health, devices=(reading,)))


def plans(where: NodeView, facts: KnownFacts | None = None, *, strategy: Strategy = "lru", **profile: object) -> Plans:
    wanted = a_profile("new", **({"vram_mb": 16_000} | profile))
    found = plan_load(wanted, [where], facts or KnownFacts(), strategy, NOW_S)
    assert found.plans == ()
    return found


def obstacle(where: NodeView, facts: KnownFacts | None = None, **keys: object) -> Obstacle:
    (found,) = plans(where, facts, **keys).waits  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("keys", "code", "reason", "retry_in_s"),
    [
        ({"in_flight": 1}, "busy", "x has requests running", None),
        ({"status": "loading"}, "loading", "x is still loading", None),
        ({"protected_s": 42.0}, "protected", "x was loaded not long ago and stays for 42 s", 42.0),
        ({"status": "draining"}, "leaving", "x is on its way out", 2.0),
        ({"pinned": True}, "pinned", "x is pinned", None),
        ({"silent_s": 20.0}, "silent", "x does not answer its neuron", None),
    ],
    ids=["busy", "loading", "protected", "leaving", "pinned", "silent"],
)
def test_instance_in_the_way_is_named_with_why_it_stays(
    keys: dict[str, object], code: str, reason: str, retry_in_s: float | None
) -> None:
    found = obstacle(node(held("x", **keys)))
    assert (found.node, found.code, found.reason, found.retry_in_s) == ("a", code, reason, retry_in_s)
    assert found.victims == ("x",)


def test_higher_priority_stands_in_the_way() -> None:
    facts = KnownFacts(profiles={"x": a_profile("x", priority=1)})
    assert obstacle(node(held("x")), facts, strategy="priority").code == "outranked"


def test_model_that_somebody_waits_for_is_as_good_as_busy() -> None:
    found = obstacle(node(held("x")), KnownFacts(uses={("a", "x"): Use(waiting=1)}))
    assert (found.code, found.reason) == ("busy", "x has requests waiting")


def test_only_those_are_named_who_would_have_to_go() -> None:
    found = obstacle(node(held("x", 16_000, in_flight=1), held("y", 4000, in_flight=1), held("z", 4000)))
    assert (found.code, found.reason, found.victims) == ("busy", "x has requests running", ("x",))


def test_strangers_take_the_room() -> None:
    found = obstacle(node(free_mb=[1000]))
    assert (found.code, found.victims) == ("strangers", ())
    free = "device 0 has 1000 MiB free of 24000, 23000 are taken by what is no model of ours"
    assert found.reason == f"16000 MiB are needed; {free}"


@pytest.mark.parametrize(
    ("start_id", "event", "code"),
    [("s", 6, "leaving"), ("s", 7, "strangers"), ("older", 6, "strangers"), ("", 0, "strangers")],
    ids=["seen before the last change", "seen since", "by another life", "without a version"],
)
def test_sample_from_before_the_last_change_may_show_an_engine_that_has_gone(
    start_id: str, event: int, code: str
) -> None:
    where = node(free_mb=[1000])
    assert where.health is not None
    health = msgspec.structs.replace(where.health, start_id=start_id, event=event)
    assert obstacle(msgspec.structs.replace(where, health=health, start_id="s", event=7)).code == code
    assert obstacle(msgspec.structs.replace(where, health=health)).code == "strangers"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [("unloading", "leaving", "x is on its way out"), ("loading", "loading", "x is still loading")],
)
def test_memory_of_an_engine_that_comes_or_goes_is_waited_for(status: str, code: str, reason: str) -> None:
    """For a moment its neuron counts it twice: as the model's, and as that of a process that is no engine's."""
    found = obstacle(node(held("x", status=status), free_mb=[4000], strangers_mb=20_000))
    assert (found.code, found.reason) == (code, reason)


def test_room_is_promised_to_other_loads() -> None:
    assert obstacle(node(free_mb=[24_000], reserved_mb=20_000)).code == "promised"
    facts = KnownFacts(loads={"a": [LoadUnderWay(model="other", need_mb=20_000, devices=(0,))]})
    assert obstacle(node(free_mb=[24_000]), facts).code == "promised"


def test_node_in_maintenance_is_waited_for_whatever_is_free() -> None:
    assert obstacle(node(free_mb=[24_000]), KnownFacts(drained=["a"])).code == "maintenance"
    where = node(free_mb=[24_000])
    assert where.health is not None
    where = msgspec.structs.replace(where, health=msgspec.structs.replace(where.health, maintenance=True))
    assert obstacle(where).code == "maintenance"
    there = msgspec.structs.replace(where, models=(a_report("new"),))
    (plan,) = plan_load(a_profile("new"), [there], KnownFacts(), "lru", NOW_S).plans
    assert plan.placement.has_it, "what is loaded there serves on"


def test_node_where_it_failed_lately_is_left_alone_for_as_long_as_was_said() -> None:
    found = obstacle(node(free_mb=[24_000]), KnownFacts(holds={"a": 12.0}))
    assert (found.code, found.retry_in_s) == ("held", 12.0)
    assert found.reason == "could not load it lately, and is asked again in 12 s"


def test_node_that_still_unloads_the_model_is_waited_for() -> None:
    found = obstacle(node(held("new", status="unloading")))
    assert (found.code, found.reason) == ("leaving", "is still unloading it")


@pytest.mark.parametrize(
    ("keys", "wait_s"),
    [({"protected_s": 42.0}, 42.0), ({"in_flight": 2}, 30.0), ({"status": "loading", "load_s": 10.0}, 30.0)],
    ids=["until it may go", "a guess", "until it is loaded, and protected for twice as long"],
)
def test_patient_plan_asks_for_those_who_may_go_later(keys: dict[str, object], wait_s: float) -> None:
    (plan,) = plans(node(held("x", **keys))).patient
    assert [victim.model_id for victim in plan.victims] == ["x"]
    assert dict(plan.terms)["wait_s"] == wait_s


def test_nobody_is_asked_who_never_goes() -> None:
    for keys in ({"pinned": True}, {"silent_s": 20.0}, {"status": "draining"}):
        assert plans(node(held("x", **keys))).patient == ()  # type: ignore[arg-type]
