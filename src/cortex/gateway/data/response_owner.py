"""Whose a kept response is: each key has a shelf of its own within the one that all share, and sees no other.

What a key has kept lies under its id and the response's, so that to anybody else it is not there, in the same words as
what never was. Without keys there is one shelf for all, and what lies there no key sees later on.
"""

from typing import Protocol

import msgspec

from cortex.contract.key import Key
from cortex.dialects.interface import Keep
from cortex.gateway.ports import ResponseShelf


class Running(Protocol):
    """The responses that are running here, in the background."""

    def runs(self, response_id: str) -> bool:
        """Tell whether one is."""

    def record(self, response_id: str) -> bytes | None:
        """Return the record of one that is, for it may have fallen off the shelf."""

    def stop(self, response_id: str) -> None:
        """End one, if it is; nothing is kept of it afterwards."""


def name_for(response_id: str, key: Key | None) -> str:
    """Return what a response lies under. No id of a key has a slash, so nobody can ask for another's by name."""
    return response_id if key is None else f"{key.id}/{response_id}"


def owned(kept: Keep, key: Key | None) -> Keep:
    """Return a record as it lies on the shelf."""
    return kept if key is None else msgspec.structs.replace(kept, id=name_for(kept.id, key))


class OwnShelf:
    """What one key sees of a shelf. Implements ``ports.ResponseShelf``."""

    def __init__(self, shelf: ResponseShelf, key: Key | None) -> None:
        self._shelf = shelf
        self._key = key

    async def put(self, kept: Keep) -> None:
        """See ``ports.ResponseShelf``."""
        await self._shelf.put(owned(kept, self._key))

    async def get(self, response_id: str) -> bytes | None:
        """See ``ports.ResponseShelf``."""
        return await self._shelf.get(self._name(response_id))

    async def age_s(self, response_id: str) -> float | None:
        """See ``ports.ResponseShelf``."""
        return await self._shelf.age_s(self._name(response_id))

    async def delete(self, response_id: str) -> bool:
        """See ``ports.ResponseShelf``."""
        return await self._shelf.delete(self._name(response_id))

    def _name(self, response_id: str) -> str:
        return name_for(_without_slash(response_id), self._key)


class OwnRunning:
    """What one key sees of the responses that are running. Implements ``Running``."""

    def __init__(self, running: Running, key: Key | None) -> None:
        self._running = running
        self._key = key

    def runs(self, response_id: str) -> bool:
        """See ``Running``."""
        return self._running.runs(self._name(response_id))

    def record(self, response_id: str) -> bytes | None:
        """See ``Running``."""
        return self._running.record(self._name(response_id))

    def stop(self, response_id: str) -> None:
        """See ``Running``."""
        self._running.stop(self._name(response_id))

    def _name(self, response_id: str) -> str:
        return name_for(_without_slash(response_id), self._key)


def _without_slash(response_id: str) -> str:
    """No response's id has one; with it somebody without a key could name what is a key's."""
    return response_id.replace("/", "")
