"""What a steward goes by and what it may say: its rules, the fleet as its gateway knows it, and advice.

Advice is a wish of one tick. Whoever carries it out may drop it: what still seems right comes again with a later tick.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from cortex.contract.instance import Victim
from cortex.contract.profile import Profile
from cortex.fleet.placement import Placement
from cortex.fleet.view import NodeView

AdviceKind = Literal["load", "unload", "restart"]


class StewardRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a steward keeps the fleet; spans are seconds."""

    scale_after_s: float = 30.0
    """Requests must have waited for so long, at every look, before a model gets one more replica."""
    scale_idle_s: float = 300.0
    """A replica that is not needed must have been idle for so long before it goes."""
    defrag_after_cycles: int = 50
    """0: never for the number of cycles alone."""
    defrag_idle_s: float = 60.0
    """What cannot be had elsewhere meanwhile must have been idle for so long."""
    lost_after_s: float = 30.0
    """A node must have been silent for so long before what it had is replaced: a neuron's restart takes less."""


class ModelStand(msgspec.Struct, frozen=True, kw_only=True):
    """One model as this gateway uses it: who waits, and by node what is in flight and for how long nothing was."""

    id: str
    profile: Profile | None = None
    waiting: int = 0
    in_flight: Mapping[str, int] = {}
    idle_s: Mapping[str, float] = {}


class StewardView(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment. Pairs are (node, model) or (node, harness)."""

    nodes: tuple[NodeView, ...]
    models: tuple[ModelStand, ...]
    loading: frozenset[tuple[str, str]] = frozenset()
    """Loads that this gateway has asked for and that are not answered yet."""
    unloading: frozenset[tuple[str, str]] = frozenset()
    restarting: frozenset[tuple[str, str]] = frozenset()
    held: frozenset[tuple[str, str]] = frozenset()
    """Pairs that have failed lately and are not to be tried yet."""
    is_settled: bool = True
    """Every node was asked once, or was given long enough."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do, and why, in a clause that an operator understands.

    A load has its ``placement``, and in ``evict`` who may go for it: the neuron takes no more than it needs. A restart
    names the ``cycles`` that it acts on.
    """

    kind: AdviceKind
    node: str
    reason: str
    model: str = ""
    harness: str = ""
    cycles: int | None = None
    placement: Placement | None = None
    evict: tuple[Victim, ...] = ()
    leaves: str = ""
    """The node from which the model is moved by this load."""
