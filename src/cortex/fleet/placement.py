"""Where a profile can run: which nodes, on which of their devices, best first, and why not on the others.

A forecast from the last samples; the neuron decides. For one node, in this order:

1. the harness: an entry of that name, else one of that kind;
2. the devices: accelerators; the CPU counts as one only where there is no accelerator; ``min_devices`` = 0 needs none;
3. the floor: ``min_device_vram_mb`` against each device's whole memory;
4. the share: ``vram_mb`` split evenly over exactly the chosen devices, as few as will hold it, the emptiest first;
5. the node's health, asked last, so that a reason says whether the node could ever serve.

Unknown memory is not zero: a device that cannot tell stays eligible, ranked behind those that fit and before those that
do not. Ranked: has it already > pinned > fits free memory > most free > rendezvous by name.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cortex.contract.node import Device, Discovery
from cortex.contract.profile import Profile
from cortex.fleet.view import NodeView

RejectionCode = Literal["not_discovered", "no_harness", "too_few_devices", "devices_too_small", "too_big", "unhealthy"]

PASSING: frozenset[RejectionCode] = frozenset({"not_discovered", "unhealthy"})
"""Rejections that may be gone a moment later; the others last until the hardware or the catalogue changes."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A node and the devices on it where a profile can run. ``devices`` None: the neuron chooses.

    ``has_it``: the node has the model or is loading it. ``fits_free`` None: nobody knows. ``harness``: an entry's name.
    """

    node: str
    harness: str
    devices: tuple[int, ...] | None = None
    has_it: bool = False
    is_pinned: bool = False
    fits_free: bool | None = None
    free_mb: int | None = None


class Rejection(msgspec.Struct, frozen=True):
    """Why a node is out of the question, in a clause that continues "<node>: "."""

    node: str
    code: RejectionCode
    reason: str


class Placements(msgspec.Struct, frozen=True):
    """All nodes sorted into those where the profile can run, best first, and those where it cannot."""

    valid: tuple[Placement, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    def may_come(self) -> bool:
        """Tell whether a node that is out of the question now might serve later."""
        return any(rejection.code in PASSING for rejection in self.rejected)


def find_valid_placements(profile: Profile, nodes: Iterable[NodeView]) -> Placements:
    """Return where a profile can run, best first, and for every other node the reason."""
    valid, rejected = [], []
    for node in nodes:
        found = place(profile, node)
        if isinstance(found, Placement):
            valid.append(found)
        else:
            rejected.append(found)
    return Placements(tuple(ranked(profile.id, valid)), tuple(rejected))


def find_holders(model: str, nodes: Iterable[NodeView]) -> Placements:
    """Return the nodes that report a model of which the catalogue knows nothing: only they know how to load it."""
    valid, rejected = [], []
    for node in nodes:
        report = node.report_of(model)
        if report is not None and node.is_healthy:
            has_it = report.status in ("loaded", "loading")
            valid.append(Placement(node=node.name, harness=report.harness, has_it=has_it, is_pinned=report.pinned))
        elif report is not None:
            rejected.append(Rejection(node.name, "unhealthy", f"is not healthy ({node.why})"))
    return Placements(tuple(ranked(model, valid)), tuple(rejected))


def ranked(model: str, placements: Iterable[Placement]) -> list[Placement]:
    """Sort placements, best first; the same on every gateway, since the last resort is a hash of the names."""

    def key(placement: Placement) -> tuple[bool, bool, int, int, bytes]:
        fit = {True: 0, None: 1, False: 2}[placement.fits_free]
        return (
            not placement.has_it,
            not placement.is_pinned,
            fit,
            -(placement.free_mb or 0),
            rendezvous(placement.node, model),
        )

    return sorted(placements, key=key)


def rendezvous(node: str, model: str) -> bytes:
    """Return a number that spreads models over nodes, as bytes that compare."""
    return hashlib.blake2b(f"{node}\0{model}".encode(), digest_size=8).digest()


def place(profile: Profile, node: NodeView) -> Placement | Rejection:
    """Return where on one node a profile can run, or why it cannot."""
    discovery = node.discovery
    if discovery is None:
        return Rejection(node.name, "not_discovered", f"its devices are not known yet ({node.why or 'not discovered'})")
    harness = offered_harness(profile.harness, discovery)
    if harness is None:
        return Rejection(node.name, "no_harness", _why_no_harness(profile.harness, discovery))
    chosen = _choose_devices(profile, node, discovery)
    if isinstance(chosen, Rejection):
        return chosen
    if not node.is_healthy:
        return Rejection(node.name, "unhealthy", f"is not healthy ({node.why})")
    report = node.report_of(profile.id)
    return Placement(
        node=node.name,
        harness=harness,
        devices=chosen.devices,
        has_it=report is not None and report.status in ("loaded", "loading"),
        is_pinned=node.name in profile.pinned_on,
        fits_free=chosen.fits_free,
        free_mb=chosen.free_mb,
    )


def offered_harness(wanted: str, discovery: Discovery) -> str | None:
    """Return the name of the usable entry that a profile's ``harness`` means: by name, else by kind."""
    if wanted in discovery.harnesses:
        return wanted
    for detail in discovery.harness_details:
        if detail.kind == wanted and detail.usable:
            return detail.name
    return None


