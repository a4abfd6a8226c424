"""What becomes of a request: granted at once, seated with those who wait, over.

The hot path is ``arrived``: a replica that is ready and has a slot free is granted without an await or a task switch.
"""

from cortex.fleet import event as happened
from cortex.fleet import refusal
from cortex.fleet.effect import Effect, Grant
from cortex.fleet.floor import Floor
from cortex.fleet.loading import Loading
from cortex.fleet.model import Model
from cortex.fleet.queueing import Queue, Waiting


class Arrival:
    """Takes in requests."""

    def __init__(self, floor: Floor, loading: Loading) -> None:
        self._floor = floor
        self._loading = loading

    def arrived(self, event: happened.RequestArrived, now_s: float) -> list[Effect]:
        model = self._floor.by_name.get(event.name)
        if model is not None and not model.waiting:
            replica = model.pick(event.avoid, event.head, event.tokens)
            if replica is not None and replica.target is not None:
                self._floor.take_slot(event.ticket, replica, event.tokens, now_s)
                return [Grant(event.ticket, replica.target, False, not replica.circuit.is_closed)]
        waiting = Waiting(
            event.ticket,
            event.name,
            event.avoid,
            now_s,
            caller=event.caller,
            tokens=event.tokens,
            head=event.head,
            patience_s=event.patience_s,
            priority=event.priority,
            no_load_s=event.no_load_s,
        )
        if model is not None:
            return self._wait_for(model, waiting, now_s)
        return self._wait_to_be_known(waiting, now_s)

    def finished(self, event: happened.RequestFinished, now_s: float) -> list[Effect]:
        grant = self._floor.granted.pop(event.ticket, None)
        if grant is None:
            self._leave(event.ticket)
            return []
        replica, tokens = grant
        replica.in_flight -= 1
        replica.tokens_in_flight -= tokens
        replica.last_used_s = now_s
        model = self._floor.models[replica.model]
        if replica.state == "dropped" and not replica.in_flight:
            model.retired.remove(replica)
            self._floor.forget_idle((model.id,))
        if event.is_cancelled or replica.is_shared or replica.state == "draining":
            self._floor.leasing.freed(replica, now_s, is_cancelled=event.is_cancelled)
        if not replica.circuit.is_closed:
            replica.circuit.end(event.ticket, is_cancelled=event.is_cancelled)
            model.refresh(now_s)
        return self._floor.grant_waiting(model, now_s) if model.waiting else []

    def answered(self, event: happened.RequestAnswered, now_s: float) -> list[Effect]:
        """The engine of a probe works: let the others go to it."""
        grant = self._floor.granted.get(event.ticket)
        if grant is None or grant[0].circuit.is_closed:
            return []
        replica = grant[0]
        replica.circuit.answer(event.ticket)
        model = self._floor.models[replica.model]
        model.refresh(now_s)
        return self._floor.grant_waiting(model, now_s)

    def _leave(self, ticket: int) -> None:
        """Let one go that did not want to wait any longer; a queue in which nobody waits is of no further interest."""
        waiting = self._floor.unseat(ticket)
        model = self._floor.by_name.get(waiting.name) if waiting is not None else None
        if model is not None:
            self._floor.settle_queue(model)

    def _wait_for(self, model: Model, waiting: Waiting, now_s: float) -> list[Effect]:
        """Seat a newcomer; the whole queue is looked at only where the newcomer's own lot does not settle it."""
        refused = self._refuse_beyond_bound(waiting, model.waiting, model.id, now_s)
        if refused:
            return refused
        self._floor.seat(waiting, model)
        model.refresh(now_s)
        grants = self._floor.grant_waiting(model, now_s)
        if waiting.ticket not in self._floor.rooms:
            return grants
        self._floor.leasing.short(model, now_s)
        if model.has_hope(waiting):
            return grants
        if self._floor.book.flight_of(model.id) is not None:
            waiting.is_cold = True
            return grants
        return grants + self._loading.advance(model, now_s)

    def _wait_to_be_known(self, waiting: Waiting, now_s: float) -> list[Effect]:
        if self._floor.is_settled(now_s):
            return [self._floor.refuse_unknown(waiting, now_s)]
        refused = self._refuse_beyond_bound(waiting, self._floor.unresolved, "", now_s)
        if not refused:
            self._floor.seat(waiting, None)
        return refused

    def _refuse_beyond_bound(self, waiting: Waiting, queue: Queue, model: str, now_s: float) -> list[Effect]:
        full = queue.refusal_for(waiting, self._floor.policy.bound)
        if full is None:
            return []
        return [self._floor.refuse(waiting, refusal.queue_full(model or waiting.name, full, len(queue)), model, now_s)]
