"""Who on a node could make room, who stays and why."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport
from cortex.fleet.clearance import choose_victims
from cortex.fleet.eviction import Newcomer, Strategy, Tenant, price, tenants_of
from cortex.fleet.fact import KnownFacts, Use
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.plan import Plans, plan_load
from cortex.fleet.view import NodeView

NOW_S = 1000.0


def held(model: str, mb: int = 8000, device: int = 0, **keys: object) -> InstanceReport:
    return a_report(model, **({"devices": (device,), "declared_mb": mb, "generation": 3} | keys))  # type: ignore[arg-type]


def full_node(*models: InstanceReport, name: str = "a", devices: int = 1) -> NodeView:
    return a_node(name, (24_000,) * devices, free_mb=[0] * devices, models=models)


def tenants(
    *models: InstanceReport, priority: int = 0, strategy: Strategy = "lru", facts: KnownFacts | None = None
) -> dict[str, Tenant]:
    found = tenants_of(full_node(*models), Newcomer("new", priority, strategy), facts or KnownFacts(), NOW_S)
    return {tenant.key: tenant for tenant in found}


def plans(node: NodeView, *, strategy: Strategy = "lru", facts: KnownFacts | None = None, **profile: object) -> Plans:
    wanted = a_profile("new", **({"vram_mb": 8000} | profile))
    return plan_load(wanted, [node], facts or KnownFacts(), strategy, NOW_S)


def victims(node: NodeView, **keys: object) -> list[str]:
    """Return who goes by the best plan, which must exist."""
    return [victim.model_id for victim in plans(node, **keys).plans[0].victims]  # type: ignore[arg-type]


def test_evict_lru_model() -> None:
    node = full_node(held("warm", idle_s=10.0), held("cold", idle_s=5000.0), held("mild", idle_s=300.0))
    assert victims(node) == ["cold"]


def test_eviction_skips_pinned_models() -> None:
    node = full_node(held("pinned", idle_s=9e6, pinned=True), held("warm", idle_s=1.0), held("mild", idle_s=60.0))
    assert victims(node) == ["mild"]
    by_catalogue = KnownFacts(profiles={"mild": a_profile("mild", pinned_on=("a",))})
    assert victims(node, facts=by_catalogue) == ["warm"], "its pin is older than the catalogue's"


def test_eviction_nothing_to_evict() -> None:
    found = plans(full_node(held("busy", 24_000, in_flight=1)))
    assert found.plans == ()
    assert [(wait.code, wait.victims) for wait in found.waits] == [("busy", ("busy",))]
    found = plans(full_node())
    assert [wait.code for wait in found.waits] == ["strangers"]


@pytest.mark.parametrize(
    ("keys", "stays"),
    [
        ({}, None),
        ({"status": "loading"}, "loading"),
        ({"status": "draining"}, "leaving"),
        ({"status": "unloading"}, "leaving"),
        ({"pinned": True}, "pinned"),
        ({"silent_s": 0.0}, "silent"),
        ({"in_flight": 1}, "busy"),
        ({"waiting": 1}, "waited_for"),
        ({"protected_s": 0.1}, "protected"),
        ({"protected_s": 0.1, "in_flight": 1, "pinned": True}, "pinned"),
    ],
    ids=str,
)
def test_who_stays_and_why_by_what_the_node_says(keys: dict[str, object], stays: str | None) -> None:
    assert tenants(held("x", **keys))["x"].stays == stays


@pytest.mark.parametrize(
    ("use", "stays"),
    [(Use(), None), (Use(in_flight=1), "busy"), (Use(waiting=1), "waited_for"), (Use(last_used_s=NOW_S), None)],
    ids=["no use of it", "a request of ours runs", "somebody waits for it", "it just worked"],
)
def test_who_stays_and_why_by_what_this_gateway_knows(use: Use, stays: str | None) -> None:
    assert tenants(held("x"), facts=KnownFacts(uses={("a", "x"): use}))["x"].stays == stays
    assert tenants(held("x"), facts=KnownFacts(uses={("b", "x"): Use(in_flight=1)}))["x"].stays is None


def test_who_goes_for_another_load_of_ours_is_not_asked_twice() -> None:
    facts = KnownFacts(loads={"a": [LoadUnderWay(model="other", need_mb=8000, devices=(0,), victims=("x",))]})
    assert tenants(held("x"), held("y"), facts=facts)["x"].stays == "leaving"


def test_the_newcomer_itself_is_nobodys_victim() -> None:
    assert "new" not in tenants(held("new"), held("x"))
    assert tenants(held("new", status="draining"))["new"].stays == "leaving"


@pytest.mark.parametrize(("mine", "stays"), [(4, "outranks"), (5, None), (6, None)], ids=["lower", "equal", "higher"])
def test_under_priority_nobody_displaces_a_higher_one_and_equals_displace_each_other(
    mine: int, stays: str | None
) -> None:
    facts = KnownFacts(profiles={"x": a_profile("x", priority=5)})
    assert tenants(held("x"), priority=mine, strategy="priority", facts=facts)["x"].stays == stays
    assert tenants(held("x"), priority=mine, strategy="lru", facts=facts)["x"].stays is None
    swapped = KnownFacts(profiles={"x": a_profile("x", priority=mine)})
    back = tenants(held("x"), priority=5, strategy="priority", facts=swapped)["x"].stays
    assert (stays, back).count("outranks") == (0 if mine == 5 else 1), "unequal ranks swap one way only"


def test_idle_time_is_since_the_last_work_that_anybody_knows_of() -> None:
    x = held("x", idle_s=500.0)
    assert tenants(x)["x"].idle_s == 500.0
    assert tenants(x, facts=KnownFacts(uses={("a", "x"): Use(last_used_s=NOW_S - 20)}))["x"].idle_s == 20.0
    assert tenants(x, facts=KnownFacts(uses={("a", "x"): Use(last_used_s=NOW_S - 900)}))["x"].idle_s == 500.0
    assert tenants(held("x"))["x"].idle_s is None
    assert tenants(held("x"), facts=KnownFacts(uses={("a", "x"): Use(last_used_s=NOW_S - 5)}))["x"].idle_s == 5.0


def test_of_two_whose_work_was_seen_at_once_the_one_goes_that_was_used_before_the_other() -> None:
    """A neuron looks every few seconds only, and cannot tell which of two was used first in between."""
    models = held("x", idle_s=1.0), held("y", idle_s=1.0)
    facts = KnownFacts(uses={("a", "x"): Use(last_used_s=NOW_S - 3.1), ("a", "y"): Use(last_used_s=NOW_S - 3.4)})
    found = tenants(*models, facts=facts)
    assert min(found.values(), key=lambda tenant: tenant.order).key == "y"
    others = KnownFacts(uses={("a", "x"): Use(last_used_s=NOW_S - 3.1), ("a", "y"): Use(last_used_s=NOW_S - 60)})
    assert tenants(*models, facts=others)["y"].idle_s == 1.0, "somebody else has used it since"


def test_idle_time_and_protection_go_on_after_they_were_told() -> None:
    node = full_node(held("x", idle_s=10.0, protected_s=60.0))
    node = msgspec.structs.replace(node, worked_s={"x": NOW_S - 70}, safe_until_s={"x": NOW_S - 1})
    (tenant,) = tenants_of(node, Newcomer("new", 0, "lru"), KnownFacts(), NOW_S)
    assert (tenant.idle_s, tenant.protected_s, tenant.stays) == (70.0, 0.0, None)


def test_lru_counts_all_reloads_alike_and_cost_counts_how_long_they_take() -> None:
    node = full_node(held("heavy", idle_s=700.0, load_s=100.0), held("light", idle_s=600.0, load_s=2.0))
    assert victims(node, strategy="lru") == ["heavy"]
    assert victims(node, strategy="cost") == ["light"]


def test_cost_weighs_the_reload_against_the_cold() -> None:
    node = full_node(held("heavy", idle_s=86_400.0, load_s=100.0), held("light", idle_s=1.0, load_s=20.0))
    assert victims(node, strategy="cost") == ["heavy"]


def test_nothing_goes_for_nothing() -> None:
    assert price(held("x", load_s=0.0), 0, 1e9, "cost") > 0


def test_under_priority_the_lowest_goes_first_and_then_the_coldest() -> None:
    facts = KnownFacts(profiles={"low": a_profile("low", priority=-1), "high": a_profile("high", priority=3)})
    node = full_node(held("low", idle_s=1.0), held("high", idle_s=9000.0), held("none", idle_s=500.0))
    assert victims(node, strategy="priority", facts=facts, priority=3) == ["low"]
    assert victims(node, strategy="lru", facts=facts, priority=3) == ["high"]
    node = full_node(held("high", idle_s=9000.0), held("x", idle_s=10.0), held("y", idle_s=20.0))
    assert victims(node, strategy="priority", facts=facts, priority=3) == ["y"]


def test_as_few_of_a_high_priority_go_as_can_be() -> None:
    facts = KnownFacts(profiles={name: a_profile(name, priority=5) for name in ("x", "y")})
    node = full_node(held("x", idle_s=9e5), held("y", idle_s=8e5), held("z", idle_s=1.0))
    assert victims(node, strategy="priority", facts=facts, priority=5, vram_mb=16_000) == ["z", "x"]


def test_fewer_and_colder_go_even_when_one_of_them_is_not_the_coldest() -> None:
    small = [held(f"s{at}", 2000, idle_s=3600.0) for at in range(4)]
    node = full_node(*small, held("large", idle_s=3000.0))
    assert victims(node) == ["large"], "one of 50 minutes rather than four of an hour"
    node = full_node(*small[:2], held("large", 4000, idle_s=2.0), held("more", 16_000, pinned=True))
    assert victims(node, vram_mb=4000) == ["s0", "s1"], "two of an hour rather than one of two seconds"


def test_no_candidates_no_room() -> None:
    assert choose_victims((), 1, 1000, ()) is None
