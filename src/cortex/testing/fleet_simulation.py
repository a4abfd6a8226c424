"""A whole fleet in one heap of (time, event): gateways, neurons, engines, devices, clients, a store and a network.

Seeded: the same seed is the same run. Both sides decide with the very objects that the daemons drive: the gateways'
dispatcher and the neurons' books, leases, drains, evictions. After every step the rules of ``fleet_referee`` are
checked; after ``CALM_S`` nothing goes wrong any more, everybody who comes is served, and everything comes to rest.

``python -m cortex.testing.fleet_simulation --seed N --trace`` plays one seed again and prints what happens.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec

from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Dispatcher, Policy
from cortex.fleet.retry_budget import FLOOR
from cortex.fleet.stewardship import StewardRules
from cortex.testing.fleet_call import CLIENT_STALL_S, SimulatedCall, Wish
from cortex.testing.fleet_fate import FATES, FleetFate
from cortex.testing.fleet_gateway import GatewayTiming, SimulatedGateway
from cortex.testing.fleet_host import HostClock, SimulatedHost
from cortex.testing.fleet_neuron import NeuronProcess, NodeTiming
from cortex.testing.fleet_referee import FleetReferee
from cortex.testing.fleet_request_rule import process_name
from cortex.testing.fleet_scene import LONGEST_REQUEST_S, draw_scene, draw_wish
from cortex.testing.fleet_store import ToyStore
from cortex.testing.fleet_wait_rule import Wanted
from cortex.testing.fleet_wire import FleetTrouble, NodePlace, Wire
from cortex.testing.referee import SimulationFailure
from cortex.testing.timeline import Timeline

MakeDispatcher = Callable[..., Dispatcher]

CALM_S = 60.0
GIVEN_BACK_S = 45.0
"""What is kept from then on would be missing in the calm."""
RETURN_S = 85.0
"""Leases of the bad times have ended by then; whoever comes from now on is served, now or when told to come again."""
ARRIVALS_END_S = 100.0
COME_AGAIN_S = 200.0
AGAIN_S = 2.0
"""In so long a client tries again what has failed."""
END_S = 290.0
FATE_S = 2.5
LOOK_S = 0.5
PATIENCE_S = 60.0
RULES = StewardRules(scale_after_s=4.0, scale_idle_s=15.0, defrag_after_cycles=5, defrag_idle_s=5.0, lost_after_s=10.0)
"""A steward that is in a hurry: replicas come and go, and harnesses are restarted, within one run."""
PATIENT = msgspec.structs.replace(RULES, defrag_idle_s=16.0)
"""One whose picture of what is idle can be checked, though it is some seconds old."""
SERVICE = FleetTrouble(maintained=0.3)
"""Nodes are taken out of service."""


class FleetOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounted to; ``trace`` is equal for equal seeds."""

    seed: int
    nodes: int
    gateways: int
    models: int
    steps: int
    requests: int
    ended: dict[str, int]
    sends: int
    retries: int
    """Requests that were sent and lost, and sent to another place."""
    bans: int
    """Requests that were not sent, because instances had died of them."""
    loads: int
    evictions: int
    drains: int
    unloads: int
    """That stewards asked for."""
    leaks: int
    """Unloads whose memory did not come back in time."""
    mended: int
    """Restarts of harnesses that had kept memory."""
    orphans: int
    steps_aside: int
    """Of gateways at nodes where another one had their name."""
    fates: int
    trace: int


