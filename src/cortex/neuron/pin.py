"""Keeps which models an operator has pinned to this node, or freed of the pin that their loads ask for.

A pin belongs to the model, not to a life of it: it is there before a load and after an unload, and outlives the neuron.
"""

import logging

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.instance import Instance
from cortex.neuron.state_dir import StateDir, unwritable

log = logging.getLogger(__name__)

FILE = "pin.json"


class PinBook:
    """The pins of one node, written down with every change; models that have one are known from the start."""

    def __init__(self, state: StateDir, instances: dict[str, Instance]) -> None:
        self._state = state
        self._pins = self._read()
        for model_id, pinned in self._pins.items():
            instances.setdefault(model_id, Instance(model_id)).pin = pinned

    def put(self, instance: Instance, pinned: bool | None) -> None:
        """Pin a model or free it; None: as its loads say. Raises: CortexError when it cannot be written down."""
        pins = {key: pin for key, pin in self._pins.items() if key != instance.model_id}
        if pinned is not None:
            pins[instance.model_id] = pinned
        try:
            self._state.write_file(FILE, msgspec.json.encode(pins))
        except OSError as error:  # a pin that is gone after a restart would be no pin
            raise unwritable(error) from error
        self._pins, instance.pin = pins, pinned

    def _read(self) -> dict[str, bool]:
        try:
            return msgspec.json.decode(self._state.read_file(FILE) or b"{}", type=dict[str, bool])
        except NOT_JSON as error:
            log.error("the pins cannot be read, and nothing is pinned but by its load: %s", error)
            return {}
