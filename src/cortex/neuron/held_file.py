"""Remembers on disk which gateways hold which generations: only those may the next process have as holders unheard.

Written before a gateway learns that it holds something, and again when it has left or its lease has ended. Unreadable,
it may have named every engine, and every gateway.
"""

import logging
from collections.abc import Collection, Mapping

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.state_dir import StateDir
from cortex.residency.leased_generation import REST

log = logging.getLogger(__name__)

NAME = "held"
ANYBODY = frozenset((REST,))
NOBODY: frozenset[str] = frozenset()


class HeldFile:
    """The holders of generations, by this process or by earlier ones."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._is_readable = True
        self._held: Mapping[int, frozenset[str]] = {}
        content = state.read_file(NAME)
        try:
            self._held = {} if content is None else _read(content)
        except NOT_JSON:
            self._is_readable = False
            log.warning("the file '%s' cannot be read: any engine may have been held", NAME)
        self._before = self._held
        self._unseen = dict(self._held)
        """Of engines that this process has not seen serve yet."""

    def held_before(self, generation: int) -> frozenset[str]:
        """Return which gateways an earlier process may have had as holders of a generation."""
        return self._before.get(generation, NOBODY) if self._is_readable else ANYBODY

    def note(self, held: Mapping[int, frozenset[str]], serving: Collection[int], *, is_past: bool = False) -> None:
        """Write down who holds what, if that is otherwise than before; ``is_past``: no earlier lease is alive."""
        if self._unseen:
            self._unseen = {} if is_past else {one: self._unseen[one] for one in self._unseen.keys() - set(serving)}
        held = self._unseen | dict(held)
        if held == self._held:
            return
        content = msgspec.json.encode({generation: sorted(names) for generation, names in sorted(held.items())})
        try:
            self._state.write_file(NAME, content)
        except OSError as error:  # the engines serve on; a restart at this moment may not wait for these holders
            log.warning("it cannot be written down who holds what: %s", error.strerror)
        self._held = held


def _read(content: bytes) -> dict[int, frozenset[str]]:
    """Return what a file says; that of an earlier version lists generations alone."""
    found = msgspec.json.decode(content, type=dict[int, frozenset[str]] | list[int])
    return found if isinstance(found, dict) else dict.fromkeys(found, ANYBODY)
