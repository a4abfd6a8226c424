"""What stands in the way on a node that could serve a model later, how long it may take, and who would go then.

1. ``maintenance``: nothing new is to be loaded there; ``held``: a load failed there lately;
2. ``busy``, ``loading``, ``protected``: who would have to go cannot go yet, and may be asked for already;
3. ``leaving``: there is room once those have gone that are on their way out;
4. ``pinned``, ``outranked``, ``silent``: who would have to go never does by itself;
5. ``promised``: the room is promised to other loads; ``strangers``: it is taken by what is no engine of ours. What
   an engine has that comes or goes may count as theirs for a moment, and so may one that has gone since the sample:
   ``loading``, ``leaving``.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from cortex.fleet.clearance import Clearance
from cortex.fleet.estimate import reload_s
from cortex.fleet.eviction import PASSING, Newcomer, StayCode, Tenant, tenants_of
from cortex.fleet.fact import Facts
from cortex.fleet.memory import LEAVING
from cortex.fleet.seat import Seat
from cortex.fleet.view import NodeView

ObstacleCode = Literal[
    "maintenance", "held", "busy", "loading", "protected", "leaving", "pinned", "outranked", "silent", "promised",
    "strangers",
]  # fmt: skip

BUSY_S = 30.0
"""What a running answer is taken to need still; nobody knows."""
LEAVING_S = 2.0
"""When to look again whether somebody has gone who is going."""

_CODES: dict[StayCode, ObstacleCode] = {"waited_for": "busy", "outranks": "outranked"}
_GRAVEST: tuple[StayCode, ...] = (
    "pinned",
    "outranks",
    "silent",
    "leaving",
    "busy",
    "waited_for",
    "loading",
    "protected",
)


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a node cannot serve now, in a clause that continues "<node>: ". ``victims``: who would have to go, by id."""

    node: str
    code: ObstacleCode
    reason: str
    retry_in_s: float | None = None
    victims: tuple[str, ...] = ()


class Stuck(NamedTuple):
    """A seat with its obstacle; where its victims may be asked for already, they and how long it may take."""

    obstacle: Obstacle
    seat: Seat
    clearance: Clearance | None = None
    wait_s: float = 0.0


def look_at(seat: Seat, newcomer: Newcomer, facts: Facts, now_s: float) -> Stuck:
    """Return what stands in the way on a node, by the list above."""
    plain = _closed(seat, facts)
    if plain is not None:
        return Stuck(plain, seat)
    tenants = tenants_of(seat.node, newcomer, facts, now_s)
    waited = seat.clearance([tenant for tenant in tenants if tenant.stays is None or tenant.stays in PASSING])
    if waited is not None:
        wait_s = max([_wait_s(tenant, seat) for tenant in waited.victims], default=0.0)
        return Stuck(_in_the_way(seat, waited.victims), seat, waited, wait_s)
    later = seat.clearance([tenant for tenant in tenants if tenant.stays not in ("pinned", "outranks", "silent")])
    found = later or seat.clearance(tenants)
    if found is not None:
        return Stuck(_in_the_way(seat, found.victims), seat)
    if seat.memory.reservations:
        reason = "its memory is promised to loads under way"
        return Stuck(Obstacle(node=seat.node.name, code="promised", reason=reason, retry_in_s=LEAVING_S), seat)
    moving = [tenant for tenant in tenants if tenant.stays in ("leaving", "loading")]
    if moving:
        return Stuck(_in_the_way(seat, moving), seat)
    if _is_outdated(seat.node):
        reason = "its memory was last seen before something changed there"
        return Stuck(Obstacle(node=seat.node.name, code="leaving", reason=reason, retry_in_s=LEAVING_S), seat)
    return Stuck(Obstacle(node=seat.node.name, code="strangers", reason=_taken(seat)), seat)


def _taken(seat: Seat) -> str:
    """Return what is left of each device, and what strangers have of it, in a clause that continues "<node>: "."""
    left = []
    for index, room in sorted(seat.memory.rooms.items()):
        taken = f", {room.strangers_mb} are taken by what is no model of ours" if room.strangers_mb else ""
        left.append(f"device {index} has {seat.memory.free_mb[index] or 0} MiB free of {room.total_mb}{taken}")
    return f"{seat.demand.need_mb} MiB are needed; {'; '.join(left)}"


def _closed(seat: Seat, facts: Facts) -> Obstacle | None:
    node = seat.node
    if node.name in facts.drained or (node.health is not None and node.health.maintenance):
        return Obstacle(node=node.name, code="maintenance", reason="is in maintenance: nothing new is loaded there")
    if node.name in facts.holds:
        left_s = facts.holds[node.name]
        reason = f"could not load it lately, and is asked again in {left_s:.0f} s"
        return Obstacle(node=node.name, code="held", reason=reason, retry_in_s=left_s)
    if seat.report is not None and seat.report.status in LEAVING:
        reason = "is still unloading it"
        return Obstacle(node=node.name, code="leaving", reason=reason, retry_in_s=LEAVING_S)
    return None


def _is_outdated(node: NodeView) -> bool:
    """Tell whether a node's sample was taken before its last change."""
    sample = node.health
    return sample is not None and sample.start_id == node.start_id != "" and sample.event < node.event


def _in_the_way(seat: Seat, victims: Iterable[Tenant]) -> Obstacle:
    """Return the obstacle that victims are who cannot go now, named after the one that is hardest to move."""
    staying = [tenant for tenant in victims if tenant.stays is not None]
    codes = [tenant.stays for tenant in staying if tenant.stays is not None]
    code = next(code for code in _GRAVEST if code in codes)
    retry_in_s: float | None = None
    if code == "protected":
        retry_in_s = max([tenant.protected_s for tenant in staying])
    elif code == "leaving":
        retry_in_s = LEAVING_S
    return Obstacle(
        node=seat.node.name,
        code=_CODES.get(code, code),  # type: ignore[arg-type]
        reason="; ".join([f"{tenant.key} {stays(tenant)}" for tenant in staying]),
        retry_in_s=retry_in_s,
        victims=tuple([tenant.key for tenant in victims]),
    )


def _wait_s(tenant: Tenant, seat: Seat) -> float:
    if tenant.stays == "protected":
        return tenant.protected_s
    if tenant.stays == "loading":
        report = seat.memory.reports[tenant.key]
        return 3 * reload_s(report, sum(tenant.held_mb.values()))  # it is protected for twice as long afterwards
    return BUSY_S if tenant.stays is not None else 0.0


def stays(tenant: Tenant) -> str:
    """Return why an instance stays, in a clause that follows its name."""
    if tenant.stays == "protected":
        return f"was loaded not long ago and stays for {tenant.protected_s:.0f} s"
    return _WORDS[tenant.stays] if tenant.stays is not None else f"could go ({idle(tenant)})"


def idle(tenant: Tenant) -> str:
    """Return how long an instance has been idle, in words."""
    return "idle for nobody knows how long" if tenant.idle_s is None else f"idle for {tenant.idle_s:.0f} s"


_WORDS: dict[StayCode, str] = {
    "pinned": "is pinned",
    "outranks": "has a higher priority",
    "silent": "does not answer its neuron",
    "leaving": "is on its way out",
    "loading": "is still loading",
    "busy": "has requests running",
    "waited_for": "has requests waiting",
}
