"""What operators see and do, as the control plane has it: implements ``ports.FleetAdmin``.

A load is a wish that the dispatcher fulfils like any other, followed by what it decides; who leaves does not stop it.
Unloads, pins and maintenance are asked of the neuron at once: an operator's word needs no plan. Every one of them is
put on record.
"""

import contextlib
from collections.abc import Awaitable, Iterator, Mapping
from typing import TypeVar

import msgspec

from cortex.contract import error
from cortex.contract.admin import (
    CallerEntry,
    DrainOutcome,
    ExplainQuery,
    LoadCall,
    LoadOutcome,
    PinCall,
    PinOutcome,
    QueueEntry,
    QueueList,
    UnloadCall,
    UnloadOutcome,
    WaiterEntry,
)
from cortex.contract.instance import PinRequest, UnloadRequest
from cortex.contract.node import MaintenanceRequest
from cortex.contract.profile import Profile
from cortex.fleet.decision import Decision, DecisionKind, DecisionLog
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.event import LoadWanted
from cortex.fleet.explain import Explanation
from cortex.fleet.prospect import what_if
from cortex.fleet.resolve import describe_unknown, describe_unknown_node, name_table
from cortex.fleet.swap_tally import SwapTally
from cortex.fleet.view import FleetView, QueueView
from cortex.gateway.control.decision_line import tell
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.gateway.control.report import Post
from cortex.kit.clock import Clock
from cortex.kit.event_stream import Bell

T = TypeVar("T")

OPERATOR = "operator"
LOOK_S = 1.0
"""A model may also be loaded without a decision of this gateway; who waits for that looks so often."""

KINDS = [kind for kind in vars(error).values() if isinstance(kind, type) and issubclass(kind, error.CortexError)]
ERRORS = {kind.code: kind for kind in KINDS}
"""What a refusal that was put on record is told with."""


