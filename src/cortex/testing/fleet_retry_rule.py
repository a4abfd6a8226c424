"""The rules of what is sent more than once in a simulated fleet, with books of their own (invariant 15).

Retries are a share of what was asked for; and of one body two instances die at the most. Both hold for each gateway
process: gateways do not tell each other, and a process that ends forgets.
"""

from collections import deque
from typing import TYPE_CHECKING

from cortex.fleet.poison import FORGOTTEN_S, MAX_DEATHS
from cortex.fleet.retry_budget import SHARE, WINDOW_S
from cortex.testing.fleet_host import SimulatedEngine
from cortex.testing.fleet_verdict import Verdict
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_call import SimulatedCall

COUNTED_S = 3 * WINDOW_S
"""So far back requests may count: two windows of the budget, and the pause that may lie between them."""
DRIFT_S = 0.1
"""More than two clocks come apart within that time."""

Process = tuple[str, int]


class RetryRule:
    """Keeps what was sent lately, by gateway process."""

    def __init__(self, verdict: Verdict, time: Timeline) -> None:
        self._check = verdict.check
        self._time = time
        self._sent_s: dict[tuple[Process, str], deque[float]] = {}
        self._again_s: dict[tuple[Process, str], deque[float]] = {}
        self._killed: dict[tuple[Process, bytes], dict[tuple[str, int], float]] = {}
        self._out: set[int] = set()
        """Calls of which something was sent."""
        self.retries = 0
        self.bans = 0

    def goes_out(self, call: "SimulatedCall") -> None:
        """A request is sent; the first time it counts."""
        if id(call) not in self._out:
            self._out.add(id(call))
            self._lately(self._sent_s, call, COUNTED_S + DRIFT_S).append(self._time.at_s)

    def tries_again(self, call: "SimulatedCall") -> None:
        """A request that was sent and lost asks for another place."""
        self.retries += 1
        again = self._lately(self._again_s, call, WINDOW_S - DRIFT_S)
        again.append(self._time.at_s)
        asked = len(self._lately(self._sent_s, call, COUNTED_S + DRIFT_S))
        limit = call.gateway.retry_floor + SHARE * asked
        words = f"{call.gateway.name} has sent {len(again)} requests for {call.wish.model} again, of {asked}"
        self._check(len(again) < limit + 1, 15, words)

    def kills(self, call: "SimulatedCall", node: str, engine: SimulatedEngine) -> None:
        """An engine dies of a request; what was long ago may be forgotten."""
        now_s = self._time.at_s
        dead = self._killed.setdefault(((call.gateway.name, call.process), call.wish.body), {})
        if dead and now_s - max(dead.values()) >= FORGOTTEN_S:
            dead.clear()
        dead[(node, engine.generation)] = now_s
        words = f"request {call.wish.number} takes down {len(dead)} engines, by {call.gateway.name}: {sorted(dead)}"
        self._check(len(dead) <= MAX_DEATHS, 15, words)

    def ended(self, call: "SimulatedCall") -> None:
        self._out.discard(id(call))
        self.bans += call.error is not None and call.error.code == "poison_request"

    def _lately(
        self, book: dict[tuple[Process, str], deque[float]], call: "SimulatedCall", within_s: float
    ) -> deque[float]:
        times = book.setdefault(((call.gateway.name, call.process), call.wish.model), deque())
        while times and times[0] < self._time.at_s - within_s:
            times.popleft()
        return times
