"""Plays recorded arrivals on a simulated fleet: the gateway's own dispatcher against neurons' own decisions.

One gateway, the daemons' default times, nothing goes wrong. Engines load as long as the fleet's description says, and
work on each request as long as the trace says, however many they have. While all are at rest time is skipped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.testing.fleet_call import SimulatedCall, Wish
from cortex.testing.fleet_gateway import GatewayTiming, SimulatedGateway
from cortex.testing.fleet_host import HostClock, Nature, SentRequest, SimulatedHost
from cortex.testing.fleet_neuron import NeuronProcess, NodeTiming
from cortex.testing.fleet_referee import FleetReferee
from cortex.testing.fleet_wire import FleetTrouble, NodePlace, Wire
from cortex.testing.replay_fleet import ReplayFleet, ReplayNode
from cortex.testing.replay_rest import STEP_S, SteadyDice, is_kept, is_still, rest_s, to_skip_s
from cortex.testing.replay_trace import Arrival
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_life import SimulatedDeparture, SimulatedLife
    from cortex.testing.fleet_supervisor import SimulatedSupervisor

LEAD_S = 20.0
"""The fleet is up before the first request comes; what a steward keeps is loaded by then, however slowly."""
PARALLEL = 4
"""Requests at a time of a model whose profile does not say."""
LONGEST_REST_S = 7200.0
POLL = GatewayTiming(poll_s=10.0, discovery_s=60.0)
NEURON = NodeTiming(
    ttl_s=40.0, settle_s=10.0, sample_s=5.0, grace_s=5.0, max_wait_s=120.0, drain_s=300.0, headroom_mb=512
)
"""As the daemons have them where nobody says otherwise."""

MakeDispatcher = Callable[[Iterable[str], Sequence[Profile], Policy, float], Dispatcher]


class Refusals(msgspec.Struct, frozen=True):
    """Requests that were refused with one code, and in which words the first of them."""

    count: int
    first: str


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a trace. ``waits_s``: from arrival to a place, of those that got one, in no order."""

    requests: int
    served: int
    refused: int
    failed: int
    cold_starts: int
    """Requests that had to wait for a load."""
    loads: dict[str, int]
    """By node."""
    evictions: int
    idle_unloads: int
    waits_s: tuple[float, ...]
    by_model: dict[str, int]
    """Requests that had to wait for a load, by model."""
    refusals: dict[str, Refusals]
    """By code."""

    def wait_s(self, share: float) -> float:
        """Return how long that share of the requests waited at the most; 0 when nobody was served."""
        waits = sorted(self.waits_s)
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else 0.0


class ReplayWitness(FleetReferee):
    """Counts, and looks at memory and evictions as in any simulation; requests are not kept."""

    def __init__(self, time: Timeline, nodes: dict[str, NodePlace], headroom_mb: int) -> None:
        timing = NEURON._replace(headroom_mb=headroom_mb)
        super().__init__(time, nodes, None, timing, patience_s=1e9, longest_request_s=1e9)
        self.loaded: Counter[str] = Counter()
        self.idle_unloads = 0

    def loads(self, supervisor: "SimulatedSupervisor", life: "SimulatedLife") -> None:
        self.loaded[supervisor.name] += 1

    def departs(
        self, supervisor: "SimulatedSupervisor", departure: "SimulatedDeparture", lives: Sequence["SimulatedLife"]
    ) -> None:
        self.idle_unloads += 0 if departure.wanted else len(lives)
        super().departs(supervisor, departure, lives)

    def sent(self, request: SentRequest) -> None:
        """Not kept."""


def make_dispatcher(nodes: Iterable[str], profiles: Sequence[Profile], policy: Policy, started_s: float) -> Dispatcher:
    """Return the gateway's own dispatcher."""
    return Dispatcher(nodes, profiles, policy=policy, started_s=started_s)


