"""Remembers on disk which generations gateways have held: only of those may the next process have holders unheard.

Written before a gateway learns that it holds something, once per generation. Unreadable, it may have named them all.
"""

import logging
from collections.abc import Collection

import msgspec

from cortex.neuron.state_dir import StateDir

log = logging.getLogger(__name__)

NAME = "held"


class HeldFile:
    """The generations that were held, by this process or by earlier ones."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._is_readable = True
        self._held: set[int] = set()
        content = state.read_file(NAME)
        try:
            self._held = set() if content is None else msgspec.json.decode(content, type=set[int])
        except msgspec.MsgspecError:
            self._is_readable = False
            log.warning("the file '%s' cannot be read: any engine may have been held", NAME)
        self._before = frozenset(self._held)

    def was_held(self, generation: int) -> bool:
        """Tell whether an earlier process may have had holders of a generation."""
        return not self._is_readable or generation in self._before

    def note(self, held: Collection[int], serving: Collection[int]) -> None:
        """Write down what is held now and was not before; of the rest what still serves."""
        if self._held.issuperset(held):
            return
        kept = set(held) | (self._held & set(serving))
        try:
            self._state.write_file(NAME, msgspec.json.encode(sorted(kept)))
        except OSError as error:  # the engines serve on; a restart at this moment may not wait for these holders
            log.warning("it cannot be written down who holds what: %s", error.strerror)
        self._held = kept
