"""What happened, as the dispatcher is told it: events, past tense. Made by ``gateway/control``; nothing here acts.

``asked_s`` is the moment (monotonic, the same clock as ``now_s``) at which the question behind a sample was sent: what
a neuron said before a fact was learnt cannot contradict that fact.
"""

import msgspec

from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.contract.node import Discovery, Health
from cortex.contract.profile import Profile
from cortex.fleet.effect import Target


class NodeDiscovered(msgspec.Struct, frozen=True):
    """A neuron told what its host is made of."""

    node: str
    discovery: Discovery


class NodeSampled(msgspec.Struct, frozen=True, kw_only=True):
    """A neuron told how it is and what models it has.

    ``start_id`` and ``event`` version ``models``; an older version than one already seen is dropped whole.
    """

    node: str
    health: Health
    models: tuple[InstanceReport, ...]
    asked_s: float
    start_id: str = ""
    event: int = 0


class NodeLost(msgspec.Struct, frozen=True):
    """A neuron does not answer any more."""

    node: str
    why: str


class CatalogueChanged(msgspec.Struct, frozen=True):
    """The catalogue was read anew; ``profiles`` is all of it."""

    profiles: tuple[Profile, ...]


class RequestArrived(msgspec.Struct, frozen=True, gc=False):
    """A request asks for a place at a model named by id or alias. ``avoid`` holds targets it has already tried."""

    ticket: int
    name: str
    avoid: tuple[Target, ...] = ()


class RequestFinished(msgspec.Struct, frozen=True, gc=False):
    """A request is over, or left while it was still waiting."""

    ticket: int


class EndpointFetched(msgspec.Struct, frozen=True, kw_only=True):
    """A neuron told where a loaded model is reached."""

    node: str
    model: str
    endpoint: EndpointAnswer
    asked_s: float


class EndpointFailed(msgspec.Struct, frozen=True):
    """A neuron would not or could not tell where a model is reached."""

    node: str
    model: str
    code: str
    message: str


class LoadSucceeded(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the dispatcher asked for is loaded and reached at ``endpoint``; ``report``: what was seen of it."""

    node: str
    model: str
    endpoint: EndpointAnswer
    asked_s: float
    parallel: int | None = None
    report: InstanceReport | None = None


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the dispatcher asked for could not be loaded: a stable code, a sentence, the engine's last words."""

    node: str
    model: str
    code: str
    message: str
    log_tail: tuple[str, ...] = ()


class TargetSuspected(msgspec.Struct, frozen=True):
    """A request could not be served by a target. ``why`` is ``unreachable``, ``gone`` or ``died``."""

    target: Target
    why: str


class Ticked(msgspec.Struct, frozen=True):
    """Time has passed while somebody waits."""


Event = (
    NodeDiscovered
    | NodeSampled
    | NodeLost
    | CatalogueChanged
    | RequestArrived
    | RequestFinished
    | EndpointFetched
    | EndpointFailed
    | LoadSucceeded
    | LoadFailed
    | TargetSuspected
    | Ticked
)
