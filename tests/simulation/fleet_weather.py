"""The weathers in which simulated fleets are played: what goes wrong, how often, and how large a fleet it meets."""

from typing import Any

from cortex.fleet.stewardship import StewardRules
from cortex.testing.fleet_simulation import PATIENT, RULES, SERVICE, FleetSimulation
from cortex.testing.fleet_wire import FleetTrouble

_ROUGH = FleetTrouble(
    lost=0.1, doubled=0.1, longest_delay_s=1.5, fate=0.95, cancelled=0.4, load_fails=0.2, poisoned=0.05
)
_UNLOADS = ("unload", "unload", "force unload", "restart harness", "kill neuron")
_CROWD: dict[str, Any] = {"nodes": 2, "gateways": 2, "requests": 90}
_WORN = StewardRules(
    scale_after_s=4.0, scale_idle_s=15.0, defrag_after_cycles=1, defrag_idle_s=1.0, lost_after_s=RULES.lost_after_s
)
"""Every harness is restarted after one unload, as soon as nobody uses it."""

WEATHERS: dict[str, dict[str, Any]] = {
    "usual": {},
    "rough": {"trouble": _ROUGH, **_CROWD},
    "service": {"trouble": SERVICE, "rules": PATIENT},
    "pins": {"trouble": FleetTrouble(fate=0.95, fates=("pin", "pin", "pin", "crash engine")), **_CROWD},
    "partitions": {"trouble": FleetTrouble(fate=0.95, fates=("cut off", "crash engine")), **_CROWD},
    "crashes": {
        "trouble": FleetTrouble(fate=0.95, fates=("crash busy engine",), load_fails=0.0, poisoned=0.15),
        "nodes": 2,
        "gateways": 1,
        "requests": 90,
        "retry_floor": 1,
    },
    "throng": {
        "trouble": FleetTrouble(fate=0.1, cancelled=0.1, load_fails=0.0, poisoned=0.0),
        "nodes": 2,
        "gateways": 2,
        "requests": 240,
    },
    "leaks": {"trouble": FleetTrouble(kept=0.8, fate=0.7, fates=_UNLOADS), **_CROWD},
    "stalls": {"trouble": FleetTrouble(stalled=0.2), "nodes": 2, "gateways": 2, "requests": 60},
    "doubles": {"are_doubles": True, "nodes": 2, "gateways": 2, "requests": 60},
    "20 nodes": {"nodes": 20},
    "50 nodes": {"nodes": 50},
    "restarts": {
        "trouble": FleetTrouble(fate=0.4, fates=("unload", "force unload", "kill gateway", "hang gateway")),
        "rules": _WORN,
        "nodes": 3,
        "gateways": 3,
        "requests": 60,
    },
}


def fleet_in(weather: str, seed: int) -> FleetSimulation:
    """Return the fleet of a seed in one of the weathers, to be played."""
    return FleetSimulation(seed, **WEATHERS[weather])
