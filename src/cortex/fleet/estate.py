"""The fleet as its steward sees it in one tick: who has what, who could have what, and who could go for it.

Made anew with every tick from a ``StewardView``; what is advised in the same tick is noted, so that no two pieces of
advice rely on the same room. Nodes that have only just fallen silent count on with what they had.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from cortex.contract.instance import InstanceReport, Victim
from cortex.contract.node import HarnessHealth
from cortex.contract.profile import Profile
from cortex.fleet.placement import Placement, find_holders, find_valid_placements
from cortex.fleet.stewardship import Advice, StewardView
from cortex.fleet.view import NodeView

COLD_S = 300.0
"""What has been idle for so long is not missed at once."""
ON_ITS_WAY = frozenset({"loading", "draining", "unloading"})


class Standing(NamedTuple):
    """One loaded instance; ``idle_s``: for how long nobody has used it."""

    node: str
    report: InstanceReport
    in_flight: int
    idle_s: float

    @property
    def model(self) -> str:
        """Its model's id."""
        return self.report.id

    @property
    def is_saturated(self) -> bool:
        """Tell whether it takes no more requests at a time; one without a limit always does."""
        return self.report.parallel is not None and self.in_flight >= self.report.parallel


class Estate:
    """One tick's look at everything. ``lost``: nodes that have been silent for too long."""

    def __init__(self, view: StewardView, now_s: float, lost: Collection[str] = ()) -> None:
        self.view = view
        self.now_s = now_s
        self.nodes = {node.name: node for node in view.nodes}
        self._stands = {stand.id: stand for stand in view.models}
        self._up: dict[str, list[Standing]] = {}
        self._coming: dict[str, set[str]] = {}
        self._loads_on: dict[str, set[str]] = {}
        self._found: dict[tuple[str, bool], list[Placement]] = {}
        self._closed = {node for node, _ in view.restarting}
        self._leaving = {model for _, model in view.unloading}
        for node in view.nodes:
            if node.is_healthy or node.name not in lost:
                self._look_at(node)
        for name, model in view.loading:
            self._note_load(name, model)

    # Who has what

    def up(self, model: str) -> list[Standing]:
        """Return where a model is loaded and stays; what is loaded on a node in maintenance does not stay."""
        return self._up.get(model, [])

    def elsewhere(self, model: str, node: str) -> list[Standing]:
        """Return where else a model serves right now."""
        return [one for one in self.up(model) if one.node != node and self.nodes[one.node].is_healthy]

    def coming(self, model: str) -> Collection[str]:
        """Return the nodes on which a model is being loaded."""
        return self._coming.get(model, ())

    def is_leaving(self, model: str) -> bool:
        """Tell whether a replica of a model is on its way out."""
        return model in self._leaving

    def on(self, node: str, harness: str = "") -> list[Standing]:
        """Return what a node has loaded, of one harness or of all."""
        view = self.nodes[node]
        found = [self._standing(view, report) for report in view.models if report.status == "loaded"]
        return [one for one in found if harness in ("", one.report.harness)]

    def harness(self, node: str, name: str) -> HarnessHealth | None:
        """Return how a harness of a healthy node is."""
        view = self.nodes.get(node)
        known = view.health.harnesses if view is not None and view.is_healthy and view.health is not None else ()
        return next((harness for harness in known if harness.name == name), None)

    def is_in_motion(self, node: str) -> bool:
        """Tell whether something is on its way up or out on a node, or its harness is being restarted."""
        asked = {*self.view.unloading, *self.view.restarting}
        is_moving = any(report.status in ON_ITS_WAY for report in self.nodes[node].models)
        return is_moving or bool(self._loads_on.get(node)) or any(pair[0] == node for pair in asked)

    def is_emptying(self, node: str) -> bool:
        """Tell whether something is on its way out on a node."""
        return any(report.status in ("draining", "unloading") for report in self.nodes[node].models)

    def waiting(self, model: str) -> int:
        """Return how many requests wait for a model, here or in other gateways."""
        stand = self._stands.get(model)
        told = sum(one.report.waiting for one in self.up(model))
        return max(told, stand.waiting if stand is not None else 0)

    def is_kept(self, model: str, without: int = 1) -> bool:
        """Tell whether a model would have too few replicas with so many less."""
        profile = self._profile(model)
        least = 0 if profile is None else max(profile.min_replicas, int(profile.preload))
        return len(self.up(model)) - without < least

    # Who could have what

    def close(self, node: str) -> None:
        """Let nothing be placed on a node in this tick."""
        self._closed.add(node)

    def note(self, advice: Advice) -> None:
        """Take in that a load is advised."""
        self._note_load(advice.node, advice.model)

    def targets(self, model: str, *, is_certain: bool = True) -> list[Placement]:
        """Return where a model could be loaded as well with nobody going, best first.

        ``is_certain``: not where nobody knows whether it fits.
        """
        return [
            placement
            for placement in self._placements(model)
            if placement.fits_free or (placement.fits_free is None and not is_certain)
        ]

    def clearable(self, model: str) -> tuple[Placement, tuple[Victim, ...]] | None:
        """Return where a model could be loaded if some went that are not missed, fewest first; they are named."""
        best: tuple[Placement, tuple[Victim, ...]] | None = None
        for placement in self._placements(model):
            victims = self._victims(model, placement) if placement.fits_free is False else None
            if victims and (best is None or len(victims) < len(best[1])):
                best = placement, victims
        return best

    def home(self, model: str, node: str) -> Placement | None:
        """Return where on one node a model can run now, also one that the catalogue does not know."""
        return next((found for found in self._placements(model, is_home=True) if found.node == node), None)

    def _placements(self, model: str, *, is_home: bool = False) -> list[Placement]:
        """Return where a model can run and is not, best first; what was found once only gets less in the same tick."""
        found = self._found.get((model, is_home))
        if found is None:
            found = self._found[model, is_home] = self._find(model, is_home=is_home)
        return [placement for placement in found if self._takes(self.nodes[placement.node], model)]

    def _find(self, model: str, *, is_home: bool) -> list[Placement]:
        profile = self._profile(model)
        nodes = [node for node in self.nodes.values() if self._takes(node, model)]
        if profile is not None:
            found = find_valid_placements(self._sized(profile), nodes)
        elif is_home:
            found = find_holders(model, nodes)
        else:
            return []
        return [placement for placement in found.valid if not placement.has_it]

    def _takes(self, node: NodeView, model: str) -> bool:
        """Tell whether something may be loaded on a node now: one load at a time, and none that has just failed."""
        if not node.is_healthy or node.name in self._closed or is_in_maintenance(node) or self._loads_on.get(node.name):
            return False
        report = node.report_of(model)
        return (report is None or report.status not in ON_ITS_WAY) and (node.name, model) not in self.view.held

    def _victims(self, model: str, placement: Placement) -> tuple[Victim, ...] | None:
        """Return who would have to go, coldest first and no more than it takes; None when that is not enough."""
        memory, profile = self.nodes[placement.node].memory, self._profile(model)
        if memory is None or profile is None or placement.devices is None:
            return None
        need_mb, going = self._sized(profile).vram_mb or 0, list[Standing]()
        for one in sorted(self.on(placement.node), key=lambda one: -one.idle_s):
            if self._may_go(one, profile) and set(one.report.devices) & set(placement.devices):
                going.append(one)
                if memory.has_room(need_mb, placement.devices, [gone.model for gone in going]):
                    return tuple(Victim(model_id=gone.model, generation=gone.report.generation) for gone in going)
        return None

    def _may_go(self, one: Standing, profile: Profile) -> bool:
        """Tell whether an instance may make room: never for a model of lower rank, of equal rank only when cold."""
        report, other = one.report, self._profile(one.model)
        rank = 0 if other is None else other.priority
        if report.pinned or one.in_flight or self.waiting(one.model) or not report.generation:
            return False
        if self.nodes[one.node].protected_s(report, self.now_s) > 0 or rank > profile.priority:
            return False
        return rank < profile.priority or (one.idle_s >= COLD_S and not self.is_kept(one.model))

    def _profile(self, model: str) -> Profile | None:
        stand = self._stands.get(model)
        return None if stand is None else stand.profile

    def _sized(self, profile: Profile) -> Profile:
        """Return a profile with its need as it was seen, where the catalogue does not say it."""
        if profile.vram_mb is not None:
            return profile
        seen = (one.report.declared_mb or one.report.vram_used_mb for one in self._everywhere(profile.id))
        return msgspec.structs.replace(profile, vram_mb=max((mb for mb in seen if mb), default=None))

    def _everywhere(self, model: str) -> Iterator[Standing]:
        """Go through all that is loaded of a model, on nodes in maintenance too."""
        for node in self.view.nodes:
            report = node.report_of(model)
            if report is not None and report.status == "loaded":
                yield self._standing(node, report)

    def _look_at(self, node: NodeView) -> None:
        for report in node.models:
            if report.status == "loading":
                self._note_load(node.name, report.id)
            elif report.status in ON_ITS_WAY or (report.status == "loaded" and self._is_asked_to_go(node, report)):
                self._leaving.add(report.id)
            elif report.status == "loaded" and not is_in_maintenance(node):
                self._up.setdefault(report.id, []).append(self._standing(node, report))

    def _is_asked_to_go(self, node: NodeView, report: InstanceReport) -> bool:
        """Tell whether this gateway has asked for its end, of which its node may not have told yet."""
        return (node.name, report.id) in self.view.unloading or (node.name, report.harness) in self.view.restarting

    def _note_load(self, node: str, model: str) -> None:
        self._coming.setdefault(model, set()).add(node)
        self._loads_on.setdefault(node, set()).add(model)

    def _standing(self, node: NodeView, report: InstanceReport) -> Standing:
        stand = self._stands.get(report.id)
        spans = [node.idle_s(report, self.now_s), None if stand is None else stand.idle_s.get(node.name)]
        in_flight = max(report.in_flight, 0 if stand is None else stand.in_flight.get(node.name, 0))
        idle_s = min((span for span in spans if span is not None), default=0.0)
        return Standing(node.name, report, in_flight, 0.0 if in_flight else idle_s)


def is_in_maintenance(node: NodeView) -> bool:
    """Tell whether nothing new is loaded on a node."""
    return node.health is not None and node.health.maintenance
