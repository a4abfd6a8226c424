"""What happened, as the dispatcher is told it: events, past tense. Made by ``gateway/control``; nothing here acts.

``asked_s`` is the moment (monotonic, the same clock as ``now_s``) at which the question behind a sample was sent: what
a neuron said before a fact was learnt cannot contradict that fact.
"""

import msgspec

from cortex.contract.event import NodeChange
from cortex.contract.instance import EndpointAnswer, InstanceReport
from cortex.contract.lease import LeaseAnswer, LeasePost
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


class PollDue(msgspec.Struct, frozen=True):
    """It is time to report to a neuron again, and to hear from it."""

    node: str


class LeasesAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """A neuron answered a report. ``sent_s``: when it was sent; leases are trusted from then on."""

    node: str
    post: LeasePost
    answer: LeaseAnswer
    sent_s: float


class LeasesRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A neuron would not take a report; ``known_seq``: the newest number that it has of this gateway, where it said."""

    node: str
    code: str
    message: str
    known_seq: int | None = None


class NodeMissed(msgspec.Struct, frozen=True):
    """A neuron could not be asked. ``is_certain``: nobody listens there; else it may only be busy.

    ``is_discovery``: it was asked what its host is made of, and not by a report.
    """

    node: str
    why: str
    is_certain: bool = False
    is_discovery: bool = False


class NodeChanged(msgspec.Struct, frozen=True):
    """A neuron told a change on its event stream; ``is_snapshot``: all that there is."""

    node: str
    change: NodeChange
    is_snapshot: bool = False


class CatalogueChanged(msgspec.Struct, frozen=True):
    """The catalogue was read anew; ``profiles`` is all of it."""

    profiles: tuple[Profile, ...]


class RequestArrived(msgspec.Struct, frozen=True, gc=False):
    """A request asks for a place at a model named by id or alias. ``avoid`` holds targets it has already tried.

    ``caller``: whose fair share it takes; ``tokens``: about how much work it is; ``head``: how its conversation begins,
    or what names it, for going where that was before; ``patience_s``: how long it can wait, None: as long as the policy
    says; ``priority``: of the caller, added to the model's own; ``no_load_s``: for so long no load may be begun for it,
    None: one may.
    """

    ticket: int
    name: str
    avoid: tuple[Target, ...] = ()
    caller: str = ""
    tokens: int = 0
    head: bytes = b""
    patience_s: float | None = None
    priority: int = 0
    no_load_s: float | None = None


class RequestFinished(msgspec.Struct, frozen=True, gc=False):
    """A request is over, or left while it was still waiting. ``is_cancelled``: its engine may be at it still."""

    ticket: int
    is_cancelled: bool = False


class RequestAnswered(msgspec.Struct, frozen=True, gc=False):
    """The engine has begun to answer a request that was granted as a probe."""

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
    """A model that the dispatcher asked for could not be loaded: a stable code, a sentence, the engine's last words.

    ``retry_in_s``: when to ask again, where the neuron said; ``need_mb``: what it takes the model to need, likewise.
    """

    node: str
    model: str
    code: str
    message: str
    log_tail: tuple[str, ...] = ()
    retry_in_s: float | None = None
    need_mb: int | None = None


class LoadDeferred(msgspec.Struct, frozen=True, kw_only=True):
    """A load was not asked for: another gateway, ``holder``, has claimed the model and loads it on ``target``."""

    node: str
    model: str
    target: str
    holder: str
    retry_in_s: float


class LoadWanted(msgspec.Struct, frozen=True, kw_only=True):
    """An operator wants a model loaded; ``node`` None: where it fits best."""

    model: str
    node: str | None = None


class UnloadFinished(msgspec.Struct, frozen=True, kw_only=True):
    """An unload that the dispatcher asked for is over; ``code`` empty: it is unloaded."""

    node: str
    model: str
    code: str = ""
    message: str = ""


class RestartFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A restart of a harness that the dispatcher asked for is over; ``code`` empty: it was restarted."""

    node: str
    harness: str
    code: str = ""
    message: str = ""


class StewardChanged(msgspec.Struct, frozen=True):
    """This gateway is the steward now, or not any more. ``number``: its fencing number, None without a store."""

    is_steward: bool
    number: int | None = None


class TargetSuspected(msgspec.Struct, frozen=True):
    """A request could not be served by a target. ``why``: see ``gateway.ports.Suspicion``."""

    target: Target
    why: str


class Ticked(msgspec.Struct, frozen=True):
    """Time has passed while somebody waits."""


Event = (
    NodeDiscovered
    | NodeSampled
    | NodeLost
    | PollDue
    | LeasesAnswered
    | LeasesRefused
    | NodeMissed
    | NodeChanged
    | CatalogueChanged
    | RequestArrived
    | RequestFinished
    | RequestAnswered
    | EndpointFetched
    | EndpointFailed
    | LoadSucceeded
    | LoadFailed
    | LoadDeferred
    | LoadWanted
    | UnloadFinished
    | RestartFinished
    | StewardChanged
    | TargetSuspected
    | Ticked
)
