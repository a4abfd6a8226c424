"""A fleet with just enough life to try a steward on: nodes, models that load and drain, requests, faults; seeded.

Its pictures are a few seconds old, as a gateway's are. Requests are loaded for where there is room and evict nobody.
"""

from collections.abc import Iterable
from random import Random

from tests.unit.fleet.steward_builder import a_harness, a_profile, node

from cortex.contract.instance import InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.steward import Steward
from cortex.fleet.stewardship import Advice, ModelStand, StewardRules, StewardView
from cortex.fleet.view import NodeView

STEP_S = 2.0
LOAD_S = 20.0
RESTART_S = 10.0
DRAIN_S = 120.0
SILENT_S = 15.0
MODEL_MB = 1000
RULES = StewardRules(defrag_after_cycles=4)


class ToyModel:
    """One instance."""

    def __init__(self, model: str, generation: int, now_s: float) -> None:
        self.model = model
        self.generation = generation
        self.status = "loading"
        self.since_s = now_s
        self.used_s = now_s
        self.streams: list[float] = []

    def report(self, now_s: float) -> InstanceReport:
        return InstanceReport(
            id=self.model,
            harness="llamacpp",
            status=self.status,  # type: ignore[arg-type]
            generation=self.generation,
            devices=(0,),
            declared_mb=MODEL_MB,
            parallel=2,
            in_flight=len(self.streams),
            idle_s=0.0 if self.streams else now_s - self.used_s,
        )


class ToyNode:
    """One node with one harness."""

    def __init__(self, name: str, mb: int) -> None:
        self.name = name
        self.mb = mb
        self.models: dict[str, ToyModel] = {}
        self.cycles = 0
        self.is_up = True
        self.down_s = float("-inf")
        self.maintenance = False
        self.restarting_s: float | None = None

    def has_room(self) -> bool:
        return (len(self.models) + 1) * MODEL_MB <= self.mb

    def takes(self) -> bool:
        return self.is_up and not self.maintenance and self.restarting_s is None

    def view(self, now_s: float) -> NodeView:
        is_healthy = self.is_up or now_s - self.down_s < SILENT_S
        reports = [model.report(now_s) for model in self.models.values()]
        harness = a_harness(self.cycles)
        return node(
            self.name, *reports, mb=self.mb, is_healthy=is_healthy, maintenance=self.maintenance, harnesses=[harness]
        )


class Foul(AssertionError):
    """A rule was broken."""


