"""Which of several ready replicas gets a request: the one that has its conversation, else the least loaded one.

Load is counted in tokens in flight. A conversation goes where it was before, because an engine that has read its
beginning need not read it again (19 s against 0.9 s for a long one), until that replica is loaded more than the least
loaded one by the tokens that another one would have to read, and by half. Nothing is remembered: the hash of the
conversation's head says for every replica how well they match (rendezvous), so all gateways say the same, and a replica
that comes or goes moves only its own share. Ties take turns.
"""

from collections.abc import Sequence
from hashlib import blake2b

from cortex.fleet.effect import Target
from cortex.fleet.queueing import LEAST_TOKENS
from cortex.fleet.replica import Replica

HEAD_BYTES = 4096
"""So much of a conversation's head is hashed at most."""

UNEVEN_RATIO = 1.5
"""A conversation stays with a replica that has no more than so many times the load of the least loaded one."""


def pick(
    ready: Sequence[Replica], avoid: tuple[Target, ...] = (), head: bytes = b"", turn: int = 0, tokens: int = 0
) -> Replica | None:
    """Return the replica to send a request to, None when none has a slot free that it may use.

    ``head``: how the conversation begins, or what names it; empty: any will do. ``turn``: a number that grows.
    ``tokens``: about how much work the request is.
    """
    count = len(ready)
    least: Replica | None = None
    least_load = 0
    for step in range(count):
        replica = ready[(turn + step) % count]
        if replica.in_flight >= replica.limit or replica.target in avoid:
            continue
        load = load_of(replica)
        if least is None or load < least_load:
            least, least_load = replica, load
    if least is None or not head or count == 1:
        return least
    favourite = _favourite(ready, head)
    if favourite is least or favourite.in_flight >= favourite.limit or favourite.target in avoid:
        return least
    load = load_of(favourite)
    is_uneven = load - least_load > tokens and load > UNEVEN_RATIO * least_load
    return least if is_uneven else favourite


def load_of(replica: Replica) -> int:
    """Return the tokens in flight on a replica, each request with what the shortest counts besides."""
    return replica.tokens_in_flight + LEAST_TOKENS * replica.in_flight


def _favourite(ready: Sequence[Replica], head: bytes) -> Replica:
    conversation = blake2b(head[:HEAD_BYTES], digest_size=8).digest()
    best, best_match = ready[0], b""
    for replica in ready:
        match = blake2b(conversation + replica.node.encode(), digest_size=8).digest()
        if match > best_match:
            best, best_match = replica, match
    return best
