"""One model as the dispatcher keeps it: its replicas by node, those that may be granted now, and who waits for it.

``ready`` is derived: rebuilt by ``refresh`` after every change of a replica, so that choosing needs no checks.
"""

from cortex.contract.profile import Profile
from cortex.fleet.effect import Target
from cortex.fleet.replica import Replica
from cortex.fleet.waiting import Room, Waiting


class Model:
    """A model of the catalogue, or (``profile`` None) one found on a node. Only the dispatcher writes it."""

    __slots__ = ("id", "profile", "ready", "replicas", "retired", "tried", "turn", "waiting")

    def __init__(self, model: str, profile: Profile | None = None) -> None:
        self.id = model
        self.profile = profile
        self.replicas: dict[str, Replica] = {}
        self.retired: list[Replica] = []
        self.ready: list[Replica] = []
        self.waiting: Room = Room()
        self.tried: list[str] = []
        self.turn = 0

    def pick(self, avoid: tuple[Target, ...] = ()) -> Replica | None:
        """Return the replica with the fewest requests in flight that has a slot free; ties take turns."""
        ready = self.ready
        if len(ready) == 1 and not avoid:
            only = ready[0]
            return only if only.in_flight < only.limit else None
        self.turn += 1
        best: Replica | None = None
        for step in range(len(ready)):
            replica = ready[(self.turn + step) % len(ready)]
            if replica.in_flight >= replica.limit or replica.target in avoid:
                continue
            if best is None or replica.in_flight < best.in_flight:
                best = replica
        return best

    def refresh(self, now_s: float) -> None:
        """Find anew which replicas may be granted."""
        self.ready = [replica for replica in self.replicas.values() if replica.is_grantable(now_s)]

    def has_hope(self, waiting: Waiting) -> bool:
        """Tell whether a replica exists, or is being asked for, that could still serve this request."""
        return any(
            replica.is_hopeful() and (replica.is_fetching or replica.target not in waiting.avoid)
            for replica in self.replicas.values()
        )

    def stuck(self) -> list[Waiting]:
        """Return those waiting for whom no replica will do, in order of arrival."""
        return [waiting for waiting in self.waiting.values() if not self.has_hope(waiting)]

    def drop(self, node: str) -> None:
        """Forget the replica on a node; requests granted to it run on and are counted until they are over."""
        replica = self.replicas.pop(node, None)
        if replica is not None:
            replica.state = "dropped"
            if replica.in_flight:
                self.retired.append(replica)

    def is_idle(self) -> bool:
        """Tell whether nothing here would be missed."""
        return not (self.replicas or self.retired or self.waiting)
