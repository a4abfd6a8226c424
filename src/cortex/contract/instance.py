"""What a neuron tells of its models and what it is asked to do with them.

``GET /models``, ``POST /models/load``, ``POST /models/unload``, ``POST /models/pin``, ``GET /models/{id}/endpoint``.
"""

from typing import Literal

import msgspec

InstanceStatus = Literal["unloaded", "loading", "loaded", "draining", "unloading", "failed"]
"""States of an instance, in the order of one life; ``failed`` can follow any of them."""

BEST_FIRST: tuple[InstanceStatus, ...] = ("loaded", "loading", "draining", "unloading", "unloaded", "failed")
"""Of a model with several instances the best one's state is the model's."""

UnloadReason = Literal["request", "eviction", "idle", "pressure", "restart"]
"""Why an instance leaves. request: somebody asked for that, or the neuron is being stopped; eviction: for a load; idle:
as its load said; pressure: of strangers on its devices; restart: of its harness."""

START_ID_HEADER = "x-cortex-start-id"
EVENT_HEADER = "x-cortex-event"
"""Every answer of a neuron carries its ``start_id`` and ``event`` number in these headers: ``/models`` is a list."""


class InstanceError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an instance failed: a stable code, a sentence, and the engine's own last words."""

    code: str
    message: str
    log_tail: tuple[str, ...] = ()


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``GET /models``; one instance per model id per node."""

    id: str
    harness: str
    status: InstanceStatus
    devices: tuple[int, ...] = ()
    vram_used_mb: int | None = None
    generation: int = 0
    kind: str = ""
    declared_mb: int | None = None
    in_flight: int = 0
    idle_s: float | None = None
    error: InstanceError | None = None
    progress: float | None = None
    port: int | None = None
    pinned: bool = False
    parallel: int | None = None
    load_s: float | None = None
    restarts: int = 0
    protected_s: float = 0.0
    """For how long it will not be evicted yet."""
    silent_s: float | None = None
    revision: str | None = None
    """As its load said it."""
    waiting: int = 0
    """Requests that wait for a slot there, in all gateways by their last reports."""
    unload_reason: UnloadReason | None = None
    """Of one that is leaving or has left, where this neuron process knows it."""


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """One instance that a load asks to be evicted first, fenced by its generation."""

    model_id: str
    generation: int


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of ``POST /models/load``. The neuron needs no catalogue: everything it must know is here."""

    model_id: str
    harness: str
    quant: str | None = None
    tensor_parallel: int | None = None
    devices: tuple[int, ...] | None = None
    vram_mb: int | None = None
    source: str | None = None
    args: tuple[str, ...] = ()
    context: int | None = None
    parallel: int | None = None
    mmproj: str | None = None
    images_workflow: str | None = None
    idle_unload_s: float | None = None
    min_residency_s: float | None = None
    pinned: bool = False
    revision: str | None = None
    """Of the catalogue entry that it was made from; kept and reported, so that a changed entry is noticed."""
    evict: tuple[Victim, ...] = ()
    basis_event: int | None = None
    basis_start_id: str | None = None
    steward: int | None = None
    """The fencing number of a caller that acts as steward; the same in the calls below."""


class LoadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a 200 from ``POST /models/load``. ``estimated_mb`` is set when no ``vram_mb`` was given."""

    status: Literal["loaded", "loading"]
    generation: int = 0
    estimated_mb: int | None = None


class UnloadRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of ``POST /models/unload``. ``force`` cuts running requests after the drain limit."""

    model_id: str
    wait: bool = True
    force: bool = False
    steward: int | None = None


class UnloadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``unloaded`` when the memory was seen free; ``draining`` (202) with ``wait: false``."""

    status: Literal["unloaded", "draining"]


RELAY_PREFIX = "/relay/"
"""Of the paths under which a neuron relays requests to engines itself."""


class PinRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /models/pin``. It outlives loads and restarts; None: as the model's load says."""

    model_id: str
    pinned: bool | None


class PinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a 200 from it: whether the model is pinned now."""

    pinned: bool


class EndpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET /models/{id}/endpoint``.

    ``url`` is the base before ``/v1/…``, unique to ``generation`` where the engine allows a fence (0: a server that
    runs by itself); ``engine_model`` is the name the engine answers to; ``slots`` are the asking gateway's.
    """

    url: str
    generation: int = 0
    engine_model: str = ""
    credential: str | None = None
    slots: int | None = None
    kind: str = ""
    """Of its harness; empty from a neuron that does not say it."""
    context: int | None = None
    """How many tokens one request may have there, where that is known."""


class NeuronErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Inside of a neuron's error answer ``{"error": {...}}``."""

    code: str
    message: str
    details: dict[str, object] = {}


class NeuronErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every error answer of a neuron."""

    error: NeuronErrorBody
