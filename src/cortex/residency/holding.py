"""One gateway's lease on one generation of an instance, and how many slots it may be using: data of the lease book.

What a gateway was told counts at once when it is more; when it is less, only after the gateway has shown that it knows,
and what it still has running beyond that goes on. Not every engine stops at once when a request is cancelled: until the
engine's own count drops, or some time has passed, its slot counts as taken.
"""

from typing import NamedTuple

MAX_PIECES = 32


class Said(NamedTuple):
    """What a gateway says of one generation; ``cancelled`` counts all so far, None: any that ended may have been."""

    in_flight: int = 0
    waiting: int = 0
    oldest_wait_s: float = 0.0
    cancelled: int | None = None


class _Debris(NamedTuple):
    """Requests that were cancelled by one moment and may still be in the engine."""

    requests: int
    since_s: float
    until_s: float


class Holding:
    """The state of one lease; times are the neuron's."""

    def __init__(self, gateway_id: str, event: int) -> None:
        self.gateway_id = gateway_id
        self.renewed_s = 0.0
        self.is_heard = False
        """It reports, and so will give back what it is given."""
        self.in_flight = 0
        self.waiting = 0
        self.oldest_wait_s = 0.0
        self.claim = 0
        """The slots that it goes by itself."""
        self.is_honoured = False
        """What it claimed of an earlier neuron process was looked at."""
        self.seen_event = 0
        """The newest change that the gateway has shown to know."""
        self.told = 0
        """The slots that it was told to have."""
        self.told_event = event
        """From then on: a gateway that held it before, and fell silent, does not know that it has none."""
        self._bound = 0
        """The most that it may be using beyond what it was told."""
        self._lowered_event = 0
        self._cancelled = 0
        self._debris: list[_Debris] = []

    @property
    def wanted(self) -> int:
        """Slots that it would use."""
        return self.in_flight + self.waiting

    @property
    def is_short(self) -> bool:
        """Whether somebody waits there for want of a slot."""
        return self.waiting > 0 and self.wanted > self.told

    @property
    def debris(self) -> int:
        """Requests that it has cancelled and that may still be in the engine."""
        return sum(piece.requests for piece in self._debris)

    @property
    def held(self) -> int:
        """The most slots that it may be using."""
        return max(self.told, self._bound, self.in_flight)

    @property
    def leftovers(self) -> int:
        """What stays in the engine when its gateway goes in good order."""
        return self.in_flight + self.debris

    def report(self, said: Said, *, seen_event: int, now_s: float, settle_s: float) -> None:
        """Take in what it says. What it has cancelled since may still be in the engine for ``settle_s``."""
        if not seen_event:
            # Another process may have begun under the same name: whatever the last one had under way was cut.
            cancelled = self.in_flight + (said.cancelled or 0)
        elif said.cancelled is None:
            cancelled = self.in_flight - said.in_flight
        else:
            cancelled = said.cancelled - self._cancelled
        self._cancelled = said.cancelled or 0
        if cancelled > 0:
            self._add_debris(_Debris(cancelled, now_s, now_s + settle_s))
        self.in_flight, self.waiting = said.in_flight, said.waiting
        self.oldest_wait_s = said.oldest_wait_s if said.waiting else 0.0
        self.seen_event, self.is_heard = seen_event, True
        self._tighten()

    def tell(self, slots: int, event: int) -> None:
        """Let it have so many slots from change ``event`` on."""
        if slots < self.told:
            self._bound = max(self._bound, self.told)
            self._lowered_event = event
        self.told, self.told_event = slots, event

    def settle(self, now_s: float) -> None:
        """Forget what must have left the engine by now."""
        if self._debris:
            self._debris = [piece for piece in self._debris if piece.until_s > now_s]
            self._tighten()

    def clear(self, count: int, asked_s: float) -> int:
        """Forget up to ``count`` cancelled before ``asked_s``, the oldest first; return how many are left of it."""
        kept = []
        for piece in self._debris:
            cleared = min(count, piece.requests) if piece.since_s <= asked_s else 0
            count -= cleared
            if piece.requests > cleared:
                kept.append(piece._replace(requests=piece.requests - cleared))
        self._debris = kept
        self._tighten()
        return count

    def _tighten(self) -> None:
        """Go by what it has running, once it knows that it may start no more than it was told."""
        if self.seen_event >= self._lowered_event:
            self._bound = min(self._bound, self.in_flight + self.debris)

    def _add_debris(self, piece: _Debris) -> None:
        self._debris.append(piece)
        if len(self._debris) > MAX_PIECES:
            first, second, *rest = self._debris
            self._debris = [second._replace(requests=first.requests + second.requests), *rest]
