"""The rules of a simulated fleet, checked from outside with books of their own (the project's invariants 5, 8, 9, 10).

One load per (model, node) and per model; every request answered exactly once, within its patience; no answer after its
end; no target that it avoids, that is distrusted, that never existed or has no slot free; counts that add up.
"""

from cortex.fleet.dispatcher import Dispatcher
from cortex.fleet.effect import Grant, Refuse, StartLoad, Target
from cortex.testing.simulated_node import PARALLEL, SimulatedNode


class SimulationFailure(AssertionError):
    """A rule was broken; the message holds the rule and the last steps."""


class SimulatedClient:
    """One request from its arrival to its end."""

    def __init__(self, ticket: int, name: str, avoid: tuple[Target, ...], since_s: float) -> None:
        self.ticket = ticket
        self.name = name
        self.avoid = avoid
        self.since_s = since_s
        self.target: Target | None = None
        self.is_over = False


class Referee:
    """The rules. Keeps its own books, from the outside, and compares."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.open: dict[int, SimulatedClient] = {}
        self.loading: set[tuple[str, str]] = set()
        self.distrusted: dict[Target, float] = {}
        self.last_steps: list[str] = []
        self.in_flight: dict[Target, int] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._versions: dict[str, dict[str, int]] = {}
        """By node: its lives in the order in which they were heard of, each with the newest event."""

    def check(self, is_so: bool, rule: str) -> None:
        if not is_so:
            steps = "\n  ".join(self.last_steps[-25:])
            raise SimulationFailure(f"{rule}\n  {steps}")

    def arrived(self, client: SimulatedClient) -> None:
        self.open[client.ticket] = client

    def granted(self, grant: Grant, nodes: dict[str, SimulatedNode]) -> SimulatedClient:
        client = self.open.get(grant.ticket)
        self.check(client is not None, f"a grant for ticket {grant.ticket}, which is over or was refused")
        assert client is not None
        target = grant.target
        self.check(client.target is None, f"ticket {client.ticket} was granted twice")
        self.check(target not in client.avoid, f"ticket {client.ticket} was granted a target that it avoids")
        self.check(target not in self.distrusted, f"{target} was granted before its neuron vouched for it")
        self.check(target.generation <= nodes[target.node].generation, f"{target} never existed")
        client.target = target
        self.in_flight[target] = self.in_flight.get(target, 0) + 1
        self.check(self.in_flight[target] <= PARALLEL, f"{target} got more requests than it has slots")
        return client

    def refused(self, refuse: Refuse) -> None:
        client = self.open.pop(refuse.ticket, None)
        self.check(client is not None, f"a refusal for ticket {refuse.ticket}, which is over or was refused")
        assert client is not None
        self.check(client.target is None, f"ticket {client.ticket} was refused after a grant")
        client.is_over = True

    def finished(self, client: SimulatedClient) -> None:
        del self.open[client.ticket]
        client.is_over = True
        if client.target is not None:
            self.in_flight[client.target] -= 1
            if not self.in_flight[client.target]:
                del self.in_flight[client.target]

    def load_started(self, effect: StartLoad) -> None:
        pair = (effect.request.model_id, effect.node)
        self.check(pair not in self.loading, f"a second load of {pair} while the first is under way")
        self.check(
            all(model != pair[0] for model, _ in self.loading), f"two loads of {pair[0]} at once in an untroubled fleet"
        )
        self.loading.add(pair)

    def sampled(self, node: SimulatedNode, dispatcher: Dispatcher, now_s: float) -> None:
        """Check that what is known of a node never becomes older: generations grow over all its lives."""
        desk = dispatcher.desk(node.name)
        lives = self._versions.setdefault(node.name, {})
        is_last = desk.start_id not in lives or next(reversed(lives)) == desk.start_id
        is_newer = is_last and desk.event >= lives.get(desk.start_id, 0)
        self.check(is_newer, f"{node.name} went back to event {desk.event} of {desk.start_id}")
        lives[desk.start_id] = desk.event
        view = next(view for view in dispatcher.view(now_s).nodes if view.name == node.name)
        for report in view.models:
            newest = self._newest.get((node.name, report.id), 0)
            self.check(report.generation >= newest, f"{report.id} on {node.name} went back to an older generation")
            self._newest[(node.name, report.id)] = report.generation

    def compare(self, dispatcher: Dispatcher, now_s: float) -> None:
        """Compare the dispatcher's books with ours."""
        waiting = sum(client.target is None for client in self.open.values())
        self.check(dispatcher.waiting() == waiting, f"{dispatcher.waiting()} wait by its books, {waiting} by ours")
        counted: dict[tuple[str, str], int] = {}
        for target, requests in self.in_flight.items():
            counted[(target.model, target.node)] = counted.get((target.model, target.node), 0) + requests
        held = {(model, node): requests for model, node, requests in dispatcher.in_flight()}
        self.check(held == counted, f"in flight by its books {held}, by ours {counted}")
        self.check(set(dispatcher.loads_under_way()) == self.loading, "its loads under way are not ours")
        for client in self.open.values():
            waited_s = now_s - client.since_s
            is_late = client.target is None and waited_s > self._patience_s
            self.check(not is_late, f"ticket {client.ticket} for {client.name} has waited {waited_s:.1f} s")
