"""What a neuron tells of its host: ``GET /discovery`` (what there is) and ``GET /health`` (how it is now).

The fields of the first block of each struct are fixed by the mission; the others may grow. Field order is wire order.
"""

from typing import Literal

import msgspec

DeviceKind = Literal["cuda", "rocm", "xpu", "cpu", "mig"]
Spread = Literal["layers", "tensors", "none"]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU, or the CPU with its RAM (always the last index)."""

    index: int
    name: str
    vram_total_mb: int
    compute_capability: str | None = None
    kind: DeviceKind = "cuda"
    uuid: str | None = None
    numa: int | None = None
    unified: bool = False
    """Its memory is the host's RAM."""


class HarnessDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one configured harness entry can be used on this node, and if not, why."""

    name: str
    kind: str
    usable: bool
    why_not: str | None = None
    version: str | None = None
    engine_cuda: str | None = None
    engine_capability: str | None = None
    """The compute capability of GPUs that it was built for, ``"8.9"``, or ``"12.0a"`` for just that one; None: nobody
    knows, or for several."""
    device_kinds: tuple[DeviceKind, ...] | None = None
    """The kinds of devices that its engines can use; none: they need no device. None: an older neuron, nobody knows."""
    is_shared: bool = False
    """Its models go into one server, and so onto the devices that ``GET /models`` says of an unloaded one."""
    spread: Spread | None = None
    """How a model lies on several devices: some layers on each, a part of every layer on each (then their number must
    divide what the model is made of), or not at all. None: nobody knows."""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET /discovery``. ``harnesses`` lists the names of the usable entries."""

    hostname: str
    os: str
    kernel: str
    cuda_version: str | None = None
    driver_version: str | None = None
    devices: tuple[Device, ...] = ()
    harnesses: tuple[str, ...] = ()
    cuda_driver_version: str | None = None
    harness_details: tuple[HarnessDetail, ...] = ()
    headroom_mb: int = 0
    start_id: str = ""
    event: int = 0
    neuron_version: str = ""
    troubles: tuple[str, ...] = ()
    """Why there may be more devices than are listed."""
    labels: dict[str, str] = {}
    """What its operator says of it; models may ask for some of them."""
    evict_grace_s: float | None = None
    """How long the answer to a load with victims may take; of this and the two below None: an older neuron."""
    max_wait_s: float | None = None
    """After so long a load that waits for busy victims is due."""
    drain_timeout_s: float | None = None
    """How long an unload or a restart waits for requests that run."""


class DeviceReading(msgspec.Struct, frozen=True, kw_only=True):
    """One device at the moment of the sample. What a probe cannot tell is None, never 0."""

    index: int
    vram_used_mb: int | None = None
    vram_free_mb: int | None = None
    utilization_pct: float | None = None
    temp_c: float | None = None
    power_w: float | None = None
    strangers_mb: int | None = None
    reserved_mb: int = 0
    sample_age_s: float | None = None
    recovery_action: str | None = None
    trouble: str | None = None
    """Why nothing newer is known of it."""


class HarnessHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One harness entry now. ``cycles`` counts unloads since the engine was last restarted."""

    name: str
    kind: str
    healthy: bool
    cycles: int = 0
    leaking_cycles: int = 0
    restart_due: bool = False


class RestartRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of ``POST /harnesses/{name}/restart``. ``cycles`` is the count it acts on; None: whatever it is."""

    cycles: int | None = None
    force: bool = False
    """Cut what still runs after the drain limit."""
    steward: int | None = None


class RestartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a 200 from it: all its models are unloaded, its server was restarted, its count begins again."""

    status: Literal["restarted"]
    cycles: int = 0


class MaintenanceRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Body of ``POST /maintenance``: whether nothing new is to be loaded on this node from now on."""

    on: bool
    steward: int | None = None


class MaintenanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a 200 from it."""

    maintenance: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET /health``: the cached sample, ``sample_age_s`` seconds old."""

    uptime_secs: float
    devices: tuple[DeviceReading, ...] = ()
    sample_age_s: float = 0.0
    harnesses: tuple[HarnessHealth, ...] = ()
    start_id: str = ""
    event: int = 0
    stale: bool = False
    """The sample is too old to say what is now."""
    maintenance: bool = False
    """Nothing new is loaded here until an operator says so."""
