"""Copies the dispatcher's books into an immutable ``FleetView``, for readers that must not touch them."""

from collections.abc import Iterable

from cortex.fleet.load_book import LoadBook
from cortex.fleet.model import Model
from cortex.fleet.roster import Roster
from cortex.fleet.view import FleetView, ModelView, ReplicaView


def picture_of(roster: Roster, models: Iterable[Model], book: LoadBook, now_s: float) -> FleetView:
    """Return the fleet as it is at ``now_s``."""
    views = [_model_view(model, book, now_s) for model in sorted(models, key=lambda model: model.id)]
    return FleetView(nodes=tuple(roster.nodes.values()), models=tuple(views))


def _model_view(model: Model, book: LoadBook, now_s: float) -> ModelView:
    flight = book.flight_of(model.id)
    return ModelView(
        id=model.id,
        profile=model.profile,
        replicas=tuple(
            ReplicaView(
                node=replica.node,
                generation=replica.generation,
                is_ready=replica.is_grantable(now_s),
                in_flight=replica.in_flight,
                parallel=replica.parallel,
                last_used_s=replica.last_used_s,
            )
            for replica in model.replicas.values()
        ),
        waiting=len(model.waiting),
        loading_on=flight.node if flight is not None else None,
    )
