"""What befalls a simulated fleet: processes that die and hang, hosts, networks, strangers, operators; how it mends."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from cortex.contract.instance import UnloadRequest
from cortex.contract.node import RestartRequest
from cortex.testing.fleet_gateway import SimulatedGateway
from cortex.testing.fleet_host import HARNESS, SimulatedEngine
from cortex.testing.fleet_neuron import NeuronProcess
from cortex.testing.fleet_referee import FleetReferee
from cortex.testing.fleet_store import ToyStore
from cortex.testing.fleet_supervisor import SimulatedSupervisor
from cortex.testing.fleet_wire import NodePlace
from cortex.testing.timeline import Timeline

FATES = (
    "kill neuron", "kill neuron", "hang neuron", "cut off", "kill host", "crash engine", "crash engine", "hang engine",
    "stranger", "stranger", "stranger", "pin", "pin", "unload", "force unload", "restart harness", "kill gateway",
    "kill gateway", "hang gateway", "store", "jump",
)  # fmt: skip
ELSEWHERE = ("kill gateway", "hang gateway", "store", "jump")
"""What befalls no node, but for what its clock says of the time of day."""
LONG_S = 15.0


class FleetFate:
    """Lets things happen. ``begin_neuron`` starts a process on a node; ``lose_calls`` ends what a gateway had."""

    def __init__(
        self,
        time: Timeline,
        dice: Random,
        nodes: dict[str, NodePlace],
        gateways: list[SimulatedGateway],
        store: ToyStore | None,
        referee: FleetReferee,
        begin_neuron: Callable[[NodePlace], None],
        lose_calls: Callable[[SimulatedGateway], None],
        fates: Sequence[str] = FATES,
    ) -> None:
        self._time = time
        self._dice = dice
        self._nodes = list(nodes.values())
        self._gateways = gateways
        self._store = store
        self._referee = referee
        self._begin_neuron = begin_neuron
        self._lose_calls = lose_calls
        self._fates = fates
        self._is_calm = False
        self.met = 0

    def meet(self) -> None:
        """Let one thing happen."""
        node, fate = self._dice.choice(self._nodes), self._dice.choice(self._fates)
        gateway = self._dice.choice(self._gateways)
        self._time.note(f"fate: {fate} ({node.name}, {gateway.name})")
        self.met += 1
        if fate not in ELSEWHERE:
            self._referee.befalls(node.name)
        if fate in ("kill gateway", "hang gateway"):
            self._befall_gateway(gateway, fate)
        elif fate == "store":
            self._lose_store()
        elif fate == "stranger":
            self._stranger(node)
        elif fate == "jump":
            node.host.clock.jumped_s += self._dice.uniform(-3600, 3600)
        elif fate == "cut off":
            self._cut_off(node, gateway)
        elif node.process is not None and fate in ("kill neuron", "kill host", "hang neuron"):
            self._befall_neuron(node, node.process, fate)
        elif node.process is not None and node.process.is_ready:
            self._befall_model(node.process, fate)

    def calm_down(self) -> None:
        """Mend everything; nothing befalls anybody any more."""
        self._is_calm = True
        for node in self._nodes:
            node.cut_from, node.is_dead = frozenset(), False
            node.host.strangers_mb = [0] * len(node.host.strangers_mb)
            if node.process is None:
                self._begin_neuron(node)
            else:
                node.process.supervisor.paused_until_s = min(node.process.supervisor.paused_until_s, self._time.at_s)
            self._end_hung(node)
            _end_maintenance(node)
            node.host.pins.clear()
            if node.process is not None and node.process.is_ready:
                for model in list(node.process.instances):
                    node.process.supervisor.pin(model, None)
        for gateway in self._gateways:
            gateway.paused_until_s = min(gateway.paused_until_s, self._time.at_s)
            if not gateway.is_alive:
                gateway.start()
        if self._store is not None:
            self._store.come_back()

    def forgive(self) -> None:
        """Forget that engines have crashed, as an operator does who has seen to it: else some rest for an hour."""
        for node in self._nodes:
            if node.process is not None and node.process.is_ready:
                supervisor = node.process.supervisor
                for model in [model for model in supervisor.instances if model not in supervisor.lives]:
                    supervisor.unload(UnloadRequest(model_id=model), lambda _: None)

    def maintain(self) -> None:
        """Take a node out of service for a while, as an operator does."""
        node = self._dice.choice(self._nodes)
        if node.process is not None and node.process.is_ready:
            self._time.note(f"maintenance of {node.name}")
            node.process.supervisor.maintain(True)
            self._later(self._dice.uniform(1, 2 * LONG_S), partial(_end_maintenance, node), f"{node.name} is back")

    def kill_neuron(self, node: NodePlace) -> None:
        """Kill a neuron process; its engines go on."""
        if node.process is not None:
            node.process.end()
            node.process = None
            self._referee.neuron_ends(node.name)

    def kill_gateway(self, gateway: SimulatedGateway) -> None:
        gateway.kill()
        self._lose_calls(gateway)
        self._referee.gateway_ends(gateway)

    def _later(self, delay_s: float, act: Callable[[], None], what: str) -> None:
        """Let something be mended by itself, unless everything was mended before."""
        self._time.later(delay_s, what, lambda: None if self._is_calm else act())

    def _befall_gateway(self, gateway: SimulatedGateway, fate: str) -> None:
        if not gateway.is_alive:
            return
        if fate == "hang gateway":
            gateway.paused_until_s = self._time.at_s + self._dice.uniform(0.5, LONG_S)
            return
        self.kill_gateway(gateway)
        absence_s = self._dice.uniform(0.1, self._dice.choice((1.0, LONG_S)))
        self._later(absence_s, lambda: None if gateway.is_alive else gateway.start(), f"{gateway.name} comes back")

    def _cut_off(self, node: NodePlace, gateway: SimulatedGateway) -> None:
        """Let one gateway not reach a neuron, or none of them."""
        is_all = self._dice.random() < 0.5
        node.cut_from = frozenset(one.name for one in self._gateways) if is_all else frozenset((gateway.name,))
        back = partial(setattr, node, "cut_from", frozenset())
        self._later(self._dice.uniform(1, 2 * LONG_S), back, f"{node.name} is back")

    def _lose_store(self) -> None:
        if self._store is not None and not self._store.is_down:
            self._store.fail()
            self._later(self._dice.uniform(1, LONG_S), self._store.come_back, "the store is back")

    def _befall_neuron(self, node: NodePlace, process: NeuronProcess, fate: str) -> None:
        if fate == "hang neuron":
            process.supervisor.paused_until_s = self._time.at_s + self._dice.uniform(0.5, LONG_S)
            return
        self.kill_neuron(node)
        if fate == "kill host":
            node.is_dead = True
            for engine in list(node.host.engines.values()):
                node.host.end(engine, is_forced=True, back_in_s=0.01, leaks_mb=0)
            node.host.leaked_mb = [0] * len(node.host.leaked_mb)
            node.host.strangers_mb = [0] * len(node.host.strangers_mb)
        absence_s = self._dice.uniform(0.2, self._dice.choice((2.0, LONG_S)))
        self._later(absence_s, lambda: self._revive(node), f"a neuron begins on {node.name}")

    def _revive(self, node: NodePlace) -> None:
        node.is_dead = False
        if node.process is None:
            self._begin_neuron(node)

    def _befall_model(self, process: NeuronProcess, fate: str) -> None:
        supervisor, dice = process.supervisor, self._dice
        engines = list(process.host.engines.values())
        if fate == "restart harness":
            supervisor.restart(HARNESS, RestartRequest(force=dice.random() < 0.5), lambda _: None)
        elif not engines:
            return
        elif fate == "crash engine":
            supervisor.crash(dice.choice(engines))
        elif fate == "crash busy engine":
            self._crash_busy(supervisor, engines)
        elif fate == "hang engine":
            engine = dice.choice(engines)
            engine.is_hung = engine.is_serving
            self._later(dice.uniform(1, LONG_S), lambda: self._unhang(process, engine), f"{engine.model} goes on")
        elif fate == "pin":
            model = dice.choice(engines).model
            supervisor.pin(model, dice.choice((True, True, None)))
            self._later(dice.uniform(1, LONG_S), lambda: supervisor.pin(model, None), f"{model} is free")
        else:
            model = dice.choice(engines).model
            request = UnloadRequest(model_id=model, wait=dice.random() < 0.5, force=fate == "force unload")
            supervisor.unload(request, lambda _: None)

    def _crash_busy(self, supervisor: SimulatedSupervisor, engines: Sequence[SimulatedEngine]) -> None:
        busy = [engine for engine in engines if engine.requests]
        if busy:
            supervisor.crash(self._dice.choice(busy))

    def _unhang(self, process: NeuronProcess, engine: object) -> None:
        """A hung engine is ended by whoever notices: it never answers what is in it."""
        for one in list(process.host.engines.values()):
            if one is engine:
                process.supervisor.crash(one)

    def _end_hung(self, node: NodePlace) -> None:
        for engine in [engine for engine in node.host.engines.values() if engine.is_hung]:
            if node.process is not None:
                node.process.supervisor.crash(engine)
            else:
                node.host.end(engine, is_forced=True, back_in_s=0.1, leaks_mb=0)

    def _stranger(self, node: NodePlace) -> None:
        """Let somebody take memory of a device, or give it back."""
        host = node.host
        device = self._dice.randrange(len(host.total_mb))
        free = host.readings()[device].vram_free_mb or 0
        has_some = host.strangers_mb[device] > 0 and self._dice.random() < 0.6
        host.strangers_mb[device] = (
            0 if has_some else host.strangers_mb[device] + int(free * self._dice.uniform(0, 0.9))
        )


def _end_maintenance(node: NodePlace) -> None:
    if node.process is not None:
        node.process.supervisor.maintain(False)
