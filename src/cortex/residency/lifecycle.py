"""The states of an instance and what leads from one to the next; what the table does not hold is refused as a value.

            load_requested           engine_ready          unload_requested         drained
  unloaded ───────────────▶ loading ────────────▶ loaded ────────────────▶ draining ───────▶ unloading ─▶ unloaded
                                                    ◀─────────────────────────┘ drain_given_up      engine_gone

``failed`` follows when an engine is lost while loading or loaded, or does not go when it should. A crash while
draining or unloading is no failure: the engine was to go.
"""

from typing import Literal

import msgspec

from cortex.contract.instance import InstanceStatus

LifecycleEvent = Literal[
    "load_requested",
    "engine_ready",
    "engine_lost",
    "unload_requested",
    "drained",
    "drain_given_up",
    "engine_gone",
    "engine_stuck",
]

TRANSITIONS: dict[InstanceStatus, dict[LifecycleEvent, InstanceStatus]] = {
    "unloaded": {"load_requested": "loading"},
    "loading": {"engine_ready": "loaded", "engine_lost": "failed", "unload_requested": "unloading"},
    "loaded": {"unload_requested": "draining", "engine_lost": "failed"},
    "draining": {"drained": "unloading", "drain_given_up": "loaded", "engine_lost": "unloading"},
    "unloading": {"engine_gone": "unloaded", "engine_stuck": "failed"},
    "failed": {"load_requested": "loading", "unload_requested": "unloaded", "engine_gone": "failed"},
}
"""Every lawful step. ``engine_gone`` after ``failed``: an engine that was stuck is gone at last."""


class Refused(msgspec.Struct, frozen=True):
    """The event does not belong to the state."""

    status: InstanceStatus
    event: LifecycleEvent


def transition(status: InstanceStatus, event: LifecycleEvent) -> InstanceStatus | Refused:
    """Return the state after ``event``, or why there is none."""
    return TRANSITIONS[status].get(event) or Refused(status, event)
