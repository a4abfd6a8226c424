"""What is done for those who wait: grant, load, refuse; and how the loads that were asked for end.

Level-triggered: every news of the fleet looks at every queue again, so a lost message delays and never strands.
"""

from cortex.fleet import event as happened
from cortex.fleet import refusal
from cortex.fleet.effect import Effect, FetchEndpoint, StartLoad
from cortex.fleet.floor import Floor
from cortex.fleet.load_choice import Load, Refusal, choose_load
from cortex.fleet.model import Model
from cortex.fleet.reconcile import succeed, take_endpoint
from cortex.fleet.waiting import overdue


class Loading:
    """Looks at queues and at what is loaded for them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def advance_all(self, now_s: float) -> list[Effect]:
        """Look at every queue again."""
        effects: list[Effect] = []
        for waiting in list(self._floor.unresolved.values()):
            model = self._floor.by_name.get(waiting.name)
            if model is not None:
                self._floor.unseat(waiting)
                self._floor.seat(waiting, model.waiting)
            elif self._floor.is_settled(now_s):
                effects.append(self._floor.refuse_unknown(waiting))
        for model in list(self._floor.models.values()):
            model.refresh(now_s)
            if model.waiting:
                effects += self.advance(model, now_s)
        return effects

    def advance(self, model: Model, now_s: float) -> list[Effect]:
        """Grant what can be granted, refuse whose patience is over, and see to those for whom there is no hope yet."""
        effects = self._floor.grant_waiting(model, now_s)
        effects += self._refuse_late(model, now_s)
        stuck = model.stuck()
        if stuck and self._floor.book.flight_of(model.id) is None:
            is_settled = self._floor.is_settled(now_s)
            choice = choose_load(model, self._floor.roster, self._floor.book, is_settled=is_settled, now_s=now_s)
            if isinstance(choice, Refusal):
                effects += [self._floor.refuse(waiting, choice.error, model.id, choice.node) for waiting in stuck]
                model.tried.clear()
            elif isinstance(choice, Load):
                self._floor.book.start(choice.node, model.id, now_s)
                model.tried.append(choice.node)
                effects.append(StartLoad(choice.node, choice.request))
        if self._floor.book.flight_of(model.id) is not None:
            for waiting in stuck:
                waiting.is_cold = True
        return effects

    def _refuse_late(self, model: Model, now_s: float) -> list[Effect]:
        late = overdue(model.waiting, now_s, self._floor.policy.load_timeout_s)
        if not late:
            return []
        flight = self._floor.book.flight_of(model.id)
        node = flight.node if flight is not None else ""
        refused: list[Effect] = []
        for waiting in late:
            waited_s = now_s - waiting.since_s
            if model.ready and not waiting.avoid:
                refused.append(self._floor.refuse(waiting, refusal.no_slot(model.id, waited_s), model.id))
            else:
                refused.append(
                    self._floor.refuse(waiting, refusal.still_loading(model.id, node, waited_s), model.id, node)
                )
        return refused

    def succeeded(self, event: happened.LoadSucceeded, now_s: float) -> list[Effect]:
        model = self._floor.models.setdefault(event.model, Model(event.model))
        self._floor.book.land(event.node, event.model)
        self._floor.book.forgive(event.node, event.model)
        if event.report is not None:
            self._floor.roster.put_report(event.node, event.report)
        model.tried.clear()
        replica = model.replicas.get(event.node)
        if replica is None:
            replica = succeed(model, event.node, event.endpoint.generation, now_s)
        if replica.state == "draining":
            replica.state = "pending"
        must_fetch = take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s)
        if event.parallel is not None:
            model.replicas[event.node].set_parallel(event.parallel)
        self._floor.tidy()
        model.refresh(now_s)
        fetches: list[Effect] = [FetchEndpoint(event.node, event.model)] if must_fetch else []
        return fetches + self.advance(model, now_s)

    def failed(self, event: happened.LoadFailed, now_s: float) -> list[Effect]:
        self._floor.book.land(event.node, event.model)
        self._floor.book.fail(
            event.node, event.model, code=event.code, message=event.message, log_tail=event.log_tail, now_s=now_s
        )
        model = self._floor.models.get(event.model)
        if model is None:
            return []
        if not model.waiting:
            model.tried.clear()
        return self.advance(model, now_s)
