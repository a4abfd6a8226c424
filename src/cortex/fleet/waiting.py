"""Requests that wait: what is remembered of each, and the room in which those of one model stand in their order."""

from collections import OrderedDict

from cortex.fleet.effect import Target


class Waiting:
    """One request without a place. ``is_cold``: a load was needed for it."""

    __slots__ = ("avoid", "is_cold", "name", "since_s", "ticket")

    def __init__(self, ticket: int, name: str, avoid: tuple[Target, ...], since_s: float) -> None:
        self.ticket = ticket
        self.name = name
        self.avoid = avoid
        self.since_s = since_s
        self.is_cold = False


Room = OrderedDict[int, Waiting]
"""By ticket, oldest first. An OrderedDict and not a dict: taking the first of a dict over and over is quadratic."""


def overdue(room: Room, now_s: float, bound_s: float) -> list[Waiting]:
    """Return those who have waited for ``bound_s`` or longer; rooms are in order of arrival, so few are read."""
    late = []
    for waiting in room.values():
        if now_s - waiting.since_s < bound_s:
            break
        late.append(waiting)
    return late