class Replay:
    """One trace on one fleet."""

    def __init__(
        self,
        fleet: ReplayFleet,
        profiles: Sequence[Profile],
        arrivals: Sequence[Arrival],
        *,
        policy: Policy | None = None,
        make: MakeDispatcher = make_dispatcher,
        skips: bool = True,
    ) -> None:
        """``skips``: do not play the time in which all are at rest; what comes out is the same."""
        self._skips = skips
        self._time = Timeline()
        self._dice = SteadyDice(0)
        self._arrivals = arrivals
        self._profiles = tuple(profiles)
        self._ids = {name: profile.id for profile in profiles for name in (profile.id, *profile.aliases)}
        self._natures = {
            profile.id: Nature(
                actual_share=1.0,
                load_s=fleet.load_s_of(profile.id, profile.vram_mb or 0),
                spread=0.0,
                parallel=profile.parallel or PARALLEL,
            )
            for profile in profiles
        }
        self._rest_s = rest_s(profiles)
        kept = (self._natures[one.id].load_s * max(1, one.min_replicas) for one in profiles if is_kept(one))
        self._lead_s = LEAD_S + sum(kept)
        harnesses = tuple(dict.fromkeys(profile.harness for profile in profiles))
        self._nodes = {node.name: self._place(node, harnesses) for node in fleet.nodes}
        self._headroom_mb = {node.name: node.headroom_mb for node in fleet.nodes}
        self._witness = ReplayWitness(self._time, self._nodes, min(self._headroom_mb.values(), default=0))
        wire = Wire(self._time, self._dice, FleetTrouble.none(), lambda: True)
        self._gateway = SimulatedGateway(
            "replay", self._time, self._dice, self._clock(), wire, self._nodes, None,
            lambda gateway: make(self._nodes, self._profiles, policy or Policy(), gateway.clock.now_s()),
            self._witness, POLL,
        )  # fmt: skip
        self._open = 0
        self._ended_s = 0.0
        """When the last request ended."""
        self._ended: Counter[str] = Counter()
        self._cold: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._words: dict[str, str] = {}
        """Of the first refusal with each code."""
        self._waits_s: list[float] = []

    def run(self) -> ReplayResult:
        """Play the trace to its end."""
        for node in self._nodes.values():
            node.process = NeuronProcess(
                node.host, self._time, self._dice, NEURON._replace(headroom_mb=self._headroom_mb[node.name]),
                self._natures, self._witness, 1,
            )  # fmt: skip
        self._time.later(1.0, "the gateway begins", self._gateway.start)
        self._expect(0)
        last_s = self._lead_s + (self._arrivals[-1].at_s if self._arrivals else 0.0)
        while (self._open or self._time.at_s <= last_s) and self._time.has_more(last_s + LONGEST_REST_S):
            self._time.step()
        return self._result()

    def _expect(self, number: int) -> None:
        """Let the next request come in its time; one at a time, so that a long trace fills no memory."""
        if number >= len(self._arrivals):
            return
        left_s = self._left_s(number)
        if self._skips and left_s >= 2 * self._rest_s + STEP_S:
            self._time.later(self._rest_s, "", partial(self._rest, number))
        else:
            self._time.later(left_s, "", partial(self._arrive, number))

    def _rest(self, number: int) -> None:
        """Skip what is left until the next request, if all have been at rest for long enough."""
        is_at_rest = not self._open and self._time.at_s - self._ended_s >= self._rest_s
        if is_at_rest and is_still(self._nodes.values()):
            self._time.skip(to_skip_s(self._left_s(number), self._rest_s))
            self._time.later(self._left_s(number), "", partial(self._arrive, number))
        else:
            self._expect(number)

    def _left_s(self, number: int) -> float:
        return max(0.0, self._lead_s + self._arrivals[number].at_s - self._time.at_s)

    def _arrive(self, number: int) -> None:
        arrival = self._arrivals[number]
        model = self._ids.get(arrival.model, arrival.model)
        wish = Wish(
            number,
            arrival.model,
            model,
            takes_s=max(0.01, arrival.duration_s),
            caller=arrival.caller,
            tokens=arrival.tokens,
            is_feasible=False,
        )
        self._open += 1
        SimulatedCall(wish, self._gateway, self._nodes, self._time, self._dice, self._witness, self._over).begin()
        self._expect(number + 1)

    def _over(self, call: SimulatedCall) -> None:
        self._open -= 1
        self._ended_s = self._time.at_s
        self._ended[call.end] += 1
        self._cold[call.wish.model] += call.is_cold
        if call.end == "refused" and call.error is not None:
            self._refused[call.error.code] += 1
            self._words.setdefault(call.error.code, call.error.message)
        if call.granted_s is not None:
            self._waits_s.append(call.granted_s - call.since_s)

    def _result(self) -> ReplayResult:
        return ReplayResult(
            requests=len(self._arrivals),
            served=self._ended["served"],
            refused=self._ended["refused"],
            failed=self._ended.total() - self._ended["served"] - self._ended["refused"] + self._open,
            cold_starts=self._cold.total(),
            loads={name: self._witness.loaded[name] for name in self._nodes},
            evictions=self._witness.memory.evictions,
            idle_unloads=self._witness.idle_unloads,
            waits_s=tuple(self._waits_s),
            by_model={model: count for model, count in self._cold.items() if count},
            refusals={code: Refusals(count, self._words[code]) for code, count in self._refused.items()},
        )

    def _place(self, node: ReplayNode, harnesses: Sequence[str]) -> NodePlace:
        return NodePlace(SimulatedHost(node.name, self._time, self._clock(), node.devices_mb, harnesses))

    def _clock(self) -> HostClock:
        return HostClock(self._time, 0.0, 0.0)