class ToyFleet:
    """One run."""

    def __init__(self, seed: int, profiles: Iterable[Profile], mbs: Iterable[int]) -> None:
        self.rng = Random(seed)
        self.now_s = 0.0
        self.profiles = {profile.id: profile for profile in profiles}
        self.nodes = {f"n{number}": ToyNode(f"n{number}", mb) for number, mb in enumerate(mbs)}
        self.steward = Steward(RULES)
        self.rates = dict.fromkeys(self.profiles, 0.0)
        self.waiting = dict.fromkeys(self.profiles, 0)
        self.taken: list[tuple[float, Advice]] = []
        self.served = 0
        self._generation = 0
        self._pictures: list[list[NodeView]] = []

    def run(self, until_s: float) -> None:
        while self.now_s < until_s:
            self.step()

    def step(self) -> None:
        self.now_s += STEP_S
        for one in self.nodes.values():
            self._live(one)
        for model, rate in self.rates.items():
            self.waiting[model] += int(self.rng.random() < rate * STEP_S)
            self._serve(model)
        self._pictures = [*self._pictures[-2:], [one.view(self.now_s) for one in self.nodes.values()]]
        for advice in self.steward.advise(self._view(), self.now_s):
            self._take(advice)
        self._check()

    def up(self, model: str) -> list[str]:
        return [one.name for one in self.nodes.values() if one.is_up and self._is_loaded(one, model)]

    def die(self, one: ToyNode) -> None:
        one.is_up, one.down_s = False, self.now_s
        one.models.clear()
        one.restarting_s = None

    # What happens by itself

    def _live(self, one: ToyNode) -> None:
        for key, model in list(one.models.items()):
            model.streams = [end_s for end_s in model.streams if end_s > self.now_s]
            if model.streams:
                model.used_s = self.now_s
            age_s = self.now_s - model.since_s
            if model.status == "loading" and age_s >= LOAD_S:
                self._become(model, "loaded")
            elif model.status == "draining" and not model.streams and age_s >= STEP_S:
                del one.models[key]
                one.cycles += 1
            elif model.status == "draining" and age_s >= DRAIN_S:
                self._become(model, "loaded")
        if one.restarting_s is not None and not one.models and self.now_s >= one.restarting_s:
            one.cycles, one.restarting_s = 0, None

    def _serve(self, model: str) -> None:
        while self.waiting[model]:
            free = [one for one in self.nodes.values() if self._is_loaded(one, model) and self._has_slot(one, model)]
            if not free:
                break
            chosen = min(free, key=lambda one: len(one.models[model].streams)).models[model]
            chosen.streams.append(self.now_s + self.rng.uniform(2, 30))
            chosen.used_s = self.now_s
            self.waiting[model] -= 1
            self.served += 1
        if self.waiting[model] and not any(model in one.models for one in self.nodes.values()):
            room = [one for one in self.nodes.values() if one.takes() and one.has_room()]
            if room:
                self._load(self.rng.choice(room), model)

    def _is_loaded(self, one: ToyNode, model: str) -> bool:
        return one.is_up and model in one.models and one.models[model].status == "loaded"

    def _has_slot(self, one: ToyNode, model: str) -> bool:
        return len(one.models[model].streams) < 2

    def _become(self, model: ToyModel, status: str) -> None:
        model.status, model.since_s = status, self.now_s

    def _load(self, one: ToyNode, model: str) -> None:
        self._generation += 1
        one.models[model] = ToyModel(model, self._generation, self.now_s)

    # The steward

    def _view(self) -> StewardView:
        stands = [
            ModelStand(
                id=key,
                profile=profile,
                waiting=self.waiting[key],
                in_flight={n.name: len(n.models[key].streams) for n in self.nodes.values() if self._is_loaded(n, key)},
            )
            for key, profile in self.profiles.items()
        ]
        loading = {
            (one.name, key) for one in self.nodes.values() for key, m in one.models.items() if m.status == "loading"
        }
        unloading = {
            (one.name, key) for one in self.nodes.values() for key, m in one.models.items() if m.status == "draining"
        }
        restarting = {(one.name, "llamacpp") for one in self.nodes.values() if one.restarting_s is not None}
        return StewardView(
            nodes=tuple(self.rng.choice(self._pictures)),
            models=tuple(stands),
            loading=frozenset(loading),
            unloading=frozenset(unloading),
            restarting=frozenset(restarting),
        )

    def _take(self, advice: Advice) -> None:
        one = self.nodes[advice.node]
        if not one.is_up:
            return
        self.taken.append((self.now_s, advice))
        if advice.kind == "load" and advice.model not in one.models and one.takes() and one.has_room():
            self._load(one, advice.model)
        elif advice.kind == "unload" and self._is_loaded(one, advice.model):
            self._check_source(one, [one.models[advice.model]], advice)
            self._become(one.models[advice.model], "draining")
        elif advice.kind == "restart" and advice.cycles == one.cycles:
            self._check_source(one, list(one.models.values()), advice)
            one.restarting_s = self.now_s + RESTART_S
            for model in one.models.values():
                self._become(model, "draining")

    # The rules

    def _check_source(self, one: ToyNode, models: list[ToyModel], advice: Advice) -> None:
        """What is in use is drained only when it serves elsewhere; a node that died a moment ago is not known yet."""
        for model in models:
            others = [n for n in self.nodes.values() if n is not one and self._seems_to_have(n, model.model)]
            in_use = model.streams or self.now_s - model.used_s < RULES.defrag_idle_s - 3 * STEP_S
            if in_use and not others:
                raise Foul(f"{self.now_s}: {advice} drains the last place of {model.model}")
            if model.status == "loading":
                raise Foul(f"{self.now_s}: {advice} while something is loading there")

    def _seems_to_have(self, one: ToyNode, model: str) -> bool:
        return self._is_loaded(one, model) or self.now_s - one.down_s < SILENT_S + 3 * STEP_S

    def _check(self) -> None:
        moving = [one.name for one in self.nodes.values() if one.is_up and self._is_moving(one)]
        if len(moving) > 1:
            raise Foul(f"{self.now_s}: moves on {moving}")
        for one in self.nodes.values():
            if len(one.models) * MODEL_MB > one.mb:
                raise Foul(f"{self.now_s}: {one.name} holds too much")

    def _is_moving(self, one: ToyNode) -> bool:
        drains = any(model.status == "draining" for model in one.models.values())
        return one.restarting_s is not None or (one.maintenance and drains)


def some_profiles() -> list[Profile]:
    return [
        a_profile("kept", vram_mb=MODEL_MB, min_replicas=2, max_replicas=3),
        a_profile("grows", vram_mb=MODEL_MB, max_replicas=3),
        a_profile("first", vram_mb=MODEL_MB, preload=True, priority=1),
        a_profile("plain", vram_mb=MODEL_MB),
    ]
