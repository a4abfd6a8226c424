"""Fleets drawn from a seed, for properties of plans: small enough that every set of victims can be tried."""

from random import Random
from typing import NamedTuple

import msgspec
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.instance import InstanceReport
from cortex.contract.node import HarnessDetail
from cortex.contract.profile import Profile
from cortex.fleet.eviction import Strategy
from cortex.fleet.fact import KnownFacts, Use
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.view import NodeView

NOW_S = 10_000.0
MODELS = [f"m{number}" for number in range(12)]


class Drawn(NamedTuple):
    """One case: what is to be loaded, where, and what is known."""

    profile: Profile
    nodes: list[NodeView]
    facts: KnownFacts
    strategy: Strategy


def draw(seed: int, most_nodes: int = 6) -> Drawn:
    """Return the fleet of a seed."""
    rng = Random(seed)
    nodes = [_node(rng, f"n{number}") for number in range(rng.randint(1, most_nodes))]
    profiles = {
        model: a_profile(
            model,
            priority=rng.choice([0, 0, 1, 2]),
            pinned_on=tuple(node.name for node in nodes if rng.random() < 0.1),
        )
        for model in MODELS
        if rng.random() < 0.7
    }
    uses = {
        (node.name, report.id): Use(int(rng.random() < 0.2), int(rng.random() < 0.1), rng.choice([None, NOW_S - 50]))
        for node in nodes
        for report in node.models
        if rng.random() < 0.3
    }
    profile = a_profile(
        "new",
        vram_mb=rng.choice([None, *[rng.randrange(1000, 30_000)] * 8]),
        min_devices=rng.choice([0, 1, 1, 1, 1, 2, 2, 3]),
        min_device_vram_mb=rng.choice([0, 0, 0, 10_000]),
        priority=rng.choice([0, 1, 2]),
        pinned_on=tuple(node.name for node in nodes if rng.random() < 0.15),
    )
    loads = {node.name: [_load(rng, node)] for node in nodes if rng.random() < 0.15}
    facts = KnownFacts(
        loads=loads,
        holds={node.name: 5.0 for node in nodes if rng.random() < 0.1},
        drained=[node.name for node in nodes if rng.random() < 0.05],
        uses=uses,
        profiles=profiles,
    )
    return Drawn(profile, nodes, facts, rng.choice(["lru", "priority", "cost"]))


def _node(rng: Random, name: str) -> NodeView:
    totals = [rng.choice([8000, 12_000, 24_000]) for _ in range(rng.randint(1, 4))]
    models = [_report(rng, model, len(totals)) for model in rng.sample(MODELS, rng.randint(0, 5))]
    if rng.random() < 0.1:
        models.append(a_report("new", rng.choice(["loaded", "loading", "draining", "unloaded"])))  # type: ignore[arg-type]
    held = [sum(_share(report) for report in models if index in report.devices) for index in range(len(totals))]
    free = [
        rng.choice(
            [None] + [max(0, total - used - rng.choice([0, 0, 400, 5000, total - used - 1000, total - used - 300]))] * 9
        )
        for total, used in zip(totals, held, strict=True)
    ]
    detail = HarnessDetail(
        name="llamacpp", kind="llamacpp", usable=True, spread=rng.choice([None, "layers", "tensors", "none"])
    )
    node = a_node(
        name, totals, free_mb=free, models=models, headroom_mb=rng.choice([0, 512]), details=(detail,),
        is_healthy=rng.random() < 0.95,
    )  # fmt: skip
    worked = {report.id: NOW_S - rng.uniform(0, 20_000) for report in models if rng.random() < 0.8}
    return msgspec.structs.replace(node, start_id="life", event=rng.randrange(1, 99), worked_s=worked)


def _report(rng: Random, model: str, devices: int) -> InstanceReport:
    return a_report(
        model,
        rng.choice(["loaded"] * 8 + ["loading", "draining", "failed", "unloaded"]),
        generation=rng.randrange(1, 99),
        devices=tuple(sorted(rng.sample(range(devices), rng.choice([1, 1, 1, min(2, devices)])))),
        declared_mb=rng.randrange(500, 9000),
        vram_used_mb=rng.choice([None, rng.randrange(500, 9000)]),
        in_flight=rng.choice([0, 0, 0, 0, 2]),
        waiting=rng.choice([0] * 9 + [1]),
        pinned=rng.random() < 0.1,
        idle_s=rng.choice([None, rng.uniform(0, 5000)]),
        protected_s=rng.choice([0.0, 0.0, 0.0, 30.0]),
        silent_s=rng.choice([None] * 9 + [20.0]),
        load_s=rng.choice([None, rng.uniform(0, 2), rng.uniform(1, 90)]),
    )


def _load(rng: Random, node: NodeView) -> LoadUnderWay:
    loaded = [report.id for report in node.models if report.status == "loaded"]
    return LoadUnderWay(model="other", need_mb=4000, devices=(0,), victims=tuple(loaded[: rng.randint(0, 1)]))


def _share(report: InstanceReport) -> int:
    if report.status in ("failed", "unloaded") or not report.devices:
        return 0
    return max(report.declared_mb or 0, report.vram_used_mb or 0) // len(report.devices)
