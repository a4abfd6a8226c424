"""Names of models as operators may say them: ids and aliases, of all models that the fleet knows."""

from cortex.fleet.resolve import name_table
from cortex.fleet.view import FleetView


def model_table(view: FleetView) -> dict[str, str]:
    """Return the id for every name."""
    profiles = [model.profile for model in view.models if model.profile is not None]
    return name_table(profiles, [model.id for model in view.models])
