"""What servers that a neuron has not to itself list: each one's last answer, and whether it was silent since.

A server that is silent keeps its list: its models are known, and not there. What follows from that is for others.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from cortex.neuron.harness.interface import Harness, ListedModel

log = logging.getLogger(__name__)


class ServerLists:
    """The lists of some harnesses' servers, by entry. ``changed`` is called after every change of them."""

    def __init__(self, harnesses: Sequence[Harness], changed: Callable[[], None]) -> None:
        self.harnesses = tuple(harnesses)
        self._changed = changed
        self._listed: dict[str, tuple[ListedModel, ...]] = {}
        self._silent: set[str] = set()

    async def refresh(self) -> None:
        """Ask every server for its models."""
        answers = await asyncio.gather(*(harness.listed() for harness in self.harnesses))
        for harness, answer in zip(self.harnesses, answers, strict=True):
            self._take(harness.name, answer)

    async def ask(self, harness: Harness) -> None:
        """Ask one server for its models."""
        self._take(harness.name, await harness.listed())

    def is_silent(self, harness: str) -> bool:
        """Tell whether an entry's server did not answer the last question."""
        return harness in self._silent

    def of(self, harness: str) -> tuple[ListedModel, ...]:
        """Return what an entry's server listed when it last answered."""
        return self._listed.get(harness, ())

    def __iter__(self) -> Iterator[tuple[Harness, ListedModel]]:
        """Yield every model that was last listed, in the order of the entries."""
        return ((harness, listed) for harness in self.harnesses for listed in self.of(harness.name))

    def _take(self, harness: str, answer: tuple[ListedModel, ...] | None) -> None:
        was_silent, is_silent = harness in self._silent, answer is None
        is_news = was_silent != is_silent or answer not in (None, self._listed.get(harness))
        if answer is None:
            self._silent.add(harness)
        else:
            self._silent.discard(harness)
            self._listed[harness] = answer
        if was_silent != is_silent:
            log.warning("harness %s: its server %s", harness, "does not answer" if is_silent else "answers again")
        if is_news:
            self._changed()
