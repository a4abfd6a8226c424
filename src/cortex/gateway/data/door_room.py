"""How many connections a door has room for: in all, and from one address; and which that is. Closes nothing.

An IPv6 host has a whole /64 to itself, so that is what counts as one address.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable


class DoorRoom:
    """The room behind one door; 0: without limit. ``is_exempt``: addresses of which there may be any number.

    ``kept`` places are for those whom ``is_trusted`` names: however many strangers come, they cannot take them.
    """

    def __init__(
        self,
        most: int = 0,
        most_per_address: int = 0,
        is_exempt: Callable[[str], bool] | None = None,
        *,
        kept: int = 0,
        is_trusted: Callable[[str], bool] | None = None,
    ) -> None:
        self.turned_away = 0
        """How many found no room so far."""
        self.taken = 0
        self._most = most
        self._most_per_address = most_per_address
        self._is_exempt = is_exempt
        self._kept = kept
        self._is_trusted = is_trusted
        self._by_address: dict[str, int] = {}

    def limit(self, most: int, most_per_address: int) -> None:
        """Go by other limits; who is inside stays."""
        self._most = most
        self._most_per_address = most_per_address

    def enter(self, address: str) -> bool:
        """Take a place for a connection, which is given back with :meth:`leave`; False: there is none."""
        if self._most and self.taken >= self._most - self._kept and not self._has_kept_place(address):
            self.turned_away += 1
            return False
        if address:
            who, most = _counted_as(address), self._most_per_address
            count = self._by_address.get(who, 0)
            if most and count >= most and not (self._is_exempt is not None and self._is_exempt(address)):
                self.turned_away += 1
                return False
            self._by_address[who] = count + 1
        self.taken += 1
        return True

    def _has_kept_place(self, address: str) -> bool:
        return self.taken < self._most and (self._is_trusted is None or self._is_trusted(address))

    def leave(self, address: str) -> None:
        """Give back a place that was taken."""
        self.taken -= 1
        if address:
            who = _counted_as(address)
            count = self._by_address[who] - 1
            if count:
                self._by_address[who] = count
            else:
                del self._by_address[who]


def _counted_as(address: str) -> str:
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address.partition("%")[0])
    return str(ip.ipv4_mapped or int(ip) >> 64)


def peer_of(transport: asyncio.BaseTransport) -> str | None:
    """Return whence a connection comes; None when its client is gone already, and nobody can tell any more.

    uvloop asks only now, when a reset may have come after a whole request: that is no local socket, which all trust.
    """
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return str(peer[0])
    sock = transport.get_extra_info("socket")
    return "" if sock is not None and sock.family == socket.AF_UNIX else None
