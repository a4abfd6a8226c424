"""Keeps the order in which loads wait that were refused for now: one ticket per model and set of devices, oldest first.

A ticket is drawn with the first refusal and kept by asking again, when one was told to and every half minute at the
least; who does not has left the queue: nobody waits for a caller that is gone. Who is late only keeps its place, and
holds up nobody until it asks again: it may have been served on another node meanwhile.
One that has waited ``max_wait_s`` is due: its victims get no new requests, and it is served when theirs are over.
"""

from collections.abc import Iterable, Sequence

import msgspec

ABSENCE_S = 20.0
"""How much later than it was told to a load may ask again and keep its place; two polls of a gateway."""
LATE_S = 5.0
"""How much later it may ask and still hold up those behind it: so long it may be asking another node."""
SILENCE_S = 35.0
"""How long it may be silent at the most, however late it was told to ask again."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One load that waits, as it asked last."""

    key: str
    devices: tuple[int, ...]
    need_mb: int
    victims: tuple[str, ...]
    since_s: float
    retry_s: float
    """When it was told to ask again."""
    gone_s: float
    """When it has left the queue, if it has not."""

    def overlaps(self, devices: Iterable[int]) -> bool:
        """Tell whether it waits for any of these devices."""
        return not set(self.devices).isdisjoint(devices)


class TicketBook:
    """The tickets of one node, in the order in which they were drawn."""

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._tickets: dict[tuple[str, tuple[int, ...]], Ticket] = {}

    def draw(
        self, key: str, devices: Sequence[int], need_mb: int, victims: Sequence[str], *, retry_in_s: float, now_s: float
    ) -> Ticket:
        """Give a load its ticket; one that has it already keeps its place."""
        self._forget_absent(now_s)
        place = _place(key, devices)
        held = self._tickets.get(place)
        ticket = self._tickets[place] = Ticket(
            key=key,
            devices=place[1],
            need_mb=need_mb,
            victims=tuple(victims),
            since_s=now_s if held is None else held.since_s,
            retry_s=now_s + retry_in_s,
            gone_s=now_s + min(retry_in_s + ABSENCE_S, SILENCE_S),
        )
        return ticket

    def close(self, key: str) -> None:
        """Forget every ticket of a model: it is served."""
        self._tickets = {place: ticket for place, ticket in self._tickets.items() if place[0] != key}

    def ahead(self, key: str, devices: Sequence[int], now_s: float) -> tuple[Ticket, ...]:
        """Return the tickets of other models for any of these devices that are older than this load's, oldest first.

        A load without a ticket comes last. Those are left out that are late.
        """
        self._forget_absent(now_s)
        mine = self._tickets.get(_place(key, devices))
        ahead = []
        for ticket in self._tickets.values():
            if ticket is mine:
                break
            if ticket.key != key and ticket.overlaps(devices) and now_s <= ticket.retry_s + LATE_S:
                ahead.append(ticket)
        return tuple(ahead)

    def due_in_s(self, key: str, devices: Sequence[int], now_s: float) -> float:
        """Return when a load will have waited as long as any may; 0 when it has."""
        self._forget_absent(now_s)
        held = self._tickets.get(_place(key, devices))
        since_s = now_s if held is None else held.since_s
        return max(0.0, since_s + self._max_wait_s - now_s)

    def waiting(self, now_s: float) -> tuple[Ticket, ...]:
        """Return all tickets, oldest first."""
        self._forget_absent(now_s)
        return tuple(self._tickets.values())

    def _forget_absent(self, now_s: float) -> None:
        absent = [place for place, ticket in self._tickets.items() if now_s > ticket.gone_s]
        for place in absent:
            del self._tickets[place]


def _place(key: str, devices: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    return key, tuple(sorted(devices))
