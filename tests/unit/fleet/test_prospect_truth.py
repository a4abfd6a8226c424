"""What is foretold is what is done: drawn fleets are asked first, and then really used."""

from random import Random

import pytest
from tests.unit.fleet.builder import Fleet, a_profile, a_report

from cortex.contract.error import ModelNotFound
from cortex.contract.instance import InstanceReport
from cortex.fleet.effect import Effect, Grant, Refuse, StartLoad
from cortex.fleet.prospect import Prospect, prospect_of

VRAM_MB = (10_000, 10_000)


def drawn_fleet(rng: Random) -> Fleet:
    """Return some nodes with two devices each, and on them some of the models, busy and idle ones, pinned ones."""
    sizes = {f"m{number}": rng.choice((2000, 4000, 8000, 15_000, 30_000)) for number in range(6)}
    profiles = [
        a_profile(model, vram_mb=size, min_devices=rng.choice((1, 1, 2)), priority=rng.choice((0, 0, 1)))
        for model, size in sizes.items()
    ]
    nodes = [f"n{number}" for number in range(rng.randrange(1, 4))]
    fleet = Fleet(nodes, profiles, vram_mb=VRAM_MB)
    fleet.now_s += 1
    for node in nodes:
        fleet.sample(node, *drawn_residents(rng, sizes))
    return fleet


def drawn_residents(rng: Random, sizes: dict[str, int]) -> list[InstanceReport]:
    left, residents = list(VRAM_MB), []
    for model in rng.sample(sorted(sizes), k=3):
        device = rng.randrange(2)
        if sizes[model] <= left[device]:
            left[device] -= sizes[model]
            residents.append(
                a_report(
                    model,
                    devices=(device,),
                    declared_mb=sizes[model],
                    idle_s=rng.uniform(0, 600),
                    in_flight=rng.choice((0, 0, 1)),
                    pinned=rng.random() < 0.2,
                )
            )
    return residents


def foretold(fleet: Fleet, name: str) -> Prospect:
    model = next(model for model in fleet.dispatcher.view(fleet.now_s).models if model.id == name)
    return prospect_of(fleet.dispatcher.explain(name, model.profile, fleet.now_s), model, None)


def is_as_foretold(prospect: Prospect, effects: list[Effect]) -> bool:
    """Tell whether what is done is what was told."""
    for effect in effects:
        if isinstance(effect, StartLoad):
            request = effect.request
            gone = {victim.model_id for victim in request.evict}
            told = (prospect.node, prospect.devices, {victim.model for victim in prospect.evicts})
            if prospect.outcome == "waits":  # a node is asked for what it cannot do yet, so that it keeps the place
                return bool(gone)
            return prospect.outcome == "loads" and told == (effect.node, request.devices, gone)
        if isinstance(effect, Grant):
            return prospect.outcome == "served"
        if isinstance(effect, Refuse):
            return prospect.outcome == ("never" if isinstance(effect.error, ModelNotFound) else "refused")
    return prospect.outcome in ("waits", "joins", "served")


@pytest.mark.parametrize("seed", range(150))
def test_what_is_foretold_is_what_is_done(seed: int) -> None:
    rng = Random(seed)
    fleet = drawn_fleet(rng)
    for name in rng.sample([f"m{number}" for number in range(6)], k=3):
        prospect = foretold(fleet, name)
        effects = fleet.arrive_for(name)
        assert is_as_foretold(prospect, effects), (prospect, effects)
