"""The network of a simulated fleet: calls that are lost, late, doubled and overtaken, and processes that do not answer.

Every call ends exactly once for its caller: with an answer, or ``Missed``. What the other side did with it is another
matter, as on a real network.
"""

from collections.abc import Callable
from random import Random

import msgspec

from cortex.testing.fleet_host import SimulatedHost
from cortex.testing.fleet_life import Replied
from cortex.testing.fleet_neuron import NeuronProcess
from cortex.testing.timeline import Timeline


class FleetTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes wrong: chances between 0 and 1, drawn per occasion."""

    lost: float = 0.03
    doubled: float = 0.05
    longest_delay_s: float = 0.8
    fate: float = 0.5
    """Of something befalling a host, a neuron, a gateway or the store, every few seconds."""
    fates: tuple[str, ...] = ()
    """Which; none named: whatever can."""
    cancelled: float = 0.25
    load_fails: float = 0.1
    kept: float = 0.25
    """Of an engine's memory coming back so late that it counts as leaked."""
    stalled: float = 0.0
    """Of a client that stops reading in the middle of an answer too large for any buffer."""
    poisoned: float = 0.01
    maintained: float = 0.0
    """Of a node being taken out of service, likewise."""
    drift: float = 50e-6
    """Quartz; two hosts differ by twice that at the most."""

    @classmethod
    def none(cls) -> "FleetTrouble":
        """Return a fleet in which nothing goes wrong."""
        return cls(
            lost=0, doubled=0, longest_delay_s=0.02, fate=0, cancelled=0, load_fails=0, kept=0, poisoned=0, drift=0
        )  # fmt: skip


class Missed(msgspec.Struct, frozen=True):
    """Nobody answered. ``is_certain``: nobody listens there."""

    why: str
    is_certain: bool = False


class NodePlace:
    """One node of the fleet as others reach it: its host, and whichever neuron process runs there."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host
        self.name = host.name
        self.process: NeuronProcess | None = None
        self.lives = 0
        self.begun_s = 0.0
        """When the newest neuron process began."""
        self.cut_from: frozenset[str] = frozenset()
        """The gateways that cannot reach its neuron; its engines they can."""
        self.is_dead = False
        """The whole machine is gone, engines and all."""


class Wire:
    """Carries calls. ``is_calm`` tells whether nothing goes wrong any more."""

    def __init__(self, time: Timeline, dice: Random, trouble: FleetTrouble, is_calm: Callable[[], bool]) -> None:
        self._time = time
        self._dice = dice
        self._trouble = trouble
        self._is_calm = is_calm

    def happens(self, chance: float) -> bool:
        return not self._is_calm() and self._dice.random() < chance

    def delay_s(self) -> float:
        """Return how long a message takes: most are fast."""
        is_slow = not self._is_calm() and self._dice.random() < 0.15
        return self._dice.uniform(0.001, self._trouble.longest_delay_s if is_slow else 0.02)

    def call(
        self,
        who: str,
        node: NodePlace,
        what: str,
        ask: Callable[[NeuronProcess, Replied], None],
        done: Callable[[object], None],
        deadline_s: float,
    ) -> None:
        """Ask a neuron something; ``done`` is called once, with its answer or ``Missed``."""
        settled: list[None] = []

        def settle(outcome: object) -> None:
            if not settled:
                settled.append(None)
                done(outcome)

        def replied(answer: object) -> None:
            if not self.happens(self._trouble.lost) and who not in node.cut_from:
                self._time.later(self.delay_s(), f"answer: {what}", lambda: settle(answer))

        def arrive() -> None:
            process = node.process
            if who in node.cut_from or node.is_dead:
                return
            if process is None:
                refused = Missed("connection refused", is_certain=True)
                self._time.later(self.delay_s(), f"refused: {what}", lambda: settle(refused))
                return
            left_s = process.supervisor.paused_until_s - self._time.at_s
            if left_s > 0:
                self._time.later(left_s, what, arrive)
            else:
                ask(process, replied)

        if not self.happens(self._trouble.lost):
            self._time.later(self.delay_s(), what, arrive)
        if self.happens(self._trouble.doubled):
            self._time.later(self.delay_s(), f"{what}, again", arrive)
        self._time.later(deadline_s, "", lambda: settle(Missed("no answer")))
