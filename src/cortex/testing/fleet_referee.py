"""The referee of a simulated fleet: is told of everything that happens, and has each theme's rules look at it.

Each of the fifteen invariants has its number in the message of the failure. The thirteenth, quota, has nothing to
look at as long as gateways keep none.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cortex.contract.error import CortexError
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.fleet.effect import Effect, Grant, StartLoad
from cortex.residency.eviction import Admitted, Scene, Wish
from cortex.testing.fleet_host import SentRequest, SimulatedEngine
from cortex.testing.fleet_memory_rule import MemoryRule
from cortex.testing.fleet_plane_rule import PlaneRule
from cortex.testing.fleet_request_rule import RequestRule
from cortex.testing.fleet_retry_rule import RetryRule
from cortex.testing.fleet_store import ToyStore
from cortex.testing.fleet_verdict import Verdict
from cortex.testing.fleet_wait_rule import WaitRule
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_call import SimulatedCall
    from cortex.testing.fleet_gateway import SimulatedGateway
    from cortex.testing.fleet_life import Replied, SimulatedDeparture, SimulatedLife
    from cortex.testing.fleet_neuron import NeuronProcess, NodeTiming
    from cortex.testing.fleet_supervisor import SimulatedSupervisor
    from cortex.testing.fleet_wire import NodePlace


class FleetReferee:
    """Passes on what it is told."""

    def __init__(
        self,
        time: Timeline,
        nodes: dict[str, "NodePlace"],
        store: ToyStore | None,
        timing: "NodeTiming",
        *,
        patience_s: float,
        longest_request_s: float,
    ) -> None:
        self._time = time
        self._nodes = nodes
        self.verdict = Verdict(time.last)
        self.memory = MemoryRule(self.verdict, timing.headroom_mb)
        self.requests = RequestRule(self.verdict, time, nodes, patience_s=patience_s, ttl_s=timing.ttl_s)
        self.retries = RetryRule(self.verdict, time)
        self.wait = WaitRule(self.verdict, timing, longest_request_s)
        self.plane = PlaneRule(self.verdict, store, timing, longest_request_s)

    # Of a neuron

    def asks(self, supervisor: "SimulatedSupervisor", wish: Wish, scene: Scene) -> None:
        self.memory.asks(scene)

    def admits(self, supervisor: "SimulatedSupervisor", wish: Wish, admitted: Admitted, scene: Scene) -> None:
        self.memory.admits(supervisor, wish, admitted)
        self._time.note(f"{supervisor.name} admits {wish.key} on {wish.devices}, instead of {admitted.victims}")

    def loads(self, supervisor: "SimulatedSupervisor", life: "SimulatedLife") -> None:
        self._time.note(f"{supervisor.name} loads {life.key}, generation {life.launch.generation}")

    def starts(self, supervisor: "SimulatedSupervisor", engine: SimulatedEngine) -> None:
        self.memory.starts(supervisor, engine)

    def drains(self, supervisor: "SimulatedSupervisor", life: "SimulatedLife") -> None:
        self.plane.drains(supervisor, life, self._time.at_s)

    def drain_ended(self, supervisor: "SimulatedSupervisor", life: "SimulatedLife") -> None:
        self.plane.drain_ended(life)
        self.requests.serves_again(supervisor.name, life.key)

    def departs(
        self, supervisor: "SimulatedSupervisor", departure: "SimulatedDeparture", lives: Sequence["SimulatedLife"]
    ) -> None:
        for life in lives:
            self.plane.drain_ended(life)
        if departure.wanted:
            self.memory.departs(supervisor, departure.wanted, lives, self._time.at_s)
        names = ", ".join(life.key for life in lives)
        self._time.note(
            f"{supervisor.name} unloads {names} ({departure.drain.kind}) for {departure.wanted or 'nobody'}"
        )

    def stops(
        self,
        supervisor: "SimulatedSupervisor",
        engine: SimulatedEngine,
        inside: Iterable[SentRequest],
        *,
        is_forced: bool,
    ) -> None:
        self.requests.stops(supervisor.name, engine, inside, is_forced=is_forced)
        if is_forced:
            self.befalls(supervisor.name)

    def stopped_by(self, supervisor: "SimulatedSupervisor", engine: SimulatedEngine) -> None:
        """A neuron process stops an engine, which does not end by itself."""
        process = self._nodes[supervisor.name].process
        has_begun = process is None or process.supervisor is not supervisor or process.is_ready
        self.memory.stopped_by(supervisor, engine, has_begun=has_begun)

    def befalls(self, node: str) -> None:
        """Something befalls a node, or one of its engines."""
        self.wait.befalls(node, self._time.at_s)

    def restarts(self, supervisor: "SimulatedSupervisor", harness: str, is_done: bool) -> None:
        self._time.note(f"{supervisor.name} restarts its harness: {is_done}")
        if is_done:
            self.plane.restarted(supervisor.name, harness)

    def adopts(self, supervisor: "SimulatedSupervisor") -> None:
        self.memory.adopts(supervisor)

    def keeps_memory(self, supervisor: "SimulatedSupervisor", harness: str) -> None:
        self._time.note(f"{supervisor.name}: memory of {harness} is not back")
        self.plane.keeps_memory(supervisor.name, harness)

    def neuron_ends(self, node: str) -> None:
        self.memory.ends(node)
        self.requests.neuron_ends(node)

    # Of a gateway

    def news(self, gateway: "SimulatedGateway", node: str) -> None:
        """A gateway has taken in news of a node: what it goes by is never older than before."""
        desk = gateway.dispatcher.desk(node)
        self.requests.goes_by(gateway, node, desk.start_id, desk.event)

    def wants(self, gateway: "SimulatedGateway", effect: Effect) -> None:
        if not isinstance(effect, Grant):
            self._time.note(f"{gateway.name}: {effect!r}"[:200])

    def posts(self, gateway: "SimulatedGateway", node: "NodePlace", post: LeasePost) -> None:
        self.requests.has_leases = True

    def post_arrives(
        self, gateway: "SimulatedGateway", neuron: "NeuronProcess", post: LeasePost, replied: "Replied"
    ) -> None:
        """Let a neuron take a report in, and note which drains it acknowledges."""
        seen = neuron.leases.seen_by(post) if neuron.is_ready else -1
        process = gateway.process

        def told(answer: object) -> None:
            if isinstance(answer, LeaseAnswer):
                self.requests.heard(neuron.host.name, post.gateway_id)
                if seen >= 0:
                    self.requests.acknowledges(gateway, process, neuron, seen)
            replied(answer)

        neuron.post(post, told)

    def held(self, node: str, gateway: str) -> None:
        """A gateway has asked where a model is: that makes it a holder."""
        self.requests.heard(node, gateway)

    def load_asked(self, gateway: "SimulatedGateway", effect: StartLoad) -> None:
        self.plane.load_asked(gateway, effect, self._time.at_s)

    def move_begins(self, gateway: "SimulatedGateway", node: str) -> None:
        self.plane.move_begins(gateway, node, self._time.at_s)

    def move_ends(self, gateway: "SimulatedGateway", node: str) -> None:
        self.plane.move_ends(gateway, node)

    def unload_asked(self, gateway: "SimulatedGateway", node: str, model: str) -> None:
        self.plane.look(self._nodes.values(), self._time.at_s)
        self.plane.unload_asked(gateway, node, model, self._time.at_s)

    def load_landed(self, gateway: "SimulatedGateway", effect: StartLoad) -> None:
        self.plane.load_landed(effect)

    def gateway_ends(self, gateway: "SimulatedGateway") -> None:
        self.plane.gateway_ends(gateway.name)

    # Of a request

    def arrived(self, call: "SimulatedCall") -> None:
        self.requests.arrived(call)

    def granted(self, call: "SimulatedCall", grant: Grant) -> None:
        self._time.note(
            f"{call.gateway.name} grants request {call.wish.number}: {grant.target.model}@{grant.target.node}"
        )
        self.requests.granted(call, grant)
        self.wait.granted(call, self._time.at_s)

    def refused(self, call: "SimulatedCall", error: CortexError) -> None:
        self.requests.refused(call, error)

    def sent(self, request: SentRequest) -> None:
        self.requests.sent(request)

    def arrives(self, request: SentRequest, engine: SimulatedEngine | None) -> None:
        self.requests.arrives(request, engine)

    def serves(self, call: "SimulatedCall", sent: SentRequest, engine: SimulatedEngine) -> None:
        self.requests.serves(call, sent, engine)

    def goes_out(self, call: "SimulatedCall") -> None:
        self.retries.goes_out(call)

    def tries_again(self, call: "SimulatedCall") -> None:
        self.retries.tries_again(call)

    def poisoned(self, call: "SimulatedCall", node: str, engine: SimulatedEngine) -> None:
        self.retries.kills(call, node, engine)

    def ended(self, call: "SimulatedCall", end: str) -> None:
        self.requests.ended_as(call, end)
        self.retries.ended(call)
