"""Builders of what a steward goes by, and short words for what it advises."""

from collections.abc import Iterable, Mapping

import msgspec
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport
from cortex.contract.node import HarnessHealth
from cortex.contract.profile import Profile
from cortex.fleet.estate import Estate
from cortex.fleet.stewardship import Advice, ModelStand, StewardRules, StewardView
from cortex.fleet.view import NodeView

RULES = StewardRules()


def up(model: str = "m", *, idle_s: float = 0.0, busy: int = 0, mb: int = 1000, **more: object) -> InstanceReport:
    """Return a model that is loaded."""
    base = {"declared_mb": mb, "vram_used_mb": mb, "devices": (0,), "parallel": 2, "in_flight": busy}
    return a_report(model, "loaded", **(base | {"idle_s": 0.0 if busy else idle_s} | more))


def on_its_way(model: str, status: str, mb: int = 1000) -> InstanceReport:
    return a_report(model, status, declared_mb=mb, devices=(0,))  # type: ignore[arg-type]


def node(
    name: str,
    *models: InstanceReport,
    mb: int = 4000,
    is_healthy: bool = True,
    maintenance: bool = False,
    harnesses: Iterable[HarnessHealth] = (),
) -> NodeView:
    """Return a node of one device whose use is what its models declare."""
    made = a_node(name, (mb,), free_mb=(mb - used_mb(models),), models=models, is_healthy=is_healthy)
    assert made.health is not None
    health = msgspec.structs.replace(made.health, maintenance=maintenance, harnesses=tuple(harnesses))
    return msgspec.structs.replace(made, health=health)


def used_mb(models: Iterable[InstanceReport]) -> int:
    return sum(report.declared_mb or 0 for report in models if report.status != "unloaded")


def a_harness(cycles: int = 0, leaking: int = 0, *, due: bool = False) -> HarnessHealth:
    return HarnessHealth(
        name="llamacpp", kind="llamacpp", healthy=True, cycles=cycles, leaking_cycles=leaking, restart_due=due
    )


def a_view(
    *nodes: NodeView, profiles: Iterable[Profile] = (), waiting: Mapping[str, int] | None = None, **more: object
) -> StewardView:
    """Return what a steward looks at; models that only nodes know are in it too."""
    by_id = {profile.id: profile for profile in profiles}
    known = {report.id for one in nodes for report in one.models} | set(by_id)
    waits = waiting or {}
    stands = tuple(ModelStand(id=key, profile=by_id.get(key), waiting=waits.get(key, 0)) for key in sorted(known))
    return StewardView(nodes=nodes, models=stands, **more)  # type: ignore[arg-type]


def an_estate(*nodes: NodeView, now_s: float = 1000.0, lost: Iterable[str] = (), **more: object) -> Estate:
    return Estate(a_view(*nodes, **more), now_s, tuple(lost))  # type: ignore[arg-type]


def said(advised: Iterable[Advice]) -> list[tuple[str, str, str]]:
    """Return kind, node, and model or harness of each piece of advice."""
    return [(advice.kind, advice.node, advice.model or advice.harness) for advice in advised]


__all__ = ["RULES", "a_harness", "a_profile", "a_view", "an_estate", "node", "on_its_way", "said", "up"]
