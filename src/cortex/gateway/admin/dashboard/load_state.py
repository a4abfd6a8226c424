"""How far a load is and for about how long yet, as operators are told. Pure."""

from typing import NamedTuple

from cortex.contract.instance import InstanceReport
from cortex.fleet.view import FleetView

ENOUGH = 0.1
"""From here on its pace says more than the last load does."""


class LoadState(NamedTuple):
    """One load under way. ``progress`` is 0 to 1; what nobody knows is None."""

    node: str
    for_s: float | None
    progress: float | None
    eta_s: float | None


def loads_of(view: FleetView, model: str) -> tuple[LoadState, ...]:
    """Return the loads of a model: those that this gateway has asked for, and those that nodes tell of, by node."""
    flights = {flight.node: flight for one in view.models if one.id == model for flight in one.flights}
    reports = {node.name: report for node in view.nodes if (report := node.report_of(model)) is not None}
    usual_s = max((report.load_s for report in reports.values() if report.load_s is not None), default=None)
    loading = {name for name, report in reports.items() if report.status == "loading"}
    return tuple(
        _state(node, reports.get(node), view.now_s - flights[node].started_s if node in flights else None, usual_s)
        for node in sorted(loading | flights.keys())
    )


def _state(node: str, report: InstanceReport | None, for_s: float | None, usual_s: float | None) -> LoadState:
    progress = report.progress if report is not None and report.status == "loading" else None
    if report is not None and report.load_s is not None:
        usual_s = report.load_s
    return LoadState(node=node, for_s=for_s, progress=progress, eta_s=eta_s(for_s, progress, usual_s))


def eta_s(for_s: float | None, progress: float | None, usual_s: float | None) -> float | None:
    """Return for how long it will load yet, by its pace or by the last load of it; None when neither says."""
    if for_s is None:
        return None
    if progress is not None and progress >= ENOUGH:
        return for_s * (1 - progress) / progress
    left_s = (usual_s or 0.0) - for_s
    return left_s if left_s > 0 else None
