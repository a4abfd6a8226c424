"""From a picture of the fleet to what the admin API shows of models. Pure; changes nothing."""

from cortex.contract.admin import HoldEntry, LoadEntry, ModelEntry
from cortex.contract.instance import BEST_FIRST, InstanceReport
from cortex.contract.profile import Profile
from cortex.fleet.load_book import Failure, Flight
from cortex.fleet.view import FleetView, ModelView

UNKNOWN = Profile(id="", harness="")
"""What is said of a model that the catalogue does not have."""


def model_entries(view: FleetView) -> tuple[ModelEntry, ...]:
    """Return all models, by id."""
    reports: dict[str, dict[str, InstanceReport]] = {}
    for node in view.nodes:
        for report in node.models if node.is_healthy else ():
            reports.setdefault(report.id, {})[node.name] = report
    return tuple(_entry(model, reports.get(model.id, {}), view.now_s) for model in view.models)


def _entry(model: ModelView, reports: dict[str, InstanceReport], now_s: float) -> ModelEntry:
    profile = model.profile or UNKNOWN
    ready = {replica.node for replica in model.replicas if replica.is_ready}
    loaded = ready | {node for node, report in reports.items() if report.status == "loaded"}
    statuses = [report.status for report in reports.values()]
    status = "loaded" if ready else min(statuses, key=BEST_FIRST.index, default="unloaded")
    if model.loading_on is not None and status not in ("loaded", "loading"):
        status = "loading"
    return ModelEntry(
        id=model.id,
        aliases=profile.aliases,
        in_catalogue=model.profile is not None,
        status=status,
        nodes=tuple(sorted(loaded)),
        in_flight=sum(replica.in_flight for replica in model.replicas),
        waiting=model.waiting,
        harness=profile.harness or next((report.harness for report in reports.values()), ""),
        quant=profile.quant,
        vram_mb=profile.vram_mb,
        context=profile.context,
        priority=profile.priority,
        preload=profile.preload,
        min_replicas=profile.min_replicas,
        max_replicas=profile.max_replicas,
        pinned_on=profile.pinned_on,
        loading=tuple(_load_entry(flight, reports.get(flight.node), now_s) for flight in model.flights),
        held=tuple(_hold_entry(failure, now_s) for failure in model.failures),
    )


def _load_entry(flight: Flight, report: InstanceReport | None, now_s: float) -> LoadEntry:
    progress = report.progress if report is not None and report.status == "loading" else None
    return LoadEntry(node=flight.node, for_s=round(now_s - flight.started_s, 3), progress=progress)


def _hold_entry(failure: Failure, now_s: float) -> HoldEntry:
    return HoldEntry(
        node=failure.node,
        code=failure.code,
        message=failure.message,
        failures_in_a_row=failure.count,
        retry_in_s=round(failure.until_s - now_s, 3),
        log_tail=failure.log_tail,
    )
