"""What the admin API of a gateway (``/admin/v1/…``) takes and answers. Data only; field order is wire order.

Amounts of memory are MiB, ``epoch_s`` is UTC epoch seconds, everything else in ``_s`` is a duration. What nobody knows
is null, never 0. The docstrings are the descriptions of the OpenAPI document.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cortex.contract.instance import InstanceError

Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Number = Annotated[int, Meta(ge=0)]
Limit = Annotated[int, Meta(ge=1, le=1000)]


class DeviceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a node with its last reading."""

    index: int
    name: str
    kind: str
    vram_total_mb: int
    vram_used_mb: int | None = None
    vram_free_mb: int | None = None
    strangers_mb: int | None = None
    """In use by processes that are no engines of the node's neuron."""
    reserved_mb: int = 0
    """Promised to loads under way."""
    utilization_pct: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    trouble: str | None = None
    """Why nothing newer is known of it."""


class HarnessEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One harness entry of a node."""

    name: str
    kind: str
    usable: bool
    why_not: str | None = None
    version: str | None = None
    healthy: bool | None = None
    cycles: int | None = None
    """Unloads since its engines were last restarted."""
    restart_due: bool | None = None


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One configured node as this gateway last heard of it."""

    name: str
    healthy: bool
    why: str
    """Why it is not healthy."""
    maintenance: bool
    """Nothing new is placed there."""
    hostname: str | None
    os: str | None
    driver_version: str | None
    neuron_version: str | None
    headroom_mb: int | None
    sample_age_s: float | None
    loaded: tuple[str, ...]
    """Ids of the models that are loaded there."""
    in_flight: int
    """Requests of this gateway."""
    devices: tuple[DeviceEntry, ...] = ()
    harnesses: tuple[HarnessEntry, ...] = ()
    troubles: tuple[str, ...] = ()


class NodeList(msgspec.Struct, frozen=True):
    """All configured nodes, in configured order."""

    nodes: tuple[NodeEntry, ...]


class InstanceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one node: what the neuron says of it, and what this gateway does there."""

    model: str
    node: str
    status: str
    """unloaded, loading, loaded, draining, unloading or failed."""
    ready: bool
    """This gateway sends requests there."""
    devices: tuple[int, ...]
    harness: str
    generation: int
    pinned: bool
    vram_used_mb: int | None
    declared_mb: int | None
    in_flight: int
    """Requests of this gateway."""
    parallel: int | None
    """Requests at a time; null: nobody knows of a bound."""
    slots: int | None
    """Those of them that this gateway may have now; null: nobody else has any."""
    idle_s: float | None
    protected_s: float
    """For so long nobody evicts it."""
    progress: float | None = None
    load_s: float | None = None
    error: InstanceError | None = None


class InstanceList(msgspec.Struct, frozen=True):
    """Every model that a node has or had lately, by model and node."""

    instances: tuple[InstanceEntry, ...]


class HoldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node where the model is not tried for a while, because it failed there."""

    node: str
    code: str
    message: str
    failures_in_a_row: int
    retry_in_s: float
    log_tail: tuple[str, ...] = ()


class LoadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A load that this gateway waits for."""

    node: str
    for_s: float
    progress: float | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model that the fleet knows, from the catalogue or found on a node."""

    id: str
    aliases: tuple[str, ...]
    in_catalogue: bool
    status: str
    """The best one of its instances."""
    nodes: tuple[str, ...]
    """Where it is loaded."""
    in_flight: int
    waiting: int
    """Requests of this gateway that have no place yet."""
    harness: str
    quant: str | None
    vram_mb: int | None
    context: int | None
    priority: int
    preload: bool
    min_replicas: int
    max_replicas: int | None
    pinned_on: tuple[str, ...]
    loading: tuple[LoadEntry, ...] = ()
    held: tuple[HoldEntry, ...] = ()


class ModelList(msgspec.Struct, frozen=True):
    """All models, by id."""

    models: tuple[ModelEntry, ...]


class WaiterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One request that waits, in the order in which they are served."""

    position: int
    caller: str
    waited_s: float


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits for a model."""

    model: str
    waiting: int
    oldest_wait_s: float
    by_caller: dict[str, int]
    requests: tuple[WaiterEntry, ...]
    """The first ones."""


class QueueList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model for which somebody waits, longest wait first; ``waiting`` counts also those for unknown names."""

    waiting: int
    queues: tuple[QueueEntry, ...]


class DecisionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with its reason. ``count``: how many alike it stands for, itself included."""

    number: int
    epoch_s: float
    kind: str
    model: str
    node: str
    caller: str
    reason: str
    count: int
    details: dict[str, object]


class DecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log, oldest first. ``next`` is what to give as ``since`` the next time.

    ``gap``: some of those asked for are not kept any more, or were another process's.
    """

    decisions: tuple[DecisionEntry, ...]
    newest: int
    next: int
    gap: bool


class CallerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller's requests have cost the fleet since this gateway started. ``caller`` empty: nobody's request."""

    caller: str
    loads: int
    failures: int
    evictions: int
    loading_s: float
    """Seconds that devices have spent loading for it."""
    cold_starts: int


class CallerList(msgspec.Struct, frozen=True):
    """Callers, the dearest first."""

    callers: tuple[CallerEntry, ...]


class LoadCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Load a model, by id or alias; without ``node`` where it fits best. ``wait``: answer when it is loaded."""

    model: Name
    node: Name | None = None
    wait: bool = False


class LoadOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """``loaded``, ``loading`` or ``waiting`` (for room, or for its turn); ``node`` null: not chosen yet."""

    model: str
    node: str | None
    status: str
    reason: str = ""


class UnloadCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unload a model from a node. ``force`` cuts what still runs after the node's drain limit."""

    model: Name
    node: Name
    force: bool = False
    wait: bool = False


class UnloadOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """``unloaded`` once the memory is seen free; ``draining`` for a call that does not wait."""

    model: str
    node: str
    status: str


class PinCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pin a model on a node, or unpin it; null: as the catalogue says."""

    model: Name
    node: Name
    pinned: bool | None


class PinOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is pinned now."""

    model: str
    node: str
    pinned: bool


class DrainCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing needs to be said; the body may be empty."""


class DrainOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whether nothing new is placed there now."""

    node: str
    maintenance: bool


class DecisionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``since``: the last number seen; without it the newest are answered. The others narrow it down; ``model`` is an
    id or an alias."""

    since: Number | None = None
    limit: Limit = 100
    model: Name | None = None
    node: Name | None = None
    kind: str | None = None


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``model`` by id or alias. The others are tried instead of what the catalogue says; with ``harness`` also for a
    model that it does not have."""

    model: Name
    harness: str | None = None
    vram_mb: Annotated[int, Meta(ge=1)] | None = None
    min_devices: Number | None = None
    min_device_vram_mb: Number | None = None
    priority: int | None = None


class PlanQuery(ExplainQuery, frozen=True, kw_only=True):
    """As above; ``node``: only there."""

    node: Name | None = None


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """``since``: the id of the last event seen, as in the header ``Last-Event-ID``."""

    since: str | None = None


class FleetChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is otherwise than before; of a ``snapshot`` everything. ``gone``: (model, node) that are no more."""

    nodes: tuple[NodeEntry, ...] = ()
    instances: tuple[InstanceEntry, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()


class EventGap(msgspec.Struct, frozen=True, kw_only=True):
    """What came after ``since`` is not kept any more; a ``snapshot`` follows."""

    since: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A stable code for programs, a sentence for people, the facts."""

    code: str
    message: str
    details: dict[str, object] = {}


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every error answer of this API."""

    error: ErrorBody
