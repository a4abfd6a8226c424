"""What the dispatcher knows, in one place: models by name, who has a place, who waits. Its rooms share it.

``floor`` itself only seats, grants and refuses; when to do which is decided by ``arrival`` (requests), ``news`` (what
nodes tell) and ``loading`` (what to load where). One writer: the dispatcher, which calls them one event at a time.
"""

from collections.abc import Iterable, Iterator

import msgspec

from cortex.contract import error
from cortex.contract.profile import Profile
from cortex.fleet import refusal
from cortex.fleet.decision import DecisionLog
from cortex.fleet.desk import DISCOVERY_S
from cortex.fleet.effect import Effect, Grant, Refuse
from cortex.fleet.eviction import Strategy
from cortex.fleet.leasing import Leasing
from cortex.fleet.liveness import MISSES
from cortex.fleet.load_book import LoadBook
from cortex.fleet.model import Model
from cortex.fleet.proposal import Proposals
from cortex.fleet.queueing import Queue, QueueBound, Waiting
from cortex.fleet.replica import Replica
from cortex.fleet.resolve import describe_unknown, name_table
from cortex.fleet.roster import Roster
from cortex.fleet.stewardship import StewardRules


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    load_timeout_s: float = 600.0
    """A request that has waited this long is refused; also bounds waiting for a slot."""
    settle_s: float = 5.0
    """How long after start a node that has not answered can hold up decisions."""
    starve_s: float = 120.0
    """Who has waited so long goes before others of any priority."""
    strategy: Strategy = "lru"
    bound: QueueBound = QueueBound()
    misses: int = MISSES
    """A node that does not answer so often in a row is not healthy."""
    discovery_s: float = DISCOVERY_S
    """Between two questions for what a host is made of."""
    rules: StewardRules = StewardRules()


