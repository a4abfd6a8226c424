"""What operators see and do, as the control plane has it: implements ``ports.FleetAdmin``.

A load is a wish that the dispatcher fulfils (``load_wish``), and what is explained is what its planner works out.
Unloads, pins and maintenance are asked of the neuron at once: an operator's word needs no plan. Every one of them is
put on record.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, TypeVar

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
from cortex.fleet.decision import DecisionKind, DecisionLog
from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.event import PollDue
from cortex.fleet.explain import Explanation
from cortex.fleet.prospect import what_if
from cortex.fleet.resolve import describe_unknown, describe_unknown_node, name_table
from cortex.fleet.swap_tally import SwapTally
from cortex.fleet.view import FleetView, QueueView
from cortex.gateway.control.decision_line import tell
from cortex.gateway.control.executor import Sleep
from cortex.gateway.control.load_wish import OPERATOR, LoadWishes
from cortex.gateway.control.neuron_client import NeuronClient, NeuronRefused
from cortex.gateway.control.report import Post
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner

T = TypeVar("T")

HEALTH_LOOK_S = 1.0
SEEN_LOOK_S = 0.02
SEEN_LOOKS = 100


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
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._dispatcher = dispatcher
        self._post = post
        self._clients = clients
        self._clock = clock
        self._wishes = LoadWishes(dispatcher, post, clock, load_timeout_s=load_timeout_s)
        self._sleep = sleep
        self._tasks = TaskOwner()
        """Each of its tasks is awaited by the call that it belongs to."""
        self._tally = SwapTally()
        self.log.watch(self._tally.count)
        self.log.watch(tell)

    @property
    def log(self) -> DecisionLog:
        """See ``ports.FleetAdmin``."""
        return self._dispatcher.decisions

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._wishes.close()

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
            self.model_id(query.model)
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
        """See ``ports.FleetAdmin``."""
        model = self.model_id(call.model)
        if call.node is not None:
            self._client(call.node)
        return await self._wishes.fulfil(model, call.node, waits=call.wait)

    async def unload(self, call: UnloadCall) -> UnloadOutcome:
        """See ``ports.FleetAdmin``."""
        model, client = self.model_id(call.model), self._client(call.node)
        wanted = UnloadRequest(model_id=model, wait=call.wait, force=call.force)
        answer = await self._ask(call.node, self._while_healthy(call.node, client.unload(wanted)))
        how = "an operator wants it so" + (", whatever runs" if call.force else "")
        self._note("unload", how, model, call.node)
        if answer.status == "unloaded":
            await self._seen_unloaded(model, call.node)
        return UnloadOutcome(model=model, node=call.node, status=answer.status)

    async def _seen_unloaded(self, model: str, node: str) -> None:
        """Wait a moment until this gateway knows of it, so that an operator's next call is not answered otherwise."""
        for _ in range(SEEN_LOOKS):
            if not self._wishes.is_loaded(model, node):
                return
            await self._sleep(SEEN_LOOK_S)

    async def pin(self, call: PinCall) -> PinOutcome:
        """See ``ports.FleetAdmin``."""
        model, client = self.model_id(call.model), self._client(call.node)
        answer = await self._ask(call.node, client.pin(PinRequest(model_id=model, pinned=call.pinned)))
        self._note("pin", f"an operator wants it {'pinned' if answer.pinned else 'not pinned'}", model, call.node)
        return PinOutcome(model=model, node=call.node, pinned=answer.pinned)

    async def maintain(self, node: str, *, is_on: bool) -> DrainOutcome:
        """See ``ports.FleetAdmin``."""
        answer = await self._ask(node, self._client(node).maintain(MaintenanceRequest(on=is_on)))
        self._note("maintenance", "an operator " + ("takes it out" if is_on else "takes it back"), "", node)
        return DrainOutcome(node=node, maintenance=answer.maintenance)

    # Names

    def model_id(self, name: str) -> str:
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

    async def _while_healthy(self, node: str, call: Coroutine[Any, Any, T]) -> T:
        """Await what may take minutes, unless its node falls silent. Raises: UpstreamTimeout then."""
        task = self._tasks.start(call, f"operator's call of {node}")
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=HEALTH_LOOK_S)
                live = self._dispatcher.desk(node).live
                if not task.done() and not live.is_healthy:
                    words = f"{node} does not answer ({live.why}): nobody knows what it has done. Try again."
                    raise error.UpstreamTimeout(words, node=node)
            return task.result()
        finally:
            task.cancel()

    def _note(self, kind: DecisionKind, reason: str, model: str, node: str) -> None:
        """Put on record what was done, and hear from the node what came of it, ahead of its next turn."""
        self.log.note(kind, reason, now_s=self._clock.now_s(), model=model, node=node, caller=OPERATOR)
        self._post(PollDue(node))


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
