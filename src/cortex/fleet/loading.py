"""What is done for those who wait: grant, load, refuse; and how the loads that were asked for end.

Level-triggered: every news of the fleet and every tick looks at every queue again, so a lost message delays and never
strands. Models that want the same devices are looked at in the order of ``queueing.order_of``.
"""

from typing import Any

from cortex.contract.instance import LoadRequest, Victim
from cortex.fleet import event as happened
from cortex.fleet import refusal
from cortex.fleet.effect import Effect, FetchEndpoint, StartLoad
from cortex.fleet.enlargement import enlarged_mb
from cortex.fleet.floor import Floor
from cortex.fleet.forecast import outlook_of
from cortex.fleet.load_book import ACCIDENT_CODES, CALLED_OFF, CAPACITY_CODES, OUTDATED_CODES, Flight
from cortex.fleet.load_choice import Load, LoadChoice, Refusal, Wait, load_request, sized
from cortex.fleet.memory import LoadUnderWay
from cortex.fleet.model import Claim, Model, Wish
from cortex.fleet.outlook import Outlook
from cortex.fleet.placement import Placement
from cortex.fleet.queueing import Rival, Waiting, order_of
from cortex.fleet.reconcile import succeed, take_endpoint

LOOK_AGAIN_S = 0.25
"""Of a large fleet every news changes something; a model that has to wait is planned anew so often at the most."""
SMALL_FLEET = 32
OPERATOR = "operator"
"""The caller on whose account a wish goes."""
ASK_S = 2.0
"""Between two questions for a newer sample."""
OUT_OF_MEMORY = "out_of_memory"
OUTDATED = OUTDATED_CODES | {"no_room"}
"""Refusals that say that a node is otherwise than this gateway thinks."""


