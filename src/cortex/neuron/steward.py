"""Lets only the newest steward act: one gateway at a time keeps the fleet, and a former one may not know of the next.

Every steward has a larger fencing number than the one before. Who shows none acts for itself, an operator say, and is
not asked for one.
"""

import logging

import msgspec

from cortex.contract.error import MalformedRequest
from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.refusal import Stale
from cortex.neuron.state_dir import StateDir

log = logging.getLogger(__name__)

FILE = "steward.json"
NEWEST = (1 << 63) - 1
"""The largest number that a database gives; whatever is larger would shut every steward out."""


class StewardFence:
    """The largest number that was ever shown to this node."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._newest = self._read()

    def check(self, number: int | None) -> None:
        """Take in the number of a caller. Raises: MalformedRequest, Stale when another steward has come after it."""
        if number is None:
            return
        if not 0 <= number <= NEWEST:
            raise MalformedRequest(f"steward: expected 0 to {NEWEST}, got {str(number)[:20]}", field="steward")
        if number < self._newest:
            raise Stale(
                f"steward {number} is not in office any more: {self._newest} is", reason="steward", steward=self._newest
            )
        if number > self._newest:
            self._newest = number
            self._write()

    def _read(self) -> int:
        try:
            return msgspec.json.decode(self._state.read_file(FILE) or b"0", type=int)
        except NOT_JSON as error:
            log.warning("the number of the last steward cannot be read: the next one counts: %s", error)
            return 0

    def _write(self) -> None:
        try:
            self._state.write_file(FILE, msgspec.json.encode(self._newest))
        except OSError as error:  # known as long as this neuron runs; maintenance goes on
            log.warning("the number of the steward cannot be written down: %s", error.strerror)
