"""Counts the unloads of each harness since its engines were last restarted; the counts outlive the neuron.

An unload whose memory did not come back counts as leaking, and makes a restart due. When to restart for the number of
cycles alone is the gateways' policy, not this file's.
"""

import logging
from collections.abc import Iterable

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.state_dir import StateDir

log = logging.getLogger(__name__)

FILE = "cycle.json"


class Cycles(msgspec.Struct):
    """Unloads of one harness since its engines were last restarted."""

    cycles: int = 0
    leaking_cycles: int = 0


class CycleBook:
    """The counts of all harnesses, written down after every change."""

    def __init__(self, harnesses: Iterable[str], state: StateDir) -> None:
        self._state = state
        kept = self._read()
        self._counts = {name: kept.get(name, Cycles()) for name in harnesses}

    def of(self, harness: str) -> Cycles:
        """Return the counts of one harness."""
        return self._counts[harness]

    def count(self, harness: str, is_memory_back: bool) -> None:
        """Note an unload."""
        counts = self._counts[harness]
        counts.cycles += 1
        counts.leaking_cycles += not is_memory_back
        self._write()

    def reset(self, harness: str) -> None:
        """Note that a harness's engines were restarted."""
        self._counts[harness] = Cycles()
        self._write()

    def _read(self) -> dict[str, Cycles]:
        try:
            return msgspec.json.decode(self._state.read_file(FILE) or b"{}", type=dict[str, Cycles])
        except NOT_JSON as error:
            log.warning("the counts of cycles cannot be read and begin again: %s", error)
            return {}

    def _write(self) -> None:
        try:
            self._state.write_file(FILE, msgspec.json.encode(self._counts))
        except OSError as error:  # a count that is lost costs a late restart, no request
            log.warning("the counts of cycles cannot be written down: %s", error.strerror)
