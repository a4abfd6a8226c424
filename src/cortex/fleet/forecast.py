"""What a request that waits may be told: whether its model is loading, where, how far, and for about how long yet.

Reads what the dispatcher knows and changes nothing. An estimate is given only where the model has been loaded before.
"""

from cortex.contract.instance import InstanceReport
from cortex.fleet.floor import Floor
from cortex.fleet.load_book import CAPACITY_CODES, Flight
from cortex.fleet.model import Model
from cortex.fleet.outlook import Outlook
from cortex.fleet.queueing import Queue


def outlook_of(floor: Floor, ticket: int, now_s: float) -> Outlook | None:
    """Return the outlook of a request, None when it does not wait."""
    room = floor.rooms.get(ticket)
    waiting = room.find(ticket) if room is not None else None
    if room is None or waiting is None:
        return None
    model = floor.by_name.get(waiting.name)
    if model is None:
        return Outlook(state="starting")
    flight = floor.book.flight_of(model.id)
    if flight is not None:
        return _of_load(floor, model, flight, now_s)
    if model.ready:
        return Outlook(state="queued", position=_position(room, ticket))
    for node in floor.roster.nodes.values():
        report = node.report_of(model.id)
        if report is not None and report.status == "loading":
            return Outlook(state="loading", node=node.name, progress=report.progress)
        failure = floor.book.failure_of(node.name, model.id)
        if failure is not None and failure.code in CAPACITY_CODES:
            return Outlook(state="making_room", node=node.name)
    return Outlook(state="queued", position=_position(room, ticket))


def _of_load(floor: Floor, model: Model, flight: Flight, now_s: float) -> Outlook:
    report = floor.roster.nodes[flight.node].report_of(model.id)
    if report is None or report.status != "loading":
        return Outlook(state="making_room" if flight.load.victims else "starting", node=flight.node)
    left_s = _usual_s(floor, model, report) - (now_s - flight.started_s)
    return Outlook(state="loading", node=flight.node, progress=report.progress, eta_s=left_s if left_s > 0 else None)


def _usual_s(floor: Floor, model: Model, report: InstanceReport) -> float:
    """Return how long a load took the last time: there, else anywhere; 0 when nobody knows."""
    if report.load_s is not None:
        return report.load_s
    others = (node.report_of(model.id) for node in floor.roster.nodes.values())
    return max((other.load_s for other in others if other is not None and other.load_s is not None), default=0.0)


def _position(room: Queue, ticket: int) -> int:
    return next((place for place, waiting in enumerate(room.values()) if waiting.ticket == ticket), 0)
