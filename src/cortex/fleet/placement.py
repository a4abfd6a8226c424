"""Where a profile can run: which nodes, on which of their devices, best first, and why not on the others.

A forecast from the last samples; the neuron decides. For one node, in this order:

1. the labels: the node has each label of the profile, with the same value;
2. the harness: an entry of that name, else one of that kind; of several that the profile allows, the first that works;
3. the devices, by ``device_choice``, for the profile as it is on that harness (``variant``);
4. the node's health, asked last, so that a reason says whether the node could ever serve.

A harness that cannot be used, and devices that a node has reason to miss, may be there a minute later.

Pins protect and rank; they exclude nobody. Unknown memory is not zero: a node that cannot tell is ranked behind those
that fit and before those that do not. Who would have to go for it is ``plan``'s matter.
Ranked: has it already > pinned > fits free memory > most free > rendezvous by name.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery
from cortex.contract.profile import Profile
from cortex.fleet.device_choice import DeviceChoice, DeviceReason, NoDevices, Offer, choose_devices, offer_of
from cortex.fleet.variant import profile_for, wanted_harnesses
from cortex.fleet.view import NodeView

RejectionCode = (
    Literal["not_discovered", "no_label", "no_harness", "harness_unusable", "devices_missing", "unhealthy"]
    | DeviceReason
)

UNSEEN: frozenset[RejectionCode] = frozenset({"not_discovered", "unhealthy"})
"""Rejections of nodes that cannot be asked."""
PASSING: frozenset[RejectionCode] = UNSEEN | {"harness_unusable", "devices_missing"}
"""Rejections that may be gone a moment later; the others last until the hardware or the catalogue changes."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A node and the devices on it where a profile can run. ``devices`` None: the neuron chooses.

    ``has_it``: the node has the model or is loading it. ``fits_free`` None: nobody knows. ``harness``: an entry's name,
    ``kind`` its kind.
    """

    node: str
    harness: str
    devices: tuple[int, ...] | None = None
    has_it: bool = False
    is_pinned: bool = False
    fits_free: bool | None = None
    free_mb: int | None = None
    kind: str = ""


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
    """Return where on one node a profile can run, on the first harness where it can, or why it cannot."""
    discovery, memory = node.discovery, node.memory
    if discovery is None or memory is None:
        return Rejection(node.name, "not_discovered", f"its devices are not known yet ({node.why or 'not discovered'})")
    lacking = lacking_label(profile, node)
    if lacking:
        return Rejection(node.name, "no_label", lacking)
    report = memory.reports.get(profile.id)
    found: list[Rejection] = []
    for wanted in in_order(profile, report):
        offer = offer_of(wanted, discovery, memory)
        if offer is None:
            continue
        chosen = choose_devices(profile_for(profile, offer.harness, offer.kind), offer)
        if isinstance(chosen, NoDevices):
            found.append(_without_devices(node.name, chosen, discovery))
        elif not node.is_healthy:
            found.append(Rejection(node.name, "unhealthy", f"is not healthy ({node.why})"))
        else:
            return placement_on(node, profile, offer, chosen)
    return _gentlest([*found, *_unusable(profile, node.name, discovery)]) or _no_harness(profile, node.name, discovery)


def placement_on(node: NodeView, profile: Profile, offer: Offer, chosen: DeviceChoice) -> Placement:
    """Return the placement on devices that were chosen; on a node that has the model, where it is."""
    report = node.memory.reports.get(profile.id) if node.memory is not None else None
    is_there = report is not None and has_it(report)
    return Placement(
        node=node.name,
        harness=offer.harness,
        kind=offer.kind,
        devices=(report.devices or None) if report is not None and is_there else chosen.devices,
        has_it=is_there,
        is_pinned=node.name in profile.pinned_on,
        fits_free=chosen.fits_free,
        free_mb=chosen.free_mb,
    )


def has_it(report: InstanceReport | None) -> bool:
    """Tell whether a node has a model or is loading it."""
    return report is not None and report.status in ("loaded", "loading")


def in_order(profile: Profile, report: InstanceReport | None) -> Sequence[str]:
    """Return the harnesses that a profile may run on, first the one on which a node has it already."""
    if not profile.variants:
        return (profile.harness,)
    names = (report.harness, report.kind) if report is not None and has_it(report) else ()
    return sorted(wanted_harnesses(profile), key=lambda wanted: wanted not in names)


def lacking_label(profile: Profile, node: NodeView) -> str:
    """Return which label a node would need for a profile, in a clause; empty when it has all of them."""
    labels = {} if node.discovery is None else node.discovery.labels
    for key, value in profile.labels.items():
        if labels.get(key) != value:
            has = f"it has '{labels[key]}'" if key in labels else "it has none of that name"
            return f"has not the label {key} = '{value}' that the model asks for ({has})"
    return ""


def _gentlest(found: Sequence[Rejection]) -> Rejection | None:
    """Return the first reason that passes, else the first: what will do on one harness later is no reason for never."""
    return next((rejection for rejection in found if rejection.code in PASSING), found[0] if found else None)


def _without_devices(node: str, lack: NoDevices, discovery: Discovery) -> Rejection:
    """Return the rejection of a node that has not the devices, or does not see them."""
    if discovery.troubles:
        return Rejection(node, "devices_missing", f"{lack.reason}, and may miss some ({discovery.troubles[0]})")
    return Rejection(node, lack.code, lack.reason)


def _unusable(profile: Profile, node: str, discovery: Discovery) -> Iterable[Rejection]:
    """Go through the entries that a profile means and that cannot be used for now."""
    wanted = wanted_harnesses(profile)
    for detail in discovery.harness_details:
        if not detail.usable and {detail.name, detail.kind} & set(wanted):
            why = f"cannot use its harness '{detail.name}' ({detail.why_not or 'no reason given'})"
            yield Rejection(node, "harness_unusable", why)


def _no_harness(profile: Profile, node: str, discovery: Discovery) -> Rejection:
    offered = ", ".join(discovery.harnesses) or "none"
    names = " or ".join(f"'{name}'" for name in wanted_harnesses(profile))
    return Rejection(node, "no_harness", f"offers no harness {names} (it has: {offered})")
