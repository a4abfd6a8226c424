"""Who on a node could make room for a model, who stays and why, and how much of a loss each would be.

Never evicted: what is pinned, on its way up or out, silent, busy, waited for or protected, and under ``priority`` what
ranks higher. Of the others those go that are the least loss together (``clearance``). What is a loss is the strategy's
matter:

``lru``       every reload counts alike, times how warm it is: the coldest, and few;
``priority``  as few of the highest priority as can be, then of the next, then as ``lru``; none above the newcomer's
              own, equals displace each other;
``cost``      what its reload takes, times how warm it is.
"""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.estimate import ALIKE_S, reload_s, warmth
from cortex.fleet.fact import Facts
from cortex.fleet.memory import LEAVING
from cortex.fleet.view import NodeView

Strategy = Literal["lru", "priority", "cost"]
StayCode = Literal["leaving", "loading", "pinned", "outranks", "silent", "busy", "waited_for", "protected"]

PASSING: frozenset[StayCode] = frozenset({"loading", "busy", "waited_for", "protected"})
"""Who stays for one of these reasons may still be asked for: the neuron lets it go once that is over."""


class Tenant(NamedTuple):
    """One instance as a plan weighs it. ``stays`` None: it could go now. ``ranks``: empty where they do not count."""

    key: str
    generation: int
    stays: StayCode | None
    ranks: tuple[int, ...]
    price_s: float
    idle_s: float | None
    protected_s: float
    held_mb: Mapping[int, int]

    @property
    def order(self) -> tuple[tuple[int, ...], float, str]:
        """Who is the least loss comes first."""
        return self.ranks, self.price_s, self.key


NOTICED_S = 6.0
"""A neuron looks at its engines every 5 s: work that it saw so soon after a request of ours was that request, of which
we know better when it ended. Else the name would decide between two that were used between the same two looks."""


class Newcomer(NamedTuple):
    """Whom room is made for, by which strategy."""

    model: str
    priority: int
    strategy: Strategy

    @classmethod
    def of(cls, profile: Profile, strategy: Strategy) -> "Newcomer":
        """Return the newcomer that a profile is."""
        return cls(profile.id, profile.priority, strategy)


def tenants_of(node: NodeView, newcomer: Newcomer, facts: Facts, now_s: float) -> list[Tenant]:
    """Return everybody who holds memory of a node, and what keeps each of them there."""
    memory = node.memory
    if memory is None:
        return []
    leaving = {victim for load in facts.loads.get(node.name, ()) for victim in load.victims}
    return [
        tenant_of(node, memory.reports[resident.key], memory.held_mb(resident.key), newcomer, facts, leaving, now_s)
        for resident in memory.residents
        if resident.key != newcomer.model or memory.reports[resident.key].status in LEAVING
    ]


def tenant_of(
    node: NodeView,
    report: InstanceReport,
    held_mb: Mapping[int, int],
    newcomer: Newcomer,
    facts: Facts,
    leaving: Collection[str],
    now_s: float,
) -> Tenant:
    """Return one instance as a plan for a newcomer weighs it; ``leaving``: who goes for another load already."""
    use = facts.use_of(node.name, report.id)
    profile = facts.profile_of(report.id)
    priority = profile.priority if profile is not None else 0
    idle_s = node.idle_s(report, now_s)
    if use.last_used_s is not None:
        used_s = max(0.0, now_s - use.last_used_s)
        if idle_s is None or used_s - idle_s <= NOTICED_S:
            idle_s = used_s
    protected_s = node.protected_s(report, now_s)
    stays: StayCode | None = None
    if report.status in LEAVING or report.id in leaving:
        stays = "leaving"
    elif report.status == "loading":
        stays = "loading"
    elif report.pinned or (profile is not None and node.name in profile.pinned_on):
        stays = "pinned"
    elif newcomer.strategy == "priority" and priority > newcomer.priority:
        stays = "outranks"
    elif report.silent_s is not None:
        stays = "silent"
    elif report.in_flight or use.in_flight:
        stays = "busy"
    elif report.waiting or use.waiting:
        stays = "waited_for"
    elif protected_s > 0:
        stays = "protected"
    ranks = (priority,) if newcomer.strategy == "priority" else ()
    price_s = price(report, sum(held_mb.values()), idle_s, newcomer.strategy)
    return Tenant(report.id, report.generation, stays, ranks, price_s, idle_s, protected_s, held_mb)


def price(report: InstanceReport, held_mb: int, idle_s: float | None, strategy: Strategy) -> float:
    """Return what it costs when an instance goes, in seconds; always more than nothing."""
    whole_s = reload_s(report, held_mb) if strategy == "cost" else ALIKE_S
    return max(whole_s, 0.001) * warmth(idle_s)
