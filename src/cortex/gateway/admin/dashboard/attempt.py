"""How often an address may try to sign in: pure, of bounded memory.

After ``FREE`` failures it has to wait, twice as long after each further one. Keys cannot be guessed; this keeps whoever
tries from costing much, and from filling the log.
"""

from collections import OrderedDict
from ipaddress import ip_address
from math import ceil

FREE = 5
FIRST_WAIT_S = 2.0
MAX_WAIT_S = 900.0
FORGET_S = 1800.0
MAX_REMEMBERED = 1024


class Attempts:
    """The failures of each address. Of IPv6 the network counts: one host has 2**64 addresses."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Return for how long this address may not try, 0 when it may."""
        count, last_s = self._failures.get(_group(address), (0, 0.0))
        if count < FREE or now_s - last_s >= FORGET_S:
            return 0.0
        wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** min(count - FREE, 16))
        return float(max(0, ceil(last_s + wait_s - now_s)))

    def failed(self, address: str, now_s: float) -> None:
        """Note a failure."""
        group = _group(address)
        count, last_s = self._failures.get(group, (0, 0.0))
        self._failures[group] = (1 if now_s - last_s >= FORGET_S else count + 1, now_s)
        self._failures.move_to_end(group)
        if len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget what was."""
        self._failures.pop(_group(address), None)


def _group(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if found.version == 6:
        mapped = found.ipv4_mapped
        return str(mapped) if mapped is not None else found.exploded[:19]
    return str(found)
