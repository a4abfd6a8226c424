"""What is allowed in a catalogue and hardly meant, seen against the nodes that there are: sentences for people.

Each function tells one kind of thing; ``lint`` all of them. Nodes whose devices are not known say nothing: call it with
pictures of nodes that were discovered, with ``models`` and ``health`` where there are any. Decides nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice

from cortex.contract.node import Discovery
from cortex.contract.profile import Profile
from cortex.fleet.device_choice import Pool, now_on, offer_of
from cortex.fleet.eviction import Strategy
from cortex.fleet.memory import NodeMemory
from cortex.fleet.placement import UNSEEN, Placement, Rejection, place
from cortex.fleet.variant import profile_for, wanted_harnesses
from cortex.fleet.view import NodeView
from cortex.residency.fit import DeviceRoom, Reservation, even_share_mb, even_shares

MOST_TOLD = 10
"""Sentences of one kind; a large catalogue has too many pairs to read."""
MOST_PAIRS = 2000
"""So many pairs are tried; of a catalogue with more, those that stand first."""
FAR_OFF = 0.25
"""An estimate that differs from the measurement by more than this part of it."""


def lint(profiles: Sequence[Profile], nodes: Sequence[NodeView], strategy: Strategy) -> list[str]:
    """Return a sentence for everything worth one; ``cortex check`` prints them when it can ask the neurons."""
    kinds: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: impossible(profiles, nodes),
        lambda: idle_pins(profiles, nodes),
        lambda: idle_tables(profiles, nodes),
        lambda: one_way(profiles, nodes) if strategy == "priority" else iter(()),
        lambda: never_together(profiles, nodes),
        lambda: wrong_estimates(profiles, nodes),
    )
    return [sentence for kind in kinds for sentence in _some(kind())]


def impossible(profiles: Iterable[Profile], nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield models that no node can ever hold; nothing while the devices of a node are not known."""
    if not nodes or any(node.discovery is None for node in nodes):
        return
    for profile in profiles:
        found = [place(profile, node) for node in nodes]
        reasons = [f"{r.node}: {r.reason}" for r in found if isinstance(r, Rejection) and r.code not in UNSEEN]
        if len(reasons) == len(nodes):
            yield f"{profile.id} can run on no node: {'; '.join(reasons)}"