def _why_no_harness(wanted: str, discovery: Discovery) -> str:
    for detail in discovery.harness_details:
        if wanted in (detail.name, detail.kind):
            return f"its harness '{detail.name}' is not usable ({detail.why_not or 'no reason given'})"
    offered = ", ".join(discovery.harnesses) or "none"
    return f"offers no harness '{wanted}' (it has: {offered})"


class _Choice(msgspec.Struct, frozen=True):
    devices: tuple[int, ...]
    fits_free: bool | None
    free_mb: int | None


def _choose_devices(profile: Profile, node: NodeView, discovery: Discovery) -> _Choice | Rejection:
    if profile.min_devices == 0:
        return _Choice((), True, None)
    accelerators = [device for device in discovery.devices if device.kind != "cpu"]
    devices = accelerators or list(discovery.devices)
    if len(devices) < profile.min_devices:
        return Rejection(
            node.name, "too_few_devices", f"has {_count(len(devices))}, the model needs {profile.min_devices}"
        )
    tall = [device for device in devices if device.vram_total_mb >= profile.min_device_vram_mb]
    if len(tall) < profile.min_devices:
        size = f"{profile.min_device_vram_mb} MiB or more"
        reason = f"has {_count(len(tall))} of {size}, the model needs {profile.min_devices}"
        return Rejection(node.name, "devices_too_small", reason)
    return _fewest_devices(profile, node, discovery, tall)


def _count(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"


def _fewest_devices(
    profile: Profile, node: NodeView, discovery: Discovery, devices: Sequence[Device]
) -> _Choice | Rejection:
    """Return the smallest set that fits free memory, else the smallest that could ever hold the model."""
    free = free_by_device(node)
    fallback: _Choice | None = None
    for count in range(profile.min_devices, len(devices) + 1):
        share_mb = -(-(profile.vram_mb or 0) // count)
        able = [device for device in devices if device.vram_total_mb - discovery.headroom_mb >= share_mb]
        if len(able) < count:
            continue
        chosen = _weigh(_emptiest(able, free)[:count], free, share_mb if profile.vram_mb is not None else None)
        if chosen.fits_free is not False:
            return chosen
        fallback = fallback or chosen
    if fallback is not None:
        return fallback
    largest = max(device.vram_total_mb for device in devices)
    reason = f"{profile.vram_mb} MiB do not fit on {_count(len(devices))} of up to {largest} MiB"
    return Rejection(node.name, "too_big", reason)


def _emptiest(devices: Iterable[Device], free: dict[int, int | None]) -> list[Device]:
    def expected_mb(device: Device) -> int:
        known = free.get(device.index)
        return device.vram_total_mb if known is None else known

    return sorted(devices, key=lambda device: (-expected_mb(device), device.index))


def _weigh(chosen: Sequence[Device], free: dict[int, int | None], share_mb: int | None) -> _Choice:
    amounts = [free.get(device.index) for device in chosen]
    known = [amount for amount in amounts if amount is not None]
    fits: bool | None = None
    if share_mb is not None and any(amount < share_mb for amount in known):
        fits = False
    elif share_mb is not None and len(known) == len(amounts):
        fits = True
    return _Choice(tuple(sorted(device.index for device in chosen)), fits, sum(known) if known else None)


def free_by_device(node: NodeView) -> dict[int, int | None]:
    """Return what each device of a node has to give, in MiB: free, not promised to anyone, above the headroom."""
    if node.health is None:
        return {}
    headroom_mb = node.discovery.headroom_mb if node.discovery is not None else 0
    return {
        reading.index: None
        if reading.vram_free_mb is None
        else max(0, reading.vram_free_mb - reading.reserved_mb - headroom_mb)
        for reading in node.health.devices
    }
