"""One limit of one key, as one gateway holds a slice of it: what is spent, reserved, and free to be used at once.

``spent`` and ``reserved`` count from the beginning of an *epoch*: a window, or what is left of one after the store has
closed the gateway's counts. ``granted`` bounds the two together. Of a window nothing is used in its last thousandth, as
far as it is known to the gateway, whose clock may go slower than the store's. Used without the store, a limit may have
more spent than granted, or a window of the gateway's own clock: the store's next answer has that counted.
"""

from math import ceil, inf

from cortex.fleet.quota import Kind, MeterAnswer, MeterReport, window_of

SAFE = 0.999
PLENTY = 8
"""So many times what a gateway holds has to be left beyond it, or others may miss it."""


class Meter:
    """The slice of one limit."""

    __slots__ = (
        "alone",
        "closed",
        "denied_free",
        "denied_until_s",
        "dry_until_s",
        "elsewhere",
        "ends_s",
        "epoch",
        "given",
        "granted",
        "is_in_tokens",
        "is_wanted",
        "kind",
        "last",
        "lately",
        "limit",
        "low",
        "owed",
        "per_s",
        "remaining",
        "reserved",
        "resets_s",
        "spent",
        "taken",
        "window",
    )

    def __init__(self, kind: Kind, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        self.is_in_tokens = kind.unit == "tokens"
        self.per_s = ceil(limit * kind.per_s)
        self.epoch = 0
        self.window: int | None = None
        """The store's; None while none is known to be open."""
        self.closed: int | None = None
        """The last that was closed here, of which the store may not know that yet."""
        self.alone: int | None = None
        """The window by the gateway's own clock, while it counts without the store."""
        self.ends_s = -inf
        """When it is not used any more; ``resets_s``: when it ends."""
        self.resets_s = -inf
        self.spent = self.reserved = self.granted = 0
        self.owed = 0
        """What answers took beyond their reservations in windows that are over."""
        self.remaining = limit
        """What nobody held when the store was last asked."""
        self.denied_until_s = -inf
        self.denied_free = 0
        """Until then the store has no more than this, beyond what is free here."""
        self.elsewhere = 0
        """What others may give back, should that be denied."""
        self.dry_until_s = -inf
        """Until then nothing is asked for ahead."""
        self.given = 0
        """What was free here when the store was last asked."""
        self.is_wanted = False
        """Another gateway waits for what is not used here."""
        self.low = 0
        """With less than this free, more is asked for ahead."""
        self.taken = self.lately = self.last = 0
        """What requests took in this half second, in those before, and the last one."""

    @property
    def free(self) -> int:
        """What can be used without asking."""
        return self.granted - self.spent - self.reserved

    @property
    def unbooked(self) -> int:
        """What was used that the store does not hold for used, as far as it has answered."""
        return max(0, self.spent + self.reserved - self.granted)

    @property
    def ahead(self) -> int:
        """What a second may take: of the limit's own rate, or as it went lately."""
        return min(self.limit, max(self.per_s, 2 * self.lately, 2 * self.taken, self.last))

    def close(self) -> None:
        """The window is over: nothing of it is used any more."""
        self.epoch += 1
        if self.window is not None:
            self.closed = self.window
        self.window = self.alone = None
        self.ends_s = self.denied_until_s = self.dry_until_s = -inf
        self.spent = self.reserved = self.granted = self.low = self.given = 0
        self.is_wanted = False
        self.remaining = self.limit

    def left(self) -> None:
        """The store has closed the counts, and was told all there is to tell."""
        self.close()
        self.closed = None

    def reserve(self, amount: int) -> None:
        """Use some of it, which may come back; of requests none does."""
        if self.kind.unit == "requests":
            self.spent += amount
        else:
            self.reserved += amount
        self.taken += amount
        self.last = amount

    def settle(self, amount: int, epoch: int, used: int) -> None:
        """What was reserved in an epoch is known now. What an answer took beyond it counts where it is known."""
        if epoch == self.epoch:
            self.reserved -= amount
            self.spent += used
        elif used > amount:
            if self.window is None:
                self.owed += used - amount
            else:
                self.spent += used - amount

    def report(self, need: int, least: int, *, is_ahead: bool) -> MeterReport:
        """Say how it stands."""
        return MeterReport(
            limit=self.limit,
            window=self.window,
            closed=self.closed,
            spent=self.spent,
            reserved=self.reserved,
            kept=max(0, self.free),
            need=need,
            least=least,
            ahead=self.ahead if is_ahead else 0,
        )

    @property
    def is_scarce(self) -> bool:
        """Others may soon miss what is held here."""
        return max(self.given, self.free) * PLENTY > self.remaining

    def let_go(self) -> None:
        """Use nothing more before the store was asked."""
        self.granted = min(self.granted, self.spent + self.reserved)
        self.low = 0

    def answered(
        self, said: MeterReport, answer: MeterAnswer, sent_s: float, now_s: float, *, is_forgotten: bool
    ) -> None:
        """The store's answer to a report that was sent then is here."""
        if answer.window == said.window and (self.window is None or not is_forgotten):
            if self.window is None:
                return  # it was closed meanwhile
            self.granted = said.spent + said.reserved + answer.free
        else:
            self._open(answer)
        self.ends_s = sent_s + answer.left_s * SAFE
        self.remaining = answer.remaining
        self.resets_s = sent_s + answer.left_s
        self.given, self.is_wanted = answer.free, answer.is_wanted
        self.elsewhere = 0 if answer.retry_in_s is None else answer.elsewhere
        self.low = min(self.ahead, answer.free) // 2 + 1
        is_dry = not answer.remaining and answer.free < self.ahead
        self.dry_until_s = now_s + min(1.0, answer.left_s) if is_dry else -inf
        if answer.retry_in_s is None:
            self.denied_until_s = -inf
        else:
            self.denied_until_s, self.denied_free = sent_s + answer.retry_in_s, answer.remaining
        if now_s >= self.ends_s:
            self.close()

    def open_alone(self, now_s: float, epoch_s: float) -> None:
        """Begin a window without the store: the one that is open by the gateway's own clock."""
        self.close()
        self.alone, end = window_of(self.kind.span, epoch_s)
        self.ends_s = self.resets_s = now_s + end - epoch_s

    def _open(self, answer: MeterAnswer) -> None:
        unbooked = self.unbooked if answer.window in (self.window, self.alone) else 0
        self.epoch += 1
        self.window, self.alone = answer.window, None
        self.spent, self.owed = self.owed + unbooked, 0
        self.reserved, self.granted = 0, answer.free