def idle_pins(profiles: Iterable[Profile], nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield pins that protect nothing: to nodes that are not there, or that can never hold the model."""
    by_name = {node.name: node for node in nodes}
    for profile in profiles:
        for name in profile.pinned_on:
            found = place(profile, by_name[name]) if name in by_name else None
            if found is None:
                yield f"{profile.id} is pinned on {name}, which is no node of this fleet"
            elif isinstance(found, Rejection) and found.code not in UNSEEN:
                yield f"{profile.id} is pinned on {name}, which can never serve it: it {found.reason}"


def idle_tables(profiles: Iterable[Profile], nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield tables of an entry that are named after no harness; nothing while the harnesses of a node are not known."""
    known = [node.discovery for node in nodes if node.discovery is not None]
    if len(known) < len(nodes):
        return
    details = [detail for discovery in known for detail in discovery.harness_details]
    named = {name for discovery in known for name in discovery.harnesses}
    named |= {name for detail in details for name in (detail.name, detail.kind)}
    for profile in profiles:
        for table in profile.variants:
            if table not in named:
                yield f"{profile.id} has a table named {table}, which is no harness of any node"


def one_way(profiles: Sequence[Profile], nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield pairs of unequal priority of which the lower can only run where the higher may be, and not beside it."""
    homes = _homes(profiles, nodes)
    single = [(profile, homes[profile.id][0]) for profile in profiles if len(homes[profile.id]) == 1]
    pairs = ((low, high, home) for low, home in single for high in profiles if high.priority > low.priority)
    for low, high, home in islice(pairs, MOST_PAIRS):
        if home in homes[high.id] and not _fit_together(low, high, home):
            yield (
                f"{low.id} (priority {low.priority}) can run on {home.name} only, and not beside {high.id} "
                f"(priority {high.priority}): while that is loaded there it cannot be loaded, whoever asks for it; "
                "equal priorities displace each other both ways"
            )


def never_together(profiles: Sequence[Profile], nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield pairs of which only one can be loaded at a time: requests that alternate between them make them swap."""
    homes = _homes(profiles, nodes)
    single = [profile for profile in profiles if len(homes[profile.id]) == 1]
    for one, other in islice(combinations(single, 2), MOST_PAIRS):
        (home,) = homes[one.id]
        if homes[other.id] == [home] and not _fit_together(one, other, home):
            yield f"{one.id} and {other.id} can run on {home.name} only, and never at the same time"


def wrong_estimates(profiles: Iterable[Profile], nodes: Iterable[NodeView]) -> Iterator[str]:
    """Yield models that were measured to take much more, or much less, than the catalogue says."""
    by_id = {profile.id: profile for profile in profiles}
    for node in nodes:
        for report in node.models:
            profile, measured_mb = by_id.get(report.id), report.vram_used_mb
            if profile is None or not measured_mb or report.status != "loaded":
                continue
            said_mb = profile_for(profile, report.harness, report.kind).vram_mb
            if said_mb is not None and abs(measured_mb - said_mb) > FAR_OFF * measured_mb:
                yield f"{report.id}: vram_mb is {said_mb}, and on {node.name} it takes {measured_mb} MiB"


def _some(sentences: Iterator[str]) -> Iterator[str]:
    yield from islice(sentences, MOST_TOLD)
    if next(sentences, None) is not None:
        yield "and more of the kind"


def _homes(profiles: Iterable[Profile], nodes: Iterable[NodeView]) -> dict[str, list[NodeView]]:
    """Return, for each model with a known need, the nodes on which it could run when they are empty."""
    known = [node for node in nodes if node.discovery is not None]
    return {
        profile.id: [node for node in known if _could_be(profile, node)] if profile.vram_mb is not None else []
        for profile in profiles
    }


def _could_be(profile: Profile, node: NodeView) -> bool:
    found = place(profile, node)
    return isinstance(found, Placement) or found.code in UNSEEN


def _fit_together(one: Profile, other: Profile, node: NodeView) -> bool:
    """Tell whether an empty node holds both, on any devices."""
    if node.discovery is None:
        return True
    return any(_has_room(other, node.discovery, promise) for promise in _ways(one, node.discovery))


def _ways(profile: Profile, discovery: Discovery) -> Iterator[Reservation]:
    """Yield what a model takes of an empty node, for every set of devices that holds it."""
    for served, pools in _served(profile, discovery):
        need_mb = served.vram_mb or 0
        if pools is None:
            yield Reservation(key=profile.id, shares=())
        for pool in _tall(served, pools):
            for count in pool.counts(served.min_devices):
                able = pool.able(even_share_mb(need_mb, count))
                for devices in combinations([device.index for device in able], count):
                    yield Reservation(key=profile.id, shares=even_shares(need_mb, devices))


def _has_room(profile: Profile, discovery: Discovery, promise: Reservation) -> bool:
    for served, pools in _served(profile, discovery, promise):
        rooms = [now_on(pool, served.min_devices, served.vram_mb) for pool in _tall(served, pools)]
        if pools is None or any(rooms):
            return True
    return False


def _tall(served: Profile, pools: Iterable[Pool] | None) -> list[Pool]:
    tall = [pool.of_floor(served.min_device_vram_mb) for pool in pools or ()]
    return [pool for pool in tall if pool is not None]


def _served(
    profile: Profile, discovery: Discovery, *promised: Reservation
) -> Iterator[tuple[Profile, tuple[Pool, ...] | None]]:
    """Yield how a model is served on each harness that it may have there, and on which devices, otherwise empty."""
    rooms = {
        device.index: DeviceRoom(index=device.index, total_mb=device.vram_total_mb) for device in discovery.devices
    }
    memory = NodeMemory(rooms, {}, (), promised, discovery.headroom_mb)
    for wanted in wanted_harnesses(profile):
        offer = offer_of(wanted, discovery, memory)
        if offer is not None:
            served = profile_for(profile, offer.harness, offer.kind)
            yield served, offer.pools_for(served)