class FleetSimulation:
    """One run."""

    def __init__(
        self,
        seed: int,
        *,
        trouble: FleetTrouble | None = None,
        make_dispatcher: MakeDispatcher = Dispatcher,
        nodes: int | None = None,
        gateways: int | None = None,
        requests: int | None = None,
        remembered: int | None = None,
        rules: StewardRules = RULES,
        retry_floor: int = FLOOR,
        are_doubles: bool = False,
    ) -> None:
        self._seed = seed
        self._are_doubles = are_doubles
        """All gateways have been given one and the same ``gateway_id``."""
        self._rules = rules
        self._retry_floor = retry_floor
        self._dice = dice = Random(seed)
        self._trouble = trouble or FleetTrouble()
        self.time = Timeline() if remembered is None else Timeline(remembered)
        self.scene = draw_scene(dice, self._trouble, nodes=nodes, gateways=gateways)
        self._make_dispatcher = make_dispatcher
        self._requests = requests if requests is not None else 30 + 10 * len(self.scene.cards_mb)
        self._timing = NodeTiming()
        self._gateway_timing = GatewayTiming()
        self._wire = Wire(self.time, dice, self._trouble, lambda: self.is_calm)
        self.nodes = {name: self._node(name, cards) for name, cards in self.scene.cards_mb.items()}
        self.store = ToyStore(self.time) if self.scene.gateways > 1 else None
        self.referee = FleetReferee(
            self.time,
            self.nodes,
            self.store,
            self._timing,
            patience_s=PATIENCE_S,
            longest_request_s=LONGEST_REQUEST_S + (CLIENT_STALL_S if self._trouble.stalled else 0.0),
        )
        self.referee.plane.idle_s = rules.defrag_idle_s
        self.referee.plane.many = frozenset(profile.id for profile in self.scene.profiles if profile.min_replicas > 1)
        self.referee.wait.wanted = {profile.id: self._wanted(profile) for profile in self.scene.profiles}
        self.gateways = [self._gateway(f"g{index}") for index in range(self.scene.gateways)]
        self.calls: list[SimulatedCall] = []
        self._fate = FleetFate(
            self.time,
            dice,
            self.nodes,
            self.gateways,
            self.store,
            self.referee,
            self.begin_neuron,
            self._lose_calls,
            self._trouble.fates or FATES,
        )

    @property
    def is_calm(self) -> bool:
        return self.time.at_s >= CALM_S

    def run(self) -> FleetOutcome:
        """Play until everything is over; raise SimulationFailure when a rule is broken."""
        self.begin()
        while self.time.has_more(END_S):
            self.step()
        self.referee.requests.rest()
        self.referee.plane.rest(self.nodes.values(), self.gateways)
        return self._outcome()

    def begin(self) -> None:
        """Draw what is going to happen."""
        for node in self.nodes.values():
            self.time.later(
                self._dice.uniform(0, 1), f"a neuron begins on {node.name}", partial(self.begin_neuron, node)
            )
        for gateway in self.gateways:
            self.time.later(self._dice.uniform(0, 2), f"{gateway.name} begins", gateway.start)
        for number in range(self._requests):
            at_s = self._dice.uniform(0.5, CALM_S) if number % 6 else self._dice.uniform(RETURN_S, ARRIVALS_END_S)
            self.time.later(at_s, f"client {number} comes", partial(self._arrive, number))
        self.time.repeat(FATE_S, self._meet_fate)
        self.time.repeat(LOOK_S, self._look)
        self.time.later(GIVEN_BACK_S, "memory comes back in time", self._give_back)
        self.time.later(CALM_S, "calm", self._calm_down)
        self.time.later(RETURN_S, "crashes are forgiven", self._fate.forgive)

    def step(self) -> None:
        """Let the next thing happen, and check what must hold after it."""
        self.time.step()
        self.referee.requests.compare(self.gateways)

    def begin_neuron(self, node: NodePlace) -> None:
        """Begin a neuron process where there is none."""
        if node.process is None:
            node.lives += 1
            node.begun_s = self.time.at_s
            node.process = NeuronProcess(
                node.host, self.time, self._dice, self._timing, self.scene.natures, self.referee, node.lives
            )

    def _outcome(self) -> FleetOutcome:
        referee = self.referee
        return FleetOutcome(
            seed=self._seed,
            nodes=len(self.nodes),
            gateways=len(self.gateways),
            models=len(self.scene.profiles),
            steps=self.time.steps,
            requests=self._requests,
            ended=referee.requests.ended,
            sends=referee.requests.sends,
            retries=referee.retries.retries,
            bans=referee.retries.bans,
            loads=referee.plane.loads,
            evictions=referee.memory.evictions,
            drains=referee.plane.drained,
            unloads=referee.plane.unloads,
            leaks=referee.plane.leaks,
            mended=referee.plane.mended,
            orphans=referee.requests.orphans,
            steps_aside=sum(gateway.steps_aside for gateway in self.gateways),
            fates=self._fate.met,
            trace=self.time.trace,
        )

    def _node(self, name: str, cards_mb: tuple[int, ...]) -> NodePlace:
        return NodePlace(SimulatedHost(name, self.time, self._clock(), cards_mb))

    def _gateway(self, name: str) -> SimulatedGateway:
        return SimulatedGateway(
            name,
            self.time,
            self._dice,
            self._clock(),
            self._wire,
            self.nodes,
            self.store,
            self._dispatcher,
            self.referee,
            self._gateway_timing,
            self._retry_floor,
            gateway_id="g" if self._are_doubles else name,
        )

    def _wanted(self, profile: Profile) -> Wanted:
        nature = self.scene.natures[profile.id]
        return Wanted(
            nodes=self.scene.holders(profile),
            priority=profile.queue_priority,
            load_s=nature.load_s * (1 + nature.spread),
            is_feasible=profile.id in self.scene.feasible,
        )

    def _clock(self) -> HostClock:
        drift = self._trouble.drift
        return HostClock(self.time, self._dice.uniform(0, 1e5), self._dice.uniform(-drift, drift))

    def _dispatcher(self, gateway: SimulatedGateway) -> Dispatcher:
        policy = Policy(load_timeout_s=PATIENCE_S, settle_s=5.0, rules=self._rules)
        now_s = gateway.clock.now_s()
        made = self._make_dispatcher(
            self.nodes, self.scene.profiles, policy=policy, started_s=now_s, gateway_id=gateway.gateway_id
        )
        for node in self.nodes:
            made.desk(node).process = process_name(gateway.name, gateway.process)
        return made

    def _arrive(self, number: int) -> None:
        is_calm = self.time.at_s >= RETURN_S
        wish = draw_wish(self._dice, self.scene, number, self._trouble, is_calm=is_calm)
        self._come(wish)

    def _come(self, wish: Wish) -> None:
        gateway = self._dice.choice(self.gateways)
        if gateway.is_alive and self.time.at_s >= gateway.paused_until_s:
            call = SimulatedCall(wish, gateway, self.nodes, self.time, self._dice, self.referee, self._over)
            self.calls.append(call)
            call.begin()

    def _over(self, call: SimulatedCall) -> None:
        """A client that got no answer comes again; one that came in the calm must get one at once, or be told when."""
        self.calls.remove(call)
        wish, pause_s = call.wish, self._comes_again_in_s(call)
        if pause_s is not None:
            self.time.later(pause_s, f"client {wish.number} comes again", partial(self._come, wish))
        elif call.since_s >= RETURN_S and wish.is_feasible and not self._was_told_to_come(call):
            words = f"request {wish.number} for {wish.model} came in the calm, and was {call.end}: {call.error}"
            self.referee.verdict.check(call.end in ("served", "unread"), 12, words)

    def _was_told_to_come(self, call: SimulatedCall) -> bool:
        return call.error is not None and call.error.retryable and self.time.at_s < COME_AGAIN_S

    def _comes_again_in_s(self, call: SimulatedCall) -> float | None:
        """Return when a client comes again; None: it does not. Clients' libraries try what has failed twice."""
        wish, is_bad_time = call.wish, self.time.at_s < CALM_S - AGAIN_S
        if call.end == "failed" and not call.has_content and is_bad_time:
            return self._dice.uniform(0.5, AGAIN_S)
        if wish.is_poisoned or not (wish.is_feasible and self._was_told_to_come(call)):
            return None
        told = call.error.details.get("retry_in_s") if call.error is not None else None
        pause_s = max(1.0, float(told)) if isinstance(told, int | float) else 3.0
        is_willing = call.since_s >= RETURN_S or (pause_s < 10 and self._dice.random() < 0.5)
        return pause_s if is_willing else None

    def _lose_calls(self, gateway: SimulatedGateway) -> None:
        for call in [call for call in self.calls if call.gateway is gateway]:
            call.break_off()

    def _meet_fate(self) -> None:
        if not self.is_calm and self._dice.random() < self._trouble.fate:
            self._fate.meet()
        if not self.is_calm and self._trouble.maintained and self._dice.random() < self._trouble.maintained:
            self._fate.maintain()

    def _give_back(self) -> None:
        for model, nature in self.scene.natures.items():
            self.scene.natures[model] = nature._replace(keeps=0.0)

    def _calm_down(self) -> None:
        """Mend everything: from now on loads succeed as well, and nobody sends what engines die of."""
        for model, nature in self.scene.natures.items():
            self.scene.natures[model] = nature._replace(fails=0.0)
        for call in [call for call in self.calls if call.wish.is_poisoned]:
            call.leave()
        self._fate.calm_down()

    def _look(self) -> None:
        """Check what takes time."""
        now_s = self.time.at_s
        paused = {gateway.name for gateway in self.gateways if now_s < gateway.paused_until_s + LOOK_S}
        self.referee.requests.late(now_s, paused)
        self.referee.requests.overdue(self.nodes.values())
        self.referee.wait.look(self.calls, self.nodes.values(), self.gateways, now_s)
        self.referee.plane.look(self.nodes.values(), now_s)
        self.referee.plane.overdue(now_s, CALM_S, self._gateway_timing.poll_s)
        for gateway in self.gateways:
            if gateway.is_alive:
                self.referee.plane.compare(gateway)


def main(arguments: list[str] | None = None) -> int:
    """Play one seed, or many; return 1 when a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m cortex.testing.fleet_simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--service", action="store_true", help="nodes are taken out of service, too")
    options = parser.parse_args(arguments)
    how: dict[str, Any] = {"trouble": SERVICE, "rules": PATIENT} if options.service else {}
    for seed in range(options.seed, options.seed + options.count):
        simulation = FleetSimulation(seed, remembered=1_000_000 if options.trace else None, **how)
        failure = ""
        try:
            said = str(simulation.run())
        except SimulationFailure as error:
            failure = said = f"seed {seed}: {error}"
        if options.trace:
            print("\n".join(simulation.time.last))
        print(said)
        if failure:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
