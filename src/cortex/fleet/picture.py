"""Copies the dispatcher's books into an immutable ``FleetView``, for readers that must not touch them."""

from collections.abc import Iterable

from cortex.fleet.load_book import LoadBook
from cortex.fleet.model import Model
from cortex.fleet.roster import Roster
from cortex.fleet.view import FleetView, ModelView, QueueView, ReplicaView, WaiterView

MAX_UPCOMING = 100
"""So many of those who wait for a model are shown."""


def picture_of(roster: Roster, models: Iterable[Model], book: LoadBook, now_s: float) -> FleetView:
    """Return the fleet as it is at ``now_s``."""
    views = [_model_view(model, book, now_s) for model in sorted(models, key=lambda model: model.id)]
    return FleetView(nodes=tuple(roster.nodes.values()), models=tuple(views), now_s=now_s)


def queues_of(models: Iterable[Model], now_s: float) -> list[QueueView]:
    """Return who waits for which model, longest wait first."""
    queues = [_queue_view(model, now_s) for model in models if model.waiting]
    return sorted(queues, key=lambda queue: (-queue.oldest_wait_s, queue.model))


def _queue_view(model: Model, now_s: float) -> QueueView:
    by_caller: dict[str, int] = {}
    for waiting in model.waiting.values():
        by_caller[waiting.caller] = by_caller.get(waiting.caller, 0) + 1
    since_s = model.waiting.oldest_since_s()
    return QueueView(
        model=model.id,
        waiting=len(model.waiting),
        oldest_wait_s=0.0 if since_s is None else now_s - since_s,
        by_caller=by_caller,
        upcoming=tuple(
            WaiterView(caller=waiting.caller, waited_s=now_s - waiting.since_s)
            for waiting in model.waiting.upcoming(MAX_UPCOMING)
        ),
    )


def _model_view(model: Model, book: LoadBook, now_s: float) -> ModelView:
    flight = book.flight_of(model.id)
    return ModelView(
        id=model.id,
        profile=model.profile,
        replicas=tuple(
            ReplicaView(
                node=replica.node,
                generation=replica.generation,
                is_ready=replica.is_grantable(now_s) and not replica.is_cut_off,
                in_flight=replica.in_flight,
                parallel=replica.parallel,
                last_used_s=replica.last_used_s,
                slots=replica.slots,
                context=replica.target.context if replica.target is not None else None,
            )
            for replica in model.replicas.values()
        ),
        waiting=len(model.waiting),
        loading_on=flight.node if flight is not None else None,
        flights=tuple(book.flights_of(model.id).values()),
        failures=tuple(book.failures_of(model.id, now_s)),
    )
