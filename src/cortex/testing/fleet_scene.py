"""Draws a fleet: how many nodes with which devices, which models, how these really are, and who asks for what when."""

from math import inf
from random import Random
from typing import NamedTuple

from cortex.contract.profile import Profile
from cortex.testing.fleet_call import CLIENT_STALL_S, Wish
from cortex.testing.fleet_host import HARNESS, Nature
from cortex.testing.fleet_wire import FleetTrouble

SIZES = (1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8)
CARDS_MB = (12_000, 16_000, 24_000, 24_000, 32_000)
LONGEST_REQUEST_S = 10.0
HEADROOM_MB = 500


class Scene(NamedTuple):
    """One fleet."""

    cards_mb: dict[str, tuple[int, ...]]
    """Devices by node."""
    profiles: tuple[Profile, ...]
    natures: dict[str, Nature]
    feasible: frozenset[str]
    """Models that some node could hold if it were empty, and has no pinned one that may never go for it."""
    gateways: int

    def holders(self, profile: Profile) -> frozenset[str]:
        """Return the nodes that could hold a model if they were empty."""
        return frozenset(node for node, mb in self.cards_mb.items() if _could(profile, mb))


def draw_scene(dice: Random, trouble: FleetTrouble, *, nodes: int | None = None, gateways: int | None = None) -> Scene:
    """Draw a fleet of one to fifty nodes."""
    count = nodes or (dice.choice(SIZES) if dice.random() < 0.98 else dice.randint(10, 50))
    cards = {f"n{index}": _cards(dice) for index in range(count)}
    models = dice.randint(max(2, count), 2 * count + 3) if count < 10 else count + dice.randint(0, 10)
    profiles = tuple(_profile(dice, index, list(cards)) for index in range(models))
    natures = {profile.id: _nature(dice, profile, trouble) for profile in profiles}
    pinned = {node for profile in profiles for node in profile.pinned_on}
    free = [mb for node, mb in cards.items() if node not in pinned]
    feasible = frozenset(profile.id for profile in profiles if any(_could(profile, mb) for mb in free))
    return Scene(cards, profiles, natures, feasible, gateways or dice.choice((1, 1, 2, 2, 3)))


def draw_wish(dice: Random, scene: Scene, number: int, trouble: FleetTrouble, *, is_calm: bool) -> Wish:
    """Draw a request: popular models are asked for more often than others."""
    ranked = min(len(scene.profiles) - 1, int(dice.expovariate(0.4)))
    profile = scene.profiles[ranked if dice.random() < 0.7 else dice.randrange(len(scene.profiles))]
    is_known = is_calm or dice.random() > 0.02
    name = dice.choice((profile.id, profile.id, *profile.aliases)) if is_known else "nobody/knows"
    takes_s = dice.uniform(0.2, 3.0) if dice.random() < 0.9 else dice.uniform(3.0, LONGEST_REQUEST_S)
    leaves_s = dice.uniform(0.1, 6.0) if not is_calm and dice.random() < trouble.cancelled else None
    is_stalled = not is_calm and trouble.stalled > 0 and dice.random() < trouble.stalled
    return Wish(
        number,
        name,
        profile.id if is_known else "",
        takes_s=takes_s,
        caller=f"caller{dice.randrange(3)}",
        head=f"talk{dice.randrange(5)}".encode(),
        tokens=dice.randint(10, 4000),
        leaves_s=leaves_s,
        stalls_s=dice.choice((dice.uniform(4.0, CLIENT_STALL_S), inf)) if is_stalled else 0.0,
        is_poisoned=not is_calm and dice.random() < trouble.poisoned,
        is_feasible=is_known and profile.id in scene.feasible,
    )


def _cards(dice: Random) -> tuple[int, ...]:
    return (dice.choice(CARDS_MB),) * dice.choice((1, 1, 1, 2, 2, 4))


def _profile(dice: Random, index: int, nodes: list[str]) -> Profile:
    is_wide = dice.random() < 0.2
    idle_unload_s = dice.choice((None, None, None, 10.0))
    min_replicas, preload = (1 if dice.random() < 0.1 else 0), dice.random() < 0.1
    return Profile(
        id=f"org/m{index}",
        harness=HARNESS,
        vram_mb=dice.choice((4_000, 7_000, 10_000, 14_000, 20_000)) * (2 if is_wide else 1),
        min_devices=2 if is_wide else 1,
        aliases=(f"alias{index}",),
        parallel=dice.choice((1, 2, 3)),
        pinned_on=(dice.choice(nodes),) if dice.random() < 0.1 else (),
        priority=dice.choice((0, 0, 0, 5)),
        queue_priority=dice.choice((0, 0, 0, 1)),
        max_replicas=dice.choice((None, 1, 1, 2)),
        min_replicas=min_replicas,
        preload=preload,
        idle_unload_s=idle_unload_s,
        min_residency_s=dice.choice((None, None, 4.0)),
    )


def _nature(dice: Random, profile: Profile, trouble: FleetTrouble) -> Nature:
    return Nature(
        actual_share=dice.choice((0.8, 0.95, 0.95, 1.0, 1.05)) if trouble.fate else 0.95,
        declared_mb=profile.vram_mb or 0,
        load_s=dice.uniform(0.5, 5.0),
        fails=trouble.load_fails if dice.random() < 0.5 else 0.0,
        keeps=trouble.kept,
        parallel=profile.parallel or 2,
    )


def _could(profile: Profile, cards_mb: tuple[int, ...]) -> bool:
    """Tell whether a model fits on an empty node, on as many devices as there are at the most."""
    need = profile.vram_mb or 0
    counts = range(max(1, profile.min_devices), len(cards_mb) + 1)
    return any(-(-need // count) <= cards_mb[0] - HEADROOM_MB for count in counts)
