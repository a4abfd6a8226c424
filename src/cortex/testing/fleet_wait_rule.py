"""Nobody who can be served waits longer than a load may wait and take (invariant 12), judged while things go wrong.

What is judged is who goes before everybody else: the oldest request of its model, while none at any gateway that wants
the same nodes is older or of a higher priority, none of its model was granted a place meanwhile, and nothing has
befallen any node that could hold the model. Then its load's ticket is the oldest, and due within ``max_wait_s``: its
victims end what they do, and it is loaded. Whatever befalls such a node, or any gateway, begins the time anew.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cortex.fleet.load_book import CAPACITY_CODES
from cortex.testing.fleet_verdict import Verdict

if TYPE_CHECKING:
    from cortex.testing.fleet_call import SimulatedCall
    from cortex.testing.fleet_gateway import SimulatedGateway
    from cortex.testing.fleet_neuron import NodeTiming
    from cortex.testing.fleet_wire import NodePlace

TALK_S = 10.0
"""What messages, polls, samples and memory that comes back take together, some of them lost."""


class Wanted(NamedTuple):
    """A model as those see it who wait for it: nodes that could hold it, how soon it is its turn, how long it loads."""

    nodes: frozenset[str]
    priority: int
    load_s: float
    is_feasible: bool


class WaitRule:
    """Keeps since when nothing speaks for those who let somebody wait. ``wanted``: the models, by id."""

    def __init__(self, verdict: Verdict, timing: "NodeTiming", longest_request_s: float) -> None:
        self._check = verdict.check
        self._bound_s = timing.max_wait_s + longest_request_s + TALK_S
        self.wanted: Mapping[str, Wanted] = {}
        self._befell_s: dict[str, float] = {}
        self._granted_s: dict[tuple[str, int, str], float] = {}
        self._behind_s: dict[tuple[str, int, str], float] = {}
        """When somebody else's turn was before a model's at a gateway."""
        self.judged = 0
        """Times at which somebody had waited for half as long as anybody may."""
        self.longest_s = 0.0

    def befalls(self, node: str, now_s: float) -> None:
        """Something befalls a node."""
        self._befell_s[node] = now_s

    def granted(self, call: "SimulatedCall", now_s: float) -> None:
        self._granted_s[(call.gateway.name, call.process, call.wish.model)] = now_s

    def look(
        self,
        calls: Iterable["SimulatedCall"],
        nodes: Iterable["NodePlace"],
        gateways: Iterable["SimulatedGateway"],
        now_s: float,
    ) -> None:
        """Check those whose turn it is, at this moment."""
        for node in nodes:
            if _is_ill(node, now_s):
                self._befell_s[node.name] = now_s
        waiting = _oldest(call for call in calls if call.is_waiting)
        if not waiting:
            return
        is_whole = all(gateway.is_alive and now_s >= gateway.paused_until_s for gateway in gateways)
        for (gateway, process, model), call in waiting.items():
            wanted = self.wanted.get(model)
            if wanted is None or not wanted.is_feasible:
                continue
            place = (gateway, process, model)
            is_first = is_whole and not self._is_behind(call, wanted, waiting.values())
            if not is_first or _has_failed(call):
                self._behind_s[place] = now_s
            self._judge(call, wanted, place, now_s)

    def _judge(self, call: "SimulatedCall", wanted: Wanted, place: tuple[str, int, str], now_s: float) -> None:
        since_s = max(
            call.asked_s,
            self._granted_s.get(place, 0.0),
            self._behind_s.get(place, 0.0),
            max(self._befell_s.get(node, 0.0) for node in wanted.nodes),
        )
        waited_s, bound_s = now_s - since_s, self._bound_s + wanted.load_s
        if waited_s > bound_s / 2:
            self.judged += 1
        self.longest_s = max(self.longest_s, waited_s)
        what = f"{call.wish.model} at {call.gateway.name}, before everybody else"
        words = f"request {call.wish.number} has waited {waited_s:.1f} s for {what}, and nothing has befallen its nodes"
        self._check(waited_s <= bound_s, 12, words)

    def _is_behind(self, call: "SimulatedCall", wanted: Wanted, others: Iterable["SimulatedCall"]) -> bool:
        for other in others:
            rival = self.wanted.get(other.wish.model)
            if other is call or rival is None or rival.nodes.isdisjoint(wanted.nodes):
                continue
            if rival.priority > wanted.priority or other.asked_s < call.asked_s:
                return True
        return False


def _oldest(calls: Iterable["SimulatedCall"]) -> dict[tuple[str, int, str], "SimulatedCall"]:
    """Return the oldest request of each model at each gateway process."""
    oldest: dict[tuple[str, int, str], SimulatedCall] = {}
    for call in calls:
        place = (call.gateway.name, call.process, call.wish.model)
        if place not in oldest or call.asked_s < oldest[place].asked_s:
            oldest[place] = call
    return oldest


def _is_ill(node: "NodePlace", now_s: float) -> bool:
    """Tell whether a node is not what a gateway may count on."""
    process, host = node.process, node.host
    if process is None or not process.is_ready or node.cut_from or node.is_dead:
        return True
    if now_s < process.supervisor.paused_until_s:
        return True
    has_guests = any(host.strangers_mb) or bool(host.pins)
    is_closed = process.supervisor.is_restarting or process.supervisor.maintenance.is_on
    return has_guests or is_closed or any(engine.is_hung for engine in host.engines.values())


def _has_failed(call: "SimulatedCall") -> bool:
    """Tell whether the gateway holds the model off a node where it has failed, other than for want of room."""
    gateway = call.gateway
    failures = gateway.dispatcher._floor.book.failures_of(call.wish.model, gateway.clock.now_s())
    return any(failure.code not in CAPACITY_CODES for failure in failures)
