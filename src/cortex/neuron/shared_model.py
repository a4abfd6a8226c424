"""The models of servers that several of them share: what each server lists, and what it has that nobody here loaded.

A model that such a server lists as unloaded is reported so and can be loaded. One that it has loaded by itself (at its
start, or because a request named it) takes memory like any other and is to become an instance. Servers are asked; what
follows is the supervisor's.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.neuron.harness.interface import Harness, ListedModel

log = logging.getLogger(__name__)


class SharedModels:
    """What the shared servers of this node list. ``changed`` is called after every change of that."""

    def __init__(self, harnesses: Sequence[Harness], changed: Callable[[], None]) -> None:
        self._harnesses = tuple(h for h in harnesses if h.capabilities.process_model == "shared")
        self._changed = changed
        self._listed: dict[str, tuple[ListedModel, ...]] = {}
        self._silent: set[str] = set()

    async def refresh(self) -> None:
        """Ask every server for its models."""
        answers = await asyncio.gather(*(harness.listed() for harness in self._harnesses))
        for harness, answer in zip(self._harnesses, answers, strict=True):
            self._take(harness.name, answer)

    def is_silent(self, harness: str) -> bool:
        """Tell whether an entry's server did not answer the last question."""
        return harness in self._silent

    def lists(self, model_id: str) -> bool:
        """Tell whether a server listed a model when it last answered, in whatever state."""
        return any(listed.id == model_id for models in self._listed.values() for listed in models)

    def is_restart_due(self, harness: str) -> bool:
        """Tell whether an entry's server has a model that only a restart brings back."""
        return any(listed.is_broken for listed in self._listed.get(harness, ()))

    def present(self) -> Iterator[tuple[Harness, ListedModel]]:
        """Yield the models that are in the memory of a server that answers, or on their way there."""
        for harness in self._harnesses:
            if not self.is_silent(harness.name):
                for listed in self._listed.get(harness.name, ()):
                    if listed.status != "unloaded":
                        yield harness, listed

    def completed(self, own: Mapping[str, InstanceReport]) -> dict[str, InstanceReport]:
        """Return the entries of ``GET /models`` with one for every listed model: what is no instance can be loaded.

        Those that are unloaded say on which devices they would be.
        """
        reports = {
            listed.id: InstanceReport(
                id=listed.id, harness=harness.name, kind=harness.kind, status="unloaded", devices=listed.devices
            )
            for harness in reversed(self._harnesses)
            for listed in self._listed.get(harness.name, ())
        }
        for key, report in own.items():
            there = reports.get(key)
            is_there = there is not None and there.harness == report.harness and report.status == "unloaded"
            reports[key] = msgspec.structs.replace(report, devices=there.devices) if there and is_there else report
        return reports

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
