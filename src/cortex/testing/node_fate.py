"""What befalls the node in the simulation of leases, and what a neuron does by itself: loads, drains, restarts."""

from functools import partial
from random import Random

from cortex.testing.lease_referee import LeaseReferee
from cortex.testing.leased_node import LeasedInstance, LeasedNode
from cortex.testing.timeline import Timeline

EVICT_GRACE_S = 2.0
MAINTENANCE_S = 40.0


class NodeFate:
    """The node's part of one run."""

    def __init__(self, node: LeasedNode, time: Timeline, rng: Random, referee: LeaseReferee, calm_s: float) -> None:
        self._node = node
        self._time = time
        self._rng = rng
        self._referee = referee
        self._calm_s = calm_s
        self._models: dict[str, None] = {}
        self.forced: set[int] = set()
        """Generations whose engines crashed or were cut."""
        self.drained = 0
        self.given_up = 0
        self.restarts = 0

    @property
    def is_awake(self) -> bool:
        """Whether a neuron process is there and does something."""
        return self._node.is_up and self._time.at_s >= self._node.waits_until_s

    def load(self, model: str) -> None:
        """Load a model, which takes a while."""
        self._models |= {model: None}
        instance = self._node.load(model)
        self._time.later(self._rng.uniform(0.5, 3), f"{model} is up", partial(self._come_up, instance))

    def sample(self) -> None:
        """Do what follows a sample, and load again what is gone."""
        if not self.is_awake:
            return
        self._node.ask_all()
        for model in self._models:
            instance = self._node.instances.get(model)
            if instance is None or instance.status in ("unloaded", "failed"):
                self.load(model)

    def look(self) -> None:
        """Take the next step of every drain."""
        for model, drain in list(self._node.drains.items()) if self.is_awake else ():
            engine = drain.instance.engine
            inside = [request for request in engine.requests if not request.is_cancelled]
            self._node.look_at(drain)
            if not engine.is_running:
                self._referee.stops(inside, engine.was_forced)
                self.drained += 1
                if engine.was_forced:
                    self.forced.add(engine.generation)
            elif model not in self._node.drains:
                self.given_up += 1
                self._referee.drain_ended(model, engine.generation)
            elif self._time.at_s >= self._calm_s:
                self._referee.overdue(drain, self._time.at_s, self._calm_s)

    def meet(self, fate: str) -> None:
        """Let something befall the node, if it is in a state for that."""
        if not self.is_awake:
            return
        loaded = [one for one in self._node.instances.values() if one.status == "loaded"]
        if fate == "restart":
            self.restarts += 1
            self._node.end()
            self._time.later(self._rng.uniform(0.2, 8), "the neuron is back", self.restart)
        elif fate == "hang":
            self._node.waits_until_s = self._time.at_s + self._rng.uniform(0.5, 15)
        elif loaded:
            self._end_one(self._rng.choice(loaded), fate)

    def restart(self) -> None:
        """Begin a neuron process where there is none."""
        if not self._node.is_up:
            for model, drain in self._node.drains.items():
                self._referee.drain_ended(model, drain.instance.engine.generation)
            self._node.begin()

    def calm_down(self) -> None:
        """Mend what is broken."""
        self._node.waits_until_s = min(self._node.waits_until_s, self._time.at_s)
        self.restart()

    def _end_one(self, instance: LeasedInstance, fate: str) -> None:
        if fate == "crash":
            self.forced.add(instance.engine.generation)
            self._node.stop_engine(instance, "failed", is_forced=True)
        else:
            is_forced = fate == "maintain"
            self._node.begin_drain(instance, MAINTENANCE_S if is_forced else EVICT_GRACE_S, is_forced=is_forced)

    def _come_up(self, instance: LeasedInstance) -> None:
        is_there = self._node.instances.get(instance.engine.model) is instance
        if self._node.is_up and is_there and instance.status == "loading":
            self._node.change(instance, "loaded")
