"""What becomes of a request: granted at once, seated with those who wait, over.

The hot path is ``arrived``: a replica that is ready and has a slot free is granted without an await or a task switch.
"""

from cortex.fleet import event as happened
from cortex.fleet.effect import Effect, Grant
from cortex.fleet.floor import Floor
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.waiting import Waiting


class Arrival:
    """Takes in requests."""

    def __init__(self, floor: Floor, loading: Loading) -> None:
        self._floor = floor
        self._loading = loading

    def arrived(self, event: happened.RequestArrived, now_s: float) -> list[Effect]:
        model = self._floor.by_name.get(event.name)
        if model is not None:
            replica = model.pick(event.avoid)
            if replica is not None and replica.target is not None:
                replica.in_flight += 1
                replica.last_used_s = now_s
                self._floor.granted[event.ticket] = replica
                return [Grant(event.ticket, replica.target)]
        waiting = Waiting(event.ticket, event.name, event.avoid, now_s)
        if model is not None:
            return self._wait_for(model, waiting, now_s)
        self._floor.seat(waiting, self._floor.unresolved)
        return [self._floor.refuse_unknown(waiting)] if self._floor.is_settled(now_s) else []

    def finished(self, event: happened.RequestFinished, now_s: float) -> list[Effect]:
        replica = self._floor.granted.pop(event.ticket, None)
        if replica is None:
            room = self._floor.rooms.pop(event.ticket, None)
            if room is not None:
                del room[event.ticket]
            return []
        replica.in_flight -= 1
        replica.last_used_s = now_s
        model = self._floor.models[replica.model]
        if replica.state == "dropped" and not replica.in_flight:
            model.retired.remove(replica)
            self._floor.tidy()
        return self._floor.grant_waiting(model, now_s) if model.waiting else []

    def _wait_for(self, model: Model, waiting: Waiting, now_s: float) -> list[Effect]:
        """Seat a newcomer; the whole queue is looked at only where the newcomer's own lot does not settle it."""
        self._floor.seat(waiting, model.waiting)
        model.refresh(now_s)
        grants = self._floor.grant_waiting(model, now_s)
        if waiting.ticket not in self._floor.rooms or model.has_hope(waiting):
            return grants
        if self._floor.book.flight_of(model.id) is not None:
            waiting.is_cold = True
            return grants
        return grants + self._loading.advance(model, now_s)