class Loading:
    """Looks at queues and at what is loaded for them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._choice = LoadChoice(floor.roster, floor.book, floor.models)
        self._is_small = len(floor.roster.nodes) <= SMALL_FLEET

    def advance_all(self, now_s: float) -> list[Effect]:
        """Look at every queue again."""
        floor = self._floor
        effects: list[Effect] = []
        for waiting in list(floor.unresolved.values()):
            model = floor.by_name.get(waiting.name)
            if model is not None:
                floor.unseat(waiting.ticket)
                floor.seat(waiting, model)
            elif floor.is_settled(now_s):
                effects.append(floor.refuse_unknown(waiting, now_s))
        for model in self._in_order(now_s):
            model.refresh(now_s)
            effects += self.advance(model, now_s)
        return effects

    def advance(self, model: Model, now_s: float) -> list[Effect]:
        """Grant what can be granted, refuse whose patience is over, and see to those for whom there is no hope yet."""
        effects = self._floor.grant_waiting(model, now_s)
        effects += self._refuse_late(model, now_s)
        stuck = model.stuck()
        if (stuck or model.wishes) and self._is_worth_a_look(model, now_s):
            effects += self._fulfil(model, now_s)
            if stuck and self._floor.book.flight_of(model.id) is None:
                effects += self._see_to(model, stuck, now_s)
        if stuck and self._floor.book.flight_of(model.id) is not None:
            for waiting in stuck:
                waiting.is_cold = True
        self._floor.settle_queue(model)
        return effects

    def wanted(self, event: happened.LoadWanted, now_s: float) -> list[Effect]:
        """Load a model because an operator says so, who may have mended why it failed: no back-off holds that up."""
        model = self._floor.models.get(event.model)
        if model is None:
            return []
        for node in self._floor.roster.nodes if event.node is None else (event.node,):
            self._floor.book.forgive(node, model.id)
        until_s = now_s + self._floor.policy.load_timeout_s
        return self.wish(model, Wish(node=event.node, until_s=until_s), now_s)

    def wish(self, model: Model, wish: Wish, now_s: float) -> list[Effect]:
        """Load a model because somebody wishes it, once; it is given up when it fails or takes too long."""
        if any(other.node == wish.node for other in model.wishes):
            return []
        model.wishes.append(wish)
        model.look_s = 0.0
        self._floor.queued[model.id] = model
        return self.advance(model, now_s)

    # What is under way

    def succeeded(self, event: happened.LoadSucceeded, now_s: float) -> list[Effect]:
        floor = self._floor
        model = floor.know(event.model)
        flight = floor.book.land(event.node, event.model)
        floor.book.forgive(event.node, event.model)
        floor.proposals.close(event.node, event.model, now_s)
        took_s = now_s - flight.started_s if flight is not None else None
        floor.decisions.note("load", "it is loaded", now_s=now_s, model=model.id, node=event.node, took_s=took_s)
        is_leaving = self._is_leaving(event)
        if event.report is not None and not is_leaving:
            floor.roster.put_report(event.node, event.report, now_s)
            is_estimate = _is_need_unknown(model) and event.node not in model.enlarged
            admitted_mb = event.report.declared_mb if is_estimate else None
            model.learnt_mb = admitted_mb or event.report.vram_used_mb or model.learnt_mb
        model.tried.clear()
        model.spared = ""
        model.enlarged.pop(event.node, None)
        model.claim = None
        self._forget_wishes(model, event.node)
        replica = model.replicas.get(event.node)
        if replica is None:
            replica = succeed(model, event.node, event.endpoint.generation, now_s)
        if is_leaving:
            replica.state = "draining"
        elif replica.state == "draining" and event.endpoint.generation > replica.generation:
            replica.state = "pending"
        must_fetch = take_endpoint(replica, model, event.endpoint, asked_s=event.asked_s, now_s=now_s)
        if event.parallel is not None:
            model.replicas[event.node].set_parallel(event.parallel)
        floor.leasing.take_place(model.replicas[event.node], event.endpoint, event.asked_s, now_s)
        model.refresh(now_s)
        fetches: list[Effect] = [FetchEndpoint(event.node, event.model)] if must_fetch else []
        return fetches + self.advance(model, now_s)

    def _is_leaving(self, event: happened.LoadSucceeded) -> bool:
        """Tell whether what was loaded is known to drain: its place was named before, and news will undo that."""
        node = self._floor.roster.nodes.get(event.node)
        listed = node.report_of(event.model) if node is not None else None
        is_same = listed is not None and listed.generation == event.endpoint.generation
        return listed is not None and is_same and listed.status in ("draining", "unloading")

    def failed(self, event: happened.LoadFailed, now_s: float) -> list[Effect]:
        floor = self._floor
        flight = floor.book.land(event.node, event.model)
        if event.code == CALLED_OFF:
            return self._called_off(event, now_s)
        floor.book.fail(
            event.node,
            event.model,
            code=event.code,
            message=event.message,
            log_tail=event.log_tail,
            now_s=now_s,
            retry_in_s=event.retry_in_s,
        )
        is_passing = event.code in CAPACITY_CODES
        victims = () if flight is None else flight.load.victims
        asked: dict[str, Any] = {"evicts": list(victims)} if victims else {}
        floor.decisions.note(
            "deferral" if is_passing else "failure",
            event.message,
            now_s=now_s,
            model=event.model,
            node=event.node,
            code=event.code,
            **asked,
        )
        if is_passing and event.code != "no_room":
            floor.proposals.withdraw(event.node, event.model)
        else:
            floor.proposals.close(event.node, event.model, now_s)
        if event.code in OUTDATED:
            floor.leasing.ask(event.node, now_s)
        model = floor.models.get(event.model)
        if model is None:
            return []
        model.look_s = 0.0
        if event.need_mb is not None and _is_need_unknown(model):
            model.learnt_mb = event.need_mb
        if not is_passing:
            model.claim = None
            self._learn_from(model, event, flight)
            self._forget_wishes(model, event.node)
        return self.advance(model, now_s)

    def _called_off(self, event: happened.LoadFailed, now_s: float) -> list[Effect]:
        """Somebody has unloaded it meanwhile: who wished for it is told so, for who waits it is loaded again."""
        floor = self._floor
        floor.decisions.note(
            "deferral", event.message, now_s=now_s, model=event.model, node=event.node, code=event.code
        )
        floor.proposals.close(event.node, event.model, now_s)
        model = floor.models.get(event.model)
        if model is None:
            return []
        model.claim, model.look_s = None, 0.0
        self._forget_wishes(model, event.node)
        return self.advance(model, now_s)

    def deferred(self, event: happened.LoadDeferred, now_s: float) -> list[Effect]:
        """Somebody else loads it: look again when that should be over, or when its node tells."""
        floor = self._floor
        floor.book.land(event.node, event.model)
        floor.proposals.withdraw(event.node, event.model)
        reason = f"{event.holder} loads it on {event.target}"
        floor.decisions.note("deferral", reason, now_s=now_s, model=event.model, node=event.target)
        model = floor.models.get(event.model)
        if model is None:
            return []
        model.deferred_until_s = now_s + event.retry_in_s
        if event.node in model.tried:
            model.tried.remove(event.node)
        return self.advance(model, now_s)

    def _learn_from(self, model: Model, event: happened.LoadFailed, flight: Flight | None) -> None:
        """After an engine ran out of memory the same node is tried once more, with more room; after an accident too."""
        asked_mb = flight.load.need_mb if flight is not None else 0
        if event.code == OUT_OF_MEMORY and flight is not None and asked_mb and event.node not in model.enlarged:
            memory = self._floor.roster.nodes[event.node].memory
            model.enlarged[event.node] = enlarged_mb(asked_mb, flight.load.devices, memory)
            self._floor.book.forgive(event.node, event.model)
        elif model.waiting and event.code in ACCIDENT_CODES and not model.spared:
            model.spared = event.node
        elif model.waiting:
            model.tried.append(event.node)

    def start_advised(
        self,
        model: Model,
        placement: Placement,
        evict: tuple[Victim, ...],
        *,
        reason: str,
        steward: int | None,
        now_s: float,
    ) -> list[Effect]:
        """Load a model because the steward says so, unless it is being loaded there."""
        if self._floor.book.is_under_way(placement.node, model.id):
            return []
        profile = None if model.profile is None else sized(model, model.profile, placement.node)
        request = load_request(model.id, profile, placement, evict, steward=steward)
        return self._start(model, Load(placement.node, request, reason), now_s, caller="steward")

    # What to load

    def _in_order(self, now_s: float) -> list[Model]:
        """Return the models that want something, those first whose turn it is."""
        queued = self._floor.queued
        if len(queued) < 2:
            return list(queued.values())
        rivals = [rival_of(model, now_s) for model in queued.values()]
        return [queued[name] for name in order_of(rivals, now_s=now_s, starve_s=self._floor.policy.starve_s)]

    def _is_worth_a_look(self, model: Model, now_s: float) -> bool:
        return now_s >= model.deferred_until_s and (self._is_small or now_s >= model.look_s)

    def _see_to(self, model: Model, stuck: list[Waiting], now_s: float) -> list[Effect]:
        choice = self._choose(model, None, now_s)
        if isinstance(choice, Refusal):
            return self._refuse_all(stuck, choice, model, now_s)
        first = next((one for one in stuck if one.no_load_s is None), None)
        if first is None and isinstance(choice, Load):
            return self._refuse_loads(stuck, model, now_s)
        first = first or stuck[0]
        effects = self._start(model, choice, now_s, caller=first.caller, ticket=first.ticket)
        if isinstance(choice, Wait) and choice.otherwise is not None:
            hasty = [one for one in stuck if self._patience_ends_s(one) <= choice.until_s]
            effects += self._refuse_all(hasty, choice.otherwise, model, now_s)
        return effects

    def _refuse_all(self, refused: list[Waiting], why: Refusal, model: Model, now_s: float) -> list[Effect]:
        return [self._floor.refuse(waiting, why.error, model.id, now_s, why.node) for waiting in refused]

    def _refuse_loads(self, refused: list[Waiting], model: Model, now_s: float) -> list[Effect]:
        """None of those who wait may cause a load. One that somebody else causes they may wait for."""
        return [
            self._floor.refuse(waiting, refusal.no_load(model.id, waiting.no_load_s or 0.0), model.id, now_s)
            for waiting in refused
        ]

    def _patience_ends_s(self, waiting: Waiting) -> float:
        patience_s = waiting.patience_s
        return waiting.since_s + (self._floor.policy.load_timeout_s if patience_s is None else patience_s)

    def _fulfil(self, model: Model, now_s: float) -> list[Effect]:
        """Start what was wished for and can be."""
        model.wishes = [wish for wish in model.wishes if now_s < wish.until_s and not self._is_fulfilled(model, wish)]
        effects: list[Effect] = []
        for wish in list(model.wishes):
            flights = self._floor.book.flights_of(model.id)
            if flights and (wish.node is None or wish.node in flights):
                continue
            choice = self._choose(model, wish, now_s)
            if isinstance(choice, Refusal):
                model.wishes.remove(wish)
                reason = f"wished for by the {OPERATOR}: {choice.error.message}"
                self._floor.decisions.note(
                    "refusal", reason, now_s=now_s, model=model.id, node=wish.node or "", caller=OPERATOR,
                    code=choice.error.code,
                )  # fmt: skip
            else:
                effects += self._start(model, choice, now_s, caller=OPERATOR)
        return effects

    def _choose(self, model: Model, wish: Wish | None, now_s: float) -> Load | Wait | Refusal:
        model.look_s = now_s + LOOK_AGAIN_S
        return self._choice.choose(
            model,
            strategy=self._floor.policy.strategy,
            is_settled=self._floor.is_settled(now_s),
            wish=wish,
            taken=self._claims_before(model, now_s),
            now_s=now_s,
        )

    def _claims_before(self, model: Model, now_s: float) -> list[Claim]:
        """Return what is waited for by models that go before this one. Among equals the nodes keep the order."""
        claims = [other for other in self._floor.queued.values() if other.claim is not None and other is not model]
        mine = rival_of(model, now_s)
        if not claims or self._is_starved(mine, now_s):
            return []
        return [
            other.claim
            for other in claims
            if other.claim is not None and self._goes_before(rival_of(other, now_s), mine, now_s)
        ]

    def _goes_before(self, other: Rival, mine: Rival, now_s: float) -> bool:
        return self._is_starved(other, now_s) or other.queue_priority > mine.queue_priority

    def _is_starved(self, rival: Rival, now_s: float) -> bool:
        return now_s - rival.oldest_since_s >= self._floor.policy.starve_s

    def _start(self, model: Model, choice: Load | Wait, now_s: float, *, caller: str, ticket: int = 0) -> list[Effect]:
        if isinstance(choice, Wait):
            self._ask(model, choice, now_s)
            return []
        floor, request = self._floor, choice.request
        floor.book.start(choice.node, _under_way(request, model.learnt_mb), now_s)
        model.claim = Claim(choice.node, frozenset(request.devices or ()))
        floor.decisions.note(
            "placement", choice.reason, now_s=now_s, model=model.id, node=choice.node, caller=caller,
            devices=request.devices, evicts=[victim.model_id for victim in request.evict],
        )  # fmt: skip
        floor.proposals.propose(choice.node, request.evict, by=model.id, caller=caller)
        return [StartLoad(choice.node, request, choice.is_first, ticket)]

    def _ask(self, model: Model, wait: Wait, now_s: float) -> None:
        """Have nodes report by whose newest sample it is decided, not too often."""
        if wait.ask and now_s - model.asked_s >= ASK_S:
            model.asked_s = now_s
            for node in wait.ask:
                self._floor.leasing.ask(node, now_s)

    def _is_fulfilled(self, model: Model, wish: Wish) -> bool:
        replicas = model.replicas
        if wish.node is None:
            return any(replica.is_serving for replica in replicas.values())
        return wish.node in replicas and replicas[wish.node].is_serving

    def _forget_wishes(self, model: Model, node: str) -> None:
        model.wishes = [wish for wish in model.wishes if wish.node not in (None, node)]

    # Whose patience is over

    def _refuse_late(self, model: Model, now_s: float) -> list[Effect]:
        late = model.waiting.overdue(now_s, self._floor.policy.load_timeout_s)
        if not late:
            return []
        refused: list[Effect] = []
        for waiting in late:
            waited_s = now_s - waiting.since_s
            if model.ready and not waiting.avoid:
                refused.append(self._floor.refuse(waiting, refusal.no_slot(model.id, waited_s), model.id, now_s))
            else:
                outlook = outlook_of(self._floor, waiting.ticket, now_s) or Outlook(state="queued")
                cause = refusal.still_waiting(model.id, outlook, waited_s)
                refused.append(self._floor.refuse(waiting, cause, model.id, now_s, outlook.node))
        return refused


def rival_of(model: Model, now_s: float) -> Rival:
    """Return a model as one of those that want the same devices."""
    since_s = model.waiting.oldest_since_s()
    own = model.profile.queue_priority if model.profile is not None else 0
    priority = own + model.waiting.priority()
    return Rival(model=model.id, queue_priority=priority, oldest_since_s=now_s if since_s is None else since_s)


def _is_need_unknown(model: Model) -> bool:
    return model.profile is None or model.profile.vram_mb is None


def _under_way(request: LoadRequest, learnt_mb: int) -> LoadUnderWay:
    return LoadUnderWay(
        model=request.model_id,
        need_mb=request.vram_mb or learnt_mb,
        devices=request.devices or (),
        victims=tuple(victim.model_id for victim in request.evict),
    )
