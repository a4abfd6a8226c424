"""``POST /leases`` of a neuron: what a gateway reports on the instances that it uses, and what it is told in return.

A post is a whole report: an instance that is not in it has nothing of this gateway's in flight or waiting. The answer
holds what the gateway has not seen yet; where nothing has changed it is a few hundred bytes, however much is loaded.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cortex.contract.instance import InstanceReport
from cortex.contract.node import DeviceReading, HarnessHealth

MAX_LEASES = 256
"""Instances that one post may report on; a node has far fewer."""

GatewayId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}$(?!\n)")]
"""The ``gateway_id`` of ``cortex.toml``: up to 128 characters, none of them a control character."""
DOUBLE_GATEWAY = "double_gateway"
"""The code of the refusal for a process whose name another one has taken over since."""
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Span = Annotated[float, Meta(ge=0, le=1e9)]
"""Seconds that have passed; only durations cross hosts."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway's report on one instance, fenced by its generation."""

    model_id: Annotated[str, Meta(min_length=1, max_length=1024)]
    generation: Number
    in_flight: Count
    """Requests that it has under way there."""
    waiting: Count = 0
    """Requests that wait for a slot there."""
    oldest_wait_s: Span = 0.0
    idle_s: Span | None = None
    """Since its last request there."""
    cancelled: Number | None = None
    """Requests there that it has cancelled so far; None: any that ended may have been."""
    slots: Count = 0
    """The slots it goes by, none once its lease has ended; a neuron that has just started has forgotten them."""


class LeasePost(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /leases``; unknown fields are passed over, so that gateways may be newer than neurons."""

    gateway_id: GatewayId
    process: Annotated[str, Meta(max_length=64)] = ""
    """Drawn at its start: tells a gateway that was started anew from two that have one name."""
    gateway_version: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,64}$(?!\n)")] = ""
    """Of cortex; empty: a gateway that does not say it."""
    seq: Number
    """Grows with every post of this gateway: what comes late and out of order is dropped whole."""
    start_id: str = ""
    """Of the neuron; empty until the first post of this gateway process has been answered."""
    seen_event: Number = 0
    """The newest version of the neuron that the gateway has seen, by answer or by event."""
    leases: Annotated[tuple[Lease, ...], Meta(max_length=MAX_LEASES)] = ()
    leaving: bool = False
    """The gateway goes: what it holds is released."""

    def __post_init__(self) -> None:
        seen: set[tuple[str, int]] = set()
        for lease in self.leases:
            key = (lease.model_id, lease.generation)
            if key in seen:
                raise ValueError(f"leases: generation {lease.generation} of {lease.model_id} is there twice")
            seen.add(key)


class SlotGrant(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests the gateway may have in one instance at a time; fewer than it has: running ones finish."""

    model_id: str
    generation: int
    slots: int


class SlotChange(msgspec.Struct, frozen=True, kw_only=True):
    """The same on the event stream, which every gateway reads."""

    gateway_id: str
    model_id: str
    generation: int
    slots: int


class InstanceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance does, by its engine's own count: for all gateways together."""

    model_id: str
    in_flight: int
    idle_s: float | None
    waiting: int = 0
    """Requests that wait for a slot there."""
    age_s: float | None = None
    """How old the count is; None: its engine does not count."""


class SampledDevice(DeviceReading, frozen=True, kw_only=True, omit_defaults=True):
    """A device as ``GET /health`` has it, without what it does not tell."""


class HealthSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The devices at the newest sample, ``age_s`` seconds old."""

    age_s: float
    devices: tuple[SampledDevice, ...] = ()
    stale: bool = False
    """It is too old to say what is now."""


class LeaseAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a 200 from it. What is empty is left out."""

    start_id: str
    event: int
    ttl_s: float
    """The leases end so long after the post was received."""
    cancel_settle_s: float
    """A cancelled request may occupy its slot for so long, where the engine's own count does not drop before."""
    health: HealthSample
    snapshot: bool = False
    """Everything is here; what is not in ``models`` is not on the node."""
    models: tuple[InstanceReport, ...] = ()
    """Those that have changed since ``seen_event``."""
    gone: tuple[str, ...] = ()
    harnesses: tuple[HarnessHealth, ...] = ()
    """Those that have changed since."""
    slots: tuple[SlotGrant, ...] = ()
    """Those of this gateway that have changed since."""
    in_use: tuple[InstanceUse, ...] = ()
    """Instances that have worked within the last ``ttl_s``; an idle one only gets older."""
    maintenance: bool = False
    """Nothing new is loaded here now."""
