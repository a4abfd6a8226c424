"""What one node says it has: its models by id, and what of them is news to whoever acts on them.

Only what is otherwise is handed on, so that a poll costs what has changed and not what there is. A server that runs by
itself is the exception: it has no generations, and any change of the node may have put another one in its place.
"""

from collections.abc import Iterable

import msgspec

from cortex.contract.instance import InstanceReport
from cortex.contract.lease import InstanceUse

replace = msgspec.structs.replace


class Listing:
    """The reports of one node. Versions are not its matter: what is entered is newer than what was."""

    def __init__(self) -> None:
        self.reports: dict[str, InstanceReport] = {}
        self._alone: set[str] = set()
        """Loaded ones without a generation."""
        self._working: set[str] = set()
        """Those with requests in their engines, or waiting for them, when they were last told of."""
        self.worked_s: dict[str, float] = {}
        """When each last worked, by this host's clock, where that is known."""
        self.safe_until_s: dict[str, float] = {}
        """Until when each is protected."""

    def enter(
        self, models: Iterable[InstanceReport], gone: Iterable[str], now_s: float, *, is_whole: bool, is_new_life: bool
    ) -> tuple[list[InstanceReport], list[str]]:
        """Take in what is told; return the reports that are otherwise, all in a new life, and which are gone."""
        changed, listed = [], set()
        for report in models:
            listed.add(report.id)
            known = self.reports.get(report.id)
            if is_new_life or known is None or not (report == known or _is_older(report, known)):
                self._put(report, now_s)
                changed.append(report)
        lost = [model for model in (list(self.reports) if is_whole else gone) if model in self.reports]
        lost = [model for model in lost if model not in listed]
        for model in lost:
            self._drop(model)
        return changed, lost

    def see(self, report: InstanceReport, now_s: float) -> bool:
        """Take in what was seen of one model, ahead of what the node tells; return whether that is news."""
        known = self.reports.get(report.id)
        if known is not None and (report == known or report.generation < known.generation or _is_older(report, known)):
            return False
        self._put(report, now_s)
        return True

    def use(self, in_use: Iterable[InstanceUse], now_s: float) -> list[InstanceReport]:
        """Take in which models work or have worked lately; return the reports that are otherwise."""
        changed, still = [], set()
        for told in in_use:
            known = self.reports.get(told.model_id)
            if known is None:
                continue
            still.add(told.model_id)
            _note(self.worked_s, told.model_id, None if told.idle_s is None else now_s - told.idle_s)
            if (known.in_flight, known.idle_s, known.waiting) != (told.in_flight, told.idle_s, told.waiting):
                changed.append(replace(known, in_flight=told.in_flight, idle_s=told.idle_s, waiting=told.waiting))
        changed += [replace(self.reports[model], in_flight=0, waiting=0) for model in sorted(self._working - still)]
        for report in changed:
            self._set(report)
        return changed

    def alone(self) -> list[InstanceReport]:
        """Return the loaded models of servers that run by themselves."""
        return [self.reports[model] for model in sorted(self._alone)]

    def _put(self, report: InstanceReport, now_s: float) -> None:
        """Enter a report that was told whole: its spans count from now."""
        self._set(report)
        _note(self.worked_s, report.id, None if report.idle_s is None else now_s - report.idle_s)
        _note(self.safe_until_s, report.id, now_s + report.protected_s if report.protected_s > 0 else None)

    def _set(self, report: InstanceReport) -> None:
        self.reports[report.id] = report
        _mark(self._alone, report.id, report.status == "loaded" and not report.generation)
        _mark(self._working, report.id, report.in_flight > 0 or report.waiting > 0)

    def _drop(self, model: str) -> None:
        del self.reports[model]
        self.worked_s.pop(model, None)
        self.safe_until_s.pop(model, None)
        self._alone.discard(model)
        self._working.discard(model)


def _is_older(report: InstanceReport, known: InstanceReport) -> bool:
    """Tell whether a report was overtaken by one that was seen ahead of it: a generation is loaded once only."""
    if not report.generation or report.generation > known.generation:
        return False
    return report.generation < known.generation or (report.status == "loading" != known.status)


def _note(moments: dict[str, float], model: str, at_s: float | None) -> None:
    if at_s is None:
        moments.pop(model, None)
    else:
        moments[model] = at_s


def _mark(group: set[str], model: str, is_in: bool) -> None:
    group.add(model) if is_in else group.discard(model)
