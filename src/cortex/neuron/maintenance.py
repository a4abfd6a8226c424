"""Keeps whether this node is in maintenance: nothing new is loaded; what is loaded goes on until somebody unloads it.

An operator's word for the node, not for a gateway: it is written down, outlives the neuron, and every gateway is told.
"""

import logging

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.refusal import Maintenance
from cortex.neuron.state_dir import StateDir, unwritable

log = logging.getLogger(__name__)

FILE = "maintenance.json"


class MaintenanceSwitch:
    """On or off, for one node."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self.is_on = self._read()
        if self.is_on:
            log.warning("this node is in maintenance: nothing is loaded until that is over")

    def put(self, is_on: bool) -> bool:
        """Turn it on or off and return whether that is news. Raises: CortexError when it cannot be written down."""
        if is_on == self.is_on:
            return False
        try:
            self._state.write_file(FILE, msgspec.json.encode(is_on))
        except OSError as error:  # a neuron that forgets it in a restart would load onto a host that is being opened
            raise unwritable(error) from error
        self.is_on = is_on
        log.warning("maintenance: %s", "nothing new is loaded from now on" if is_on else "over")
        return True

    def check(self) -> None:
        """Raise Maintenance while nothing is to be loaded."""
        if self.is_on:
            raise Maintenance

    def _read(self) -> bool:
        written = self._state.read_file(FILE)
        try:
            return written is not None and msgspec.json.decode(written, type=bool)
        except NOT_JSON as error:
            log.error("whether this node is in maintenance cannot be read, and it is taken to be: %s", error)
            return True
