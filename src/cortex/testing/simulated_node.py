"""A neuron as the simulation knows it: what is loaded, in which life, at which event. Does nothing by itself."""

from cortex.contract.instance import InstanceReport, InstanceStatus
from cortex.fleet.effect import Target

PARALLEL = 3
"""Slots of every simulated engine."""


class SimulatedInstance:
    """One generation of a model on a simulated neuron. ``port`` is unique, like the fence in a real endpoint."""

    def __init__(self, model: str, generation: int, status: InstanceStatus, port: int) -> None:
        self.model = model
        self.generation = generation
        self.status = status
        self.port = port

    def report(self) -> InstanceReport:
        return InstanceReport(
            id=self.model,
            harness="llamacpp",
            status=self.status,
            devices=(0,),
            generation=self.generation,
            parallel=PARALLEL,
        )


class SimulatedNode:
    """One simulated neuron."""

    def __init__(self, name: str, devices: int) -> None:
        self.name = name
        self.devices = devices
        self.is_up = True
        self.life = 1
        self.event = 1
        self.generation = 0
        self.instances: dict[str, SimulatedInstance] = {}

    @property
    def start_id(self) -> str:
        return f"{self.name}-{self.life}"

    def begin(self, model: str, port: int) -> SimulatedInstance:
        self.generation += 1
        self.event += 1
        instance = self.instances[model] = SimulatedInstance(model, self.generation, "loading", port)
        return instance

    def change(self, instance: SimulatedInstance, status: InstanceStatus) -> None:
        instance.status = status
        self.event += 1

    def is_alive(self, target: Target) -> bool:
        instance = self.instances.get(target.model)
        return (
            instance is not None and instance.status == "loaded" and target.url == f"http://{self.name}:{instance.port}"
        )
