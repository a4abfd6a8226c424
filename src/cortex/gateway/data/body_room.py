"""How much of all requests' bodies may be held at a time. Counts; holds nothing.

A share is given back when nothing refers to it any more: it lies beside the body that it stands for, and goes with it,
whichever of many ways the request ends.
"""


class BodyRoom:
    """The room of one gateway."""

    __slots__ = ("limit_bytes", "taken_bytes", "turned_away")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self.turned_away = 0
        """How many found no room."""


class BodyShare:
    """What one request holds."""

    __slots__ = ("_room", "size_bytes")

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.size_bytes = 0

    def grow(self, more_bytes: int) -> bool:
        """Take so much more; False: there is no room for it, and nothing is taken."""
        room = self._room
        if room.taken_bytes + more_bytes > room.limit_bytes:
            room.turned_away += 1
            return False
        room.taken_bytes += more_bytes
        self.size_bytes += more_bytes
        return True

    def __del__(self) -> None:
        self._room.taken_bytes -= self.size_bytes
