"""The models of servers that several of them share: what each server lists, and what it has that nobody here loaded.

A model that such a server lists as unloaded is reported so and can be loaded. One that it has loaded by itself (at its
start, or because a request named it) takes memory like any other and is to become an instance. Servers are asked; what
follows is the supervisor's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.neuron.harness.interface import Harness, ListedModel
from cortex.neuron.server_list import ServerLists


class SharedModels:
    """What the shared servers of this node list. ``changed`` is called after every change of that."""

    def __init__(self, harnesses: Sequence[Harness], changed: Callable[[], None]) -> None:
        self._lists = ServerLists([h for h in harnesses if h.capabilities.process_model == "shared"], changed)
        self.refresh = self._lists.refresh
        self.is_silent = self._lists.is_silent

    def lists(self, model_id: str) -> bool:
        """Tell whether a server listed a model when it last answered, in whatever state."""
        return any(listed.id == model_id for _, listed in self._lists)

    def is_restart_due(self, harness: str) -> bool:
        """Tell whether an entry's server has a model that only a restart brings back."""
        return any(listed.is_broken for listed in self._lists.of(harness))

    def present(self) -> Iterator[tuple[Harness, ListedModel]]:
        """Yield the models that are in the memory of a server that answers, or on their way there."""
        for harness, listed in self._lists:
            if listed.status != "unloaded" and not self.is_silent(harness.name):
                yield harness, listed

    def completed(self, own: Mapping[str, InstanceReport]) -> dict[str, InstanceReport]:
        """Return the entries of ``GET /models`` with one for every listed model: what is no instance can be loaded.

        Those that are unloaded say on which devices they would be.
        """
        reports: dict[str, InstanceReport] = {}
        for harness, listed in self._lists:
            report = InstanceReport(
                id=listed.id, harness=harness.name, kind=harness.kind, status="unloaded", devices=listed.devices
            )
            reports.setdefault(listed.id, report)
        for key, report in own.items():
            there = reports.get(key)
            is_there = there is not None and there.harness == report.harness and report.status == "unloaded"
            reports[key] = msgspec.structs.replace(report, devices=there.devices) if there and is_there else report
        return reports
