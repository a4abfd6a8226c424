"""Decides whether a load gets memory now, and who goes for it: the one place where evictions are judged.

A load may name victims; all of it happens or nothing. In this order:

1. A victim that is another by now, gone, failed or pinned: ``stale``, the caller looks again and plans anew.
2. It does not fit even when all victims go: ``no_room``; for now, where somebody leaves, or makes room for others.
3. Only those go that it takes, and of those first the ones that can. One on its way up or out: ``busy``.
4. One that must not go yet: ``held``.
5. One that has waited longer would lose its room: ``held``.
6. One with requests: ``busy``, unless this load is due. Then its drain takes the time that they need.

Who is refused for now (2 to 6) draws a ticket and asks again after ``retry_in_s``.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from cortex.contract.instance import InstanceStatus, Victim
from cortex.residency.fit import DeviceRoom, DeviceVerdict, Infeasible, Reservation, even_shares
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import Ticket, TicketBook

RefusalCode = Literal["no_room", "busy", "held", "stale"]

ASK_AGAIN_S = 2.0
"""When nobody can tell when it is over."""
LEAST_S = 0.1


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as an eviction must know it."""

    generation: int
    status: InstanceStatus
    is_pinned: bool = False
    protected_s: float = 0.0
    """For how long it must not be evicted."""
    in_flight: int = 0

    @property
    def is_evictable(self) -> bool:
        """Tell whether it could be asked to leave now."""
        return self.status == "loaded" and not (self.is_pinned or self.protected_s > 0 or self.in_flight)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A load, and the instances that it would have leave."""

    key: str
    need_mb: int
    devices: tuple[int, ...]
    victims: tuple[Victim, ...] = ()


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """It gets its memory once the victims are gone. ``is_due``: their drain is not given up for requests that run."""

    victims: tuple[str, ...] = ()
    is_due: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """It does not, and why. ``key`` is the instance in the way, where there is one."""

    code: RefusalCode
    reason: str
    key: str = ""
    retry_in_s: float | None = None
    devices: tuple[DeviceVerdict, ...] = ()


class Scene(NamedTuple):
    """What is decided by: the books, the newest sample, and the instances by key."""

    book: ReservationBook
    tickets: TicketBook
    rooms: tuple[DeviceRoom, ...]
    tenants: Mapping[str, Tenant]


def admit(wish: Wish, scene: Scene, now_s: float) -> Admitted | Refusal:
    """Reserve memory for a load, its victims' included, or say why not; who may ask again gets a ticket.

    A load with victims keeps its ticket until they go: the caller closes it then, or draws again when they stay.
    Raises: KeyError when the load has memory already.
    """
    verdict = judge(wish, scene, now_s)
    if isinstance(verdict, Admitted):
        scene.book.reserve(wish.key, wish.need_mb, wish.devices, scene.rooms, awaits=verdict.victims)
        if not verdict.victims:
            scene.tickets.close(wish.key)
    elif verdict.retry_in_s is not None:
        draw(wish, scene.tickets, verdict.retry_in_s, now_s)
    return verdict


def draw(wish: Wish, tickets: TicketBook, retry_in_s: float, now_s: float) -> Ticket:
    """Give a load its ticket, or let it keep the one that it has."""
    victims = [victim.model_id for victim in wish.victims]
    return tickets.draw(wish.key, wish.devices, wish.need_mb, victims, retry_in_s=retry_in_s, now_s=now_s)


def judge(wish: Wish, scene: Scene, now_s: float) -> Admitted | Refusal:
    """Decide about a load and change nothing."""
    stale = _stale(wish.victims, scene.tenants)  # 1
    if stale is not None:
        return stale
    proposed = tuple(dict.fromkeys(victim.model_id for victim in wish.victims))
    if not _fits(wish, scene, proposed):  # 2
        verdict = scene.book.judge(wish.need_mb, wish.devices, scene.rooms)
        reason = verdict.reason if isinstance(verdict, Infeasible) else "no_room"
        retry_in_s = ASK_AGAIN_S if _may_fit_soon(wish, scene, proposed) else None
        return Refusal(code="no_room", reason=reason, devices=verdict.devices, retry_in_s=retry_in_s)
    victims = _needed(wish, scene, proposed)  # 3
    is_due = bool(victims) and scene.tickets.due_in_s(wish.key, wish.devices, now_s) <= 0
    return (
        _on_its_way(victims, scene.tenants)
        or _protected(victims, scene.tenants)  # 4
        or _out_of_turn(wish, scene, victims, now_s)  # 5
        or (None if is_due else _busy(wish, scene, victims, now_s))  # 6
        or Admitted(victims=victims, is_due=is_due)
    )


def _stale(victims: Sequence[Victim], tenants: Mapping[str, Tenant]) -> Refusal | None:
    for victim in victims:
        tenant = tenants.get(victim.model_id)
        if tenant is None or tenant.status in ("unloaded", "failed") or tenant.generation != victim.generation:
            return Refusal(code="stale", reason="victim_gone", key=victim.model_id)
        if tenant.is_pinned:
            return Refusal(code="stale", reason="victim_pinned", key=victim.model_id)
    return None


def _fits(wish: Wish, scene: Scene, without: Sequence[str]) -> bool:
    return not isinstance(scene.book.judge(wish.need_mb, wish.devices, scene.rooms, without=without), Infeasible)


def _may_fit_soon(wish: Wish, scene: Scene, proposed: Sequence[str]) -> bool:
    """Tell whether it would fit once those have gone who are leaving, or stay who were to make room for another load.

    A promise that awaits nobody passes by no means: it becomes an engine.
    """
    leaving = {key for key, tenant in scene.tenants.items() if tenant.status in ("draining", "unloading")}
    clearing = [promise for promise in scene.book.reservations if promise.awaits]
    awaited = {key for promise in clearing for key in promise.awaits}
    if _fits(wish, scene, (*proposed, *leaving, *awaited)):
        return True
    undone = (promise.key for promise in clearing)
    return bool(clearing) and _fits(wish, scene, (*proposed, *(leaving - awaited), *undone))


def _needed(wish: Wish, scene: Scene, proposed: Sequence[str]) -> tuple[str, ...]:
    """Return the victims that it takes: those stay first that could not go, then those that were named last."""
    needed = list(proposed)
    for key in sorted(reversed(proposed), key=lambda key: scene.tenants[key].is_evictable):
        rest = [other for other in needed if other != key]
        if _fits(wish, scene, rest):
            needed = rest
    return tuple(needed)


def _on_its_way(victims: Sequence[str], tenants: Mapping[str, Tenant]) -> Refusal | None:
    for key in victims:
        if tenants[key].status != "loaded":
            return Refusal(code="busy", reason=f"victim_{tenants[key].status}", key=key, retry_in_s=ASK_AGAIN_S)
    return None


def _protected(victims: Sequence[str], tenants: Mapping[str, Tenant]) -> Refusal | None:
    last = max(victims, key=lambda key: tenants[key].protected_s, default=None)
    if last is None or tenants[last].protected_s <= 0:
        return None
    return Refusal(code="held", reason="victim_protected", key=last, retry_in_s=tenants[last].protected_s)


def _out_of_turn(wish: Wish, scene: Scene, victims: Sequence[str], now_s: float) -> Refusal | None:
    """Refuse a load that would take the room for which another has waited longer."""
    book, rooms = scene.book, scene.rooms
    mine = Reservation(key=wish.key, shares=even_shares(wish.need_mb, wish.devices))
    for ticket in scene.tickets.ahead(wish.key, wish.devices, now_s):
        could = book.judge(ticket.need_mb, ticket.devices, rooms, without=ticket.victims)
        gone = {*ticket.victims, *victims}
        can = book.judge(ticket.need_mb, ticket.devices, rooms, without=gone, beside=(mine,))
        if isinstance(can, Infeasible) and not isinstance(could, Infeasible):
            retry_in_s = max(ASK_AGAIN_S, min(ticket.retry_s, ticket.gone_s) - now_s)
            return Refusal(code="held", reason="waits_its_turn", key=ticket.key, retry_in_s=retry_in_s)
    return None


def _busy(wish: Wish, scene: Scene, victims: Sequence[str], now_s: float) -> Refusal | None:
    for key in victims:
        if scene.tenants[key].in_flight:
            due_in_s = scene.tickets.due_in_s(wish.key, wish.devices, now_s)
            return Refusal(code="busy", reason="victim_busy", key=key, retry_in_s=ask_again_s(due_in_s))
    return None


def ask_again_s(due_in_s: float) -> float:
    """Return when a load should ask again that is due in so long."""
    return max(LEAST_S, min(ASK_AGAIN_S, due_in_s))