class Floor:
    """The state of one dispatcher."""

    def __init__(
        self,
        nodes: Iterable[str],
        profiles: Iterable[Profile],
        policy: Policy,
        started_s: float,
        gateway_id: str = "gateway",
    ) -> None:
        self.policy = policy
        self.roster = Roster(nodes, gateway_id, misses=policy.misses, discovery_s=policy.discovery_s)
        self.leasing = Leasing(self)
        self.book = LoadBook()
        self.models: dict[str, Model] = {}
        self.by_name: dict[str, Model] = {}
        self.granted: dict[int, tuple[Replica, int]] = {}
        """By ticket: where, and how many tokens it was taken for."""
        self.rooms: dict[int, Queue] = {}
        """By ticket: where it waits."""
        self.unresolved = Queue()
        """Who asked for a name that is not known yet."""
        self.queued: dict[str, Model] = {}
        """The models for which somebody waits, or that somebody wishes for."""
        self.proposals = Proposals()
        self.decisions = DecisionLog()
        self._started_s = started_s
        self.take_profiles(profiles)

    def is_settled(self, now_s: float) -> bool:
        """Tell whether every node has been asked once since start, or was given long enough."""
        return self.roster.all_tried() or now_s - self._started_s >= self.policy.settle_s

    def in_flight(self) -> Iterator[tuple[str, str, int]]:
        """Go through (model, node, requests granted and not finished), pairs without requests left out."""
        for model in self.models.values():
            counts: dict[str, int] = {}
            for replica in (*model.replicas.values(), *model.retired):
                if replica.in_flight:
                    counts[replica.node] = counts.get(replica.node, 0) + replica.in_flight
            for node, count in counts.items():
                yield model.id, node, count

    # Requests

    def seat(self, waiting: Waiting, model: Model | None) -> None:
        """Let a request wait for a model, None while its name is not known."""
        room = self.unresolved if model is None else model.waiting
        room.add(waiting)
        self.rooms[waiting.ticket] = room
        if model is not None:
            self.queued[model.id] = model

    def unseat(self, ticket: int) -> Waiting | None:
        """Let a request wait no longer; None when it does not wait."""
        room = self.rooms.pop(ticket, None)
        return None if room is None else room.remove(ticket)

    def settle_queue(self, model: Model) -> None:
        """Put a model away for which nobody waits any more."""
        if not model.waiting:
            model.tried.clear()
            model.spared = ""
            model.claim = None
            if not model.wishes:
                model.shut_since_s = None
                self.queued.pop(model.id, None)

    def grant_waiting(self, model: Model, now_s: float) -> list[Effect]:
        """Grant in fair order."""
        served: list[Effect] = []
        for waiting, replica in model.waiting.serve(lambda one: model.pick(one.avoid, one.head, one.tokens)):
            del self.rooms[waiting.ticket]
            self.take_slot(waiting.ticket, replica, waiting.tokens, now_s)
            self._note_grant(waiting, model.id, replica.node, now_s)
            served.append(Grant(waiting.ticket, replica.aimed(), waiting.is_cold, not replica.circuit.is_closed))
        return served

    def _note_grant(self, waiting: Waiting, model: str, node: str, now_s: float) -> None:
        caller, waited_s = waiting.caller, now_s - waiting.since_s
        if waiting.is_cold:
            reason = "its model had to be loaded"
            self.decisions.note(
                "grant-cold", reason, now_s=now_s, model=model, node=node, caller=caller, waited_s=waited_s
            )
        else:
            self.decisions.count("grant-queued", now_s=now_s, model=model, node=node, caller=caller, waited_s=waited_s)

    def take_slot(self, ticket: int, replica: Replica, tokens: int, now_s: float) -> None:
        """Let a request have a slot, until ``give_back``."""
        if not replica.in_flight:
            self.leasing.turned_busy(replica, now_s)
        replica.in_flight += 1
        replica.tokens_in_flight += tokens
        replica.last_used_s = now_s
        self.granted[ticket] = (replica, tokens)
        if not replica.circuit.is_closed:
            replica.circuit.send(ticket)
            self.models[replica.model].refresh(now_s)

    def refuse(self, waiting: Waiting, cause: error.CortexError, model: str, now_s: float, node: str = "") -> Refuse:
        """Answer a request that waits, or would have liked to, with an error."""
        self.unseat(waiting.ticket)
        caller, words = waiting.caller, cause.message
        self.decisions.note("refusal", words, now_s=now_s, model=model, node=node, caller=caller, code=cause.code)
        return Refuse(waiting.ticket, cause, model, node)

    def refuse_unknown(self, waiting: Waiting, now_s: float) -> Refuse:
        """Answer a request for a name that nothing answers to."""
        return self.refuse(waiting, self.unknown(waiting.name), "", now_s)

    def unknown(self, name: str) -> error.CortexError:
        """Return what is wrong with a name that nothing answers to."""
        if not self.roster.any_healthy():
            return refusal.no_healthy_node(self.roster.nodes.values())
        table = {known: model.id for known, model in self.by_name.items()}
        return error.ModelNotFound(describe_unknown(name, table), model=name)

    # Names

    def take_profiles(self, profiles: Iterable[Profile]) -> None:
        """Go on with another catalogue."""
        by_id = {profile.id: profile for profile in profiles}
        for name in by_id:
            self.models.setdefault(name, Model(name))
        for model in self.models.values():
            model.profile = by_id.get(model.id)
        self.tidy()

    def know(self, model_id: str) -> Model:
        """Return a model, known from now on."""
        model = self.models.get(model_id)
        if model is None:
            model = self.models[model_id] = Model(model_id)
            self.by_name.setdefault(model_id, model)
        return model

    def forget_idle(self, models: Iterable[str]) -> None:
        """Forget those of some models that neither the catalogue nor a node nor a request knows."""
        for name in models:
            model = self.models.get(name)
            if model is None or model.profile is not None or self.roster.is_listed(name) or not model.is_idle():
                continue
            if self.book.flight_of(name) is None:
                del self.models[name]
                self.queued.pop(name, None)
                if self.by_name.get(name) is model:
                    del self.by_name[name]

    def tidy(self) -> None:
        """Forget all models that nothing knows, and index the others by name."""
        self.forget_idle(list(self.models))
        profiles = [model.profile for model in self.models.values() if model.profile is not None]
        table = name_table(profiles, self.models)
        self.by_name = {name: self.models[canonical] for name, canonical in table.items()}