class AdminDesk:
    """Asks the dispatcher and the neurons on behalf of operators."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        post: Post,
        clients: Mapping[str, NeuronClient],
        clock: Clock,
        *,
        load_timeout_s: float,
    ) -> None:
        self._dispatcher = dispatcher
        self._post = post
        self._clients = clients
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._tally = SwapTally()
        self._ears: set[_Ear] = set()
        self._is_closed = False
        self.log.watch(self._tally.count)
        self.log.watch(self._hear)
        self.log.watch(tell)

    @property
    def log(self) -> DecisionLog:
        """See ``ports.FleetAdmin``."""
        return self._dispatcher.decisions

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._is_closed = True
        for ear in self._ears:
            ear.bell.ring()

    def view(self) -> FleetView:
        """See ``ports.FleetAdmin``."""
        return self._dispatcher.view(self._clock.now_s())

    def queues(self) -> QueueList:
        """See ``ports.FleetAdmin``."""
        queues = self._dispatcher.queues(self._clock.now_s())
        return QueueList(waiting=self._dispatcher.waiting(), queues=tuple(_queue_entry(queue) for queue in queues))

    def callers(self) -> list[CallerEntry]:
        """See ``ports.FleetAdmin``."""
        return self._tally.callers()

    def explain(self, query: ExplainQuery) -> Explanation:
        """See ``ports.FleetAdmin``."""
        changes, now_s = what_if(query), self._clock.now_s()
        model = self._dispatcher.canonical_id(query.model)
        if not model and "harness" not in changes:
            self._model(query.model)
        model = model or query.model
        profile = next((known.profile for known in self.view().models if known.id == model), None)
        if changes and profile is None:
            if "harness" not in changes:
                raise error.CallerError(f"The catalogue does not have '{model}': say its harness too.", param="harness")
            profile = Profile(id=model, harness=changes["harness"])
        if profile is not None:
            profile = msgspec.structs.replace(profile, **changes)
        return self._dispatcher.explain(model, profile, now_s)

    async def load(self, call: LoadCall) -> LoadOutcome:
        """See ``ports.FleetAdmin``. Raises: the error that the dispatcher gives up with."""
        model = self._model(call.model)
        if call.node is not None:
            self._client(call.node)
        until_s = self._clock.now_s() + self._load_timeout_s
        with self._listening(model, call.node) as ear:
            if not self._is_loaded(model, call.node):
                self._post(LoadWanted(model=model, node=call.node))
            while True:
                outcome = self._outcome(model, call.node, ear)
                if outcome.status == "loaded" or not call.wait:
                    return outcome
                if self._is_closed:
                    raise error.ShuttingDown
                if self._clock.now_s() >= until_s:
                    words = f"'{model}' is not loaded after {self._load_timeout_s:g} s: {outcome.reason or 'no news'}."
                    raise error.ModelLoading(words, model=model, node=outcome.node or "")
                await ear.bell.wait(LOOK_S)

    async def unload(self, call: UnloadCall) -> UnloadOutcome:
        """See ``ports.FleetAdmin``."""
        model, client = self._model(call.model), self._client(call.node)
        wanted = UnloadRequest(model_id=model, wait=call.wait, force=call.force)
        answer = await self._ask(call.node, client.unload(wanted))
        how = "an operator wants it so" + (", whatever runs" if call.force else "")
        self._note("unload", how, model, call.node)
        return UnloadOutcome(model=model, node=call.node, status=answer.status)

    async def pin(self, call: PinCall) -> PinOutcome:
        """See ``ports.FleetAdmin``."""
        model, client = self._model(call.model), self._client(call.node)
        answer = await self._ask(call.node, client.pin(PinRequest(model_id=model, pinned=call.pinned)))
        self._note("pin", f"an operator wants it {'pinned' if answer.pinned else 'not pinned'}", model, call.node)
        return PinOutcome(model=model, node=call.node, pinned=answer.pinned)

    async def maintain(self, node: str, *, is_on: bool) -> DrainOutcome:
        """See ``ports.FleetAdmin``."""
        answer = await self._ask(node, self._client(node).maintain(MaintenanceRequest(on=is_on)))
        self._note("maintenance", "an operator " + ("takes it out" if is_on else "takes it back"), "", node)
        return DrainOutcome(node=node, maintenance=answer.maintenance)

    # Names

    def _model(self, name: str) -> str:
        """Return the id that a name stands for. Raises: ModelNotFound."""
        model = self._dispatcher.canonical_id(name)
        if not model:
            models = self.view().models
            table = name_table([m.profile for m in models if m.profile is not None], [m.id for m in models])
            raise error.ModelNotFound(describe_unknown(name, table), model=name)
        return model

    def _client(self, node: str) -> NeuronClient:
        client = self._clients.get(node)
        if client is None:
            raise error.NodeNotFound(describe_unknown_node(node, self._clients), node=node)
        return client

    # Loads

    @contextlib.contextmanager
    def _listening(self, model: str, node: str | None) -> Iterator["_Ear"]:
        ear = _Ear(model, node)
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)

    def _hear(self, decision: Decision) -> None:
        for ear in self._ears:
            ear.hear(decision)

    def _is_loaded(self, model: str, node: str | None) -> bool:
        found = next((found for found in self.view().models if found.id == model), None)
        replicas = found.replicas if found is not None else ()
        return any(replica.is_ready and node in (None, replica.node) for replica in replicas)

    def _outcome(self, model: str, node: str | None, ear: "_Ear") -> LoadOutcome:
        """Return how it stands with a load. Raises: the error that it has ended with."""
        last = ear.last
        if last is not None and last.kind in ("failure", "refusal"):
            raise _error_of(last)
        if self._is_loaded(model, node) or (last is not None and last.kind == "load"):
            at = (last.node if last is not None else node) or self._where(model)
            return LoadOutcome(model=model, node=at, status="loaded")
        flights = [at for name, at in self._dispatcher.loads_under_way() if name == model and node in (None, at)]
        reason = last.reason if last is not None else ""
        if flights:
            return LoadOutcome(model=model, node=flights[0], status="loading", reason=reason)
        return LoadOutcome(model=model, node=node, status="waiting", reason=reason)

    def _where(self, model: str) -> str | None:
        (found,) = (found for found in self.view().models if found.id == model)
        return next((replica.node for replica in found.replicas if replica.is_ready), None)

    # Neurons

    async def _ask(self, node: str, call: Awaitable[T]) -> T:
        """Await a neuron's answer. Raises: NodeRefused in its words, UpstreamError."""
        try:
            return await call
        except NeuronRefused as exc:
            details = {key: value for key, value in exc.details.items() if key not in ("node", "cause", "message")}
            said = f"{node} refused: {exc.message}"
            raise error.NodeRefused(said, node=node, cause=exc.neuron_code, **details) from exc
        except error.CortexError as exc:
            exc.details.setdefault("node", node)
            raise

    def _note(self, kind: DecisionKind, reason: str, model: str, node: str) -> None:
        self.log.note(kind, reason, now_s=self._clock.now_s(), model=model, node=node, caller=OPERATOR)


class _Ear:
    """Hears what is decided of a model (``node`` None: anywhere) while somebody waits for it."""

    def __init__(self, model: str, node: str | None) -> None:
        self.bell = Bell()
        self.last: Decision | None = None
        """The newest decision that tells how a load stands."""
        self._model = model
        self._node = node

    def hear(self, decision: Decision) -> None:
        if decision.model != self._model or not self._is_about_it(decision):
            return
        self.last = decision
        self.bell.ring()

    def _is_about_it(self, decision: Decision) -> bool:
        if decision.kind == "refusal":
            return decision.caller == OPERATOR and decision.node == (self._node or "")
        is_here = self._node in (None, decision.node)
        return is_here and decision.kind in ("placement", "load", "failure", "deferral")


def _error_of(decision: Decision) -> error.CortexError:
    code = str(decision.details.get("code", ""))
    if decision.kind == "failure":
        words = f"'{decision.model}' could not be loaded on {decision.node}: {decision.reason}"
        return error.LoadFailed(words, model=decision.model, node=decision.node, cause=code)
    words = decision.reason.removeprefix(f"wished for by the {OPERATOR}: ")
    return ERRORS.get(code, error.CapacityError)(words, model=decision.model, node=decision.node)


def _queue_entry(queue: QueueView) -> QueueEntry:
    return QueueEntry(
        model=queue.model,
        waiting=queue.waiting,
        oldest_wait_s=round(queue.oldest_wait_s, 3),
        by_caller=queue.by_caller,
        requests=tuple(
            WaiterEntry(position=position, caller=waiter.caller, waited_s=round(waiter.waited_s, 3))
            for position, waiter in enumerate(queue.upcoming)
        ),
    )
