"""One model as the dispatcher keeps it: its replicas by node, those that may be granted now, and who waits for it.

``ready`` is derived: rebuilt by ``refresh`` after every change of a replica, so that choosing needs no checks.
"""

import msgspec

from cortex.contract.profile import Profile
from cortex.fleet.balance import pick
from cortex.fleet.effect import Target
from cortex.fleet.queueing import Queue, Waiting
from cortex.fleet.replica import Replica


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """An operator wants the model loaded though no request waits for it; ``node`` None: where it fits best."""

    until_s: float
    node: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """Devices of a node that a model waits for; no devices: all of them."""

    node: str
    devices: frozenset[int]


class Model:
    """A model of the catalogue, or (``profile`` None) one found on a node. Only the dispatcher writes it."""

    __slots__ = (
        "asked_s", "claim", "deferred_until_s", "enlarged", "id", "learnt_mb", "look_s", "profile", "ready",
        "replicas", "retired", "shut_since_s", "spared", "tried", "turn", "waiting", "wishes",
    )  # fmt: skip

    def __init__(self, model: str, profile: Profile | None = None) -> None:
        self.id = model
        self.profile = profile
        self.replicas: dict[str, Replica] = {}
        self.retired: list[Replica] = []
        self.ready: list[Replica] = []
        self.waiting = Queue()
        self.wishes: list[Wish] = []
        self.claim: Claim | None = None
        """Where it was asked to be loaded for those who wait."""
        self.tried: list[str] = []
        """Nodes on which a load failed for those who wait."""
        self.spared = ""
        """The node on which a load for those who wait ended by an accident: it may be tried once more."""
        self.enlarged: dict[str, int] = {}
        """Nodes on which its engine ran out of memory, and what it is to get there: no other node need give so much."""
        self.turn = 0
        self.look_s = 0.0
        """Planning before this would only say the same."""
        self.shut_since_s: float | None = None
        """Since when no node has room for it, as far as was looked."""
        self.asked_s = 0.0
        """When nodes were last asked for a newer sample because of it."""
        self.deferred_until_s = 0.0
        """Another gateway loads it; until then this one does not."""
        self.learnt_mb = 0
        """What it was seen to need, where that is more than it was said to."""

    def pick(self, avoid: tuple[Target, ...] = (), head: bytes = b"", tokens: int = 0) -> Replica | None:
        """Return the replica that a request is sent to, None when none has a slot free."""
        ready = self.ready
        if len(ready) == 1 and not avoid:
            only = ready[0]
            return only if only.in_flight < only.limit else None
        self.turn += 1
        return pick(ready, avoid, head, self.turn, tokens)

    def refresh(self, now_s: float) -> None:
        """Find anew which replicas may be granted, and what they may be given."""
        for replica in self.replicas.values():
            replica.settle(now_s)
            replica.is_offered = replica.is_grantable(now_s)
        self.ready = [replica for replica in self.replicas.values() if replica.is_offered]

    def look_at(self, node: str, now_s: float) -> None:
        """The same after a change of one replica only: the others are looked at where that changes who is ready."""
        replica = self.replicas.get(node)
        if replica is not None:
            replica.settle(now_s)
            if replica.is_grantable(now_s) is not replica.is_offered:
                self.refresh(now_s)

    def has_hope(self, waiting: Waiting) -> bool:
        """Tell whether a replica exists, or is being asked for, that could still serve this request."""
        return any(
            replica.is_hopeful() and (replica.is_fetching or replica.target not in waiting.avoid)
            for replica in self.replicas.values()
        )

    def stuck(self) -> list[Waiting]:
        """Return those waiting for whom no replica will do, in order of arrival."""
        hopes = [replica for replica in self.replicas.values() if replica.is_hopeful()]
        if not hopes:
            return list(self.waiting.values())
        if any(replica.is_fetching for replica in hopes):
            return []
        return [waiting for waiting in self.waiting.values() if waiting.avoid and not self.has_hope(waiting)]

    def drop(self, node: str) -> None:
        """Forget the replica on a node; requests granted to it run on and are counted until they are over."""
        replica = self.replicas.pop(node, None)
        if replica is not None:
            replica.state = "dropped"
            if replica.is_offered:
                replica.is_offered = False
                self.ready = [other for other in self.ready if other is not replica]
            if replica.in_flight:
                self.retired.append(replica)

    def is_idle(self) -> bool:
        """Tell whether nothing here would be missed."""
        return not (self.replicas or self.retired or self.waiting or self.wishes)
