"""What an eviction must know of an instance, put together from what the instance and its holders say."""

from collections.abc import Mapping

from cortex.neuron.holder import Holders
from cortex.neuron.instance import Instance
from cortex.residency.eviction import Tenant


def tenants_of(instances: Mapping[str, Instance], holders: Holders, now_s: float) -> dict[str, Tenant]:
    """Return every instance that has had a life, by model id."""
    return {
        model_id: Tenant(
            generation=instance.launch.generation,
            status=instance.status,
            is_pinned=instance.is_pinned,
            protected_s=instance.protected_s(now_s),
            in_flight=max(instance.in_flight, holders.in_flight(model_id, instance.launch.generation, now_s)),
        )
        for model_id, instance in instances.items()
        if instance.launch is not None
    }
