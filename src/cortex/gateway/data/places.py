"""The places that one request asks for, gets and loses, one after the other; and whether it may have another one.

What was never sent may be tried again, up to a bound. What was sent and lost is tried at one other place, once, while
the model's budget of retries lasts and unless two instances have died of this very body. Whatever failed is told to
those who grant. Knows nothing of connections and answers.
"""

from collections.abc import Callable
from typing import Protocol

from cortex.contract.error import CortexError, PoisonRequest, UpstreamError
from cortex.fleet.effect import Grant, Target
from cortex.fleet.poison import FORGOTTEN_S, MAX_DEATHS, Fingerprint, PoisonList
from cortex.fleet.quota_holding import Admission
from cortex.fleet.retry_budget import RetryBudget
from cortex.gateway.data.outgoing import Outgoing
from cortex.gateway.data.record import Outcome
from cortex.gateway.data.request_trace import RequestTrace
from cortex.gateway.ports import Leases, Suspicion, Waiter
from cortex.kit.cause import Cause

MAX_SENT = 2
"""A request that was sent and lost is tried at one other place, once: a query of death costs two instances at most."""

MAX_UNSENT = 4
"""How often a place may turn out to be unreachable or gone before the request was sent."""


class Shared(Protocol):
    """What the places of all requests of one gateway have in common; ``Plane`` has it, and simulated gateways have."""

    @property
    def leases(self) -> Leases:
        """Who grants places."""

    @property
    def retries(self) -> RetryBudget:
        """How many requests may be sent again."""

    @property
    def poison(self) -> PoisonList:
        """The bodies that instances have died with."""

    @property
    def now_s(self) -> Callable[[], float]:
        """The clock."""


class Asker(Protocol):
    """Whose request it is; ``Exchange`` tells."""

    @property
    def priority(self) -> int:
        """How urgent its key's requests are."""

    @property
    def admission(self) -> Admission | None:
        """What it has taken of its key's limits."""


class Places:
    """Of one request. ``model`` and ``node`` are those of the last place, or of the refusal."""

    __slots__ = (
        "_admission",
        "_asked_s",
        "_caller",
        "_conversation",
        "_died",
        "_failure",
        "_fingerprint",
        "_is_waiting",
        "_last_lost",
        "_outgoing",
        "_plane",
        "_priority",
        "_struck",
        "_tried",
        "_unsent",
        "count",
        "is_cold",
        "is_probe",
        "is_refreshed",
        "lost",
        "model",
        "node",
        "target",
        "ticket",
        "trace",
        "waited_s",
    )

    def __init__(
        self,
        plane: Shared,
        outgoing: Outgoing,
        caller: str,
        conversation: bytes,
        trace: RequestTrace | None = None,
        asker: Asker | None = None,
    ) -> None:
        self._plane = plane
        self.trace = trace
        """Where it is noted what happens; None where nobody wishes to see it."""
        self._outgoing = outgoing
        self._caller = caller
        self._priority = 0 if asker is None else asker.priority
        self._admission = None if asker is None else asker.admission
        self._conversation = conversation
        self.ticket: int | None = None
        """Of the place that it has or waits for."""
        self.target: Target | None = None
        self.model = self.node = ""
        self.is_cold = self.is_probe = False
        self.count = 0
        """Places that were granted."""
        self.lost: tuple[tuple[str, str], ...] = ()
        """(node, error's code) of the attempts that another one followed."""
        self.is_refreshed = False
        """A fence has answered that the instance is gone; believed once, because some engines lack some paths."""
        self._last_lost: tuple[tuple[str, str], ...] = ()
        self._is_waiting = False
        self._asked_s = self.waited_s = 0.0
        """Since when it waits, 0 when it does not; and how long it has waited before."""
        self._tried: tuple[Target, ...] = ()
        self._struck: tuple[Target, ...] = ()
        """Places whose failure was told: one request speaks against each once."""
        self._failure: UpstreamError | None = None
        """What became of the last place that was tried in vain."""
        self._died = 0
        self._unsent = 0
        self._fingerprint: Fingerprint | None = None
        """Of the body, once there was something to compare it with."""

    def ban(self) -> PoisonRequest | None:
        """Return why this body is not to be sent anywhere, if it is not."""
        if self._deaths() < MAX_DEATHS:
            return None
        return PoisonRequest(
            f"{MAX_DEATHS} instances have died with this very request in them; it is not sent to another one within "
            f"the next {FORGOTTEN_S:g} s. Change it, or have the operator look at what the engines say."
        )

    def ask(self, waiter: Waiter, patience_s: float | None) -> None:
        """Ask for a place; the answer may come before this returns."""
        self._is_waiting = True
        if self.trace is not None:
            self.trace.asked(self._plane.now_s())
        ticket = self._plane.leases.acquire(
            self._outgoing.model,
            waiter,
            avoid=self._tried,
            caller=self._caller,
            tokens=self._outgoing.tokens,
            head=self._conversation,
            patience_s=patience_s,
            priority=self._priority,
            no_load_s=None if self._admission is None else self._admission.no_load_s(self._plane.now_s()),
            allowance=self._admission,
        )
        if self._is_waiting and self.ticket is None:  # else a place failed within its grant, and it waits anew
            self.ticket = ticket
            self._asked_s = self._plane.now_s()
            if self.trace is not None:
                self.trace.waits()

    def take(self, grant: Grant) -> Target:
        """A place was granted."""
        self._is_waiting = False
        if self._asked_s:
            self.waited_s += self._plane.now_s() - self._asked_s
            self._asked_s = 0.0
        if self._admission is not None:
            self._admission.placed()
        self.ticket = grant.ticket
        self.target = target = grant.target
        self.model, self.node = target.model, target.node
        self.count += 1
        self.lost += self._last_lost
        self._last_lost = ()
        self.is_probe = grant.is_probe
        if grant.is_cold_start:
            self.is_cold = True
        if self.trace is not None:
            self.trace.granted(target, is_cold=grant.is_cold_start, now_s=self._plane.now_s())
        return target

    def cause(self, request_id: bytes) -> Cause:
        """Return what is to be said of whatever is done so that the request gets a place."""
        return Cause(request_id.decode("ascii"), None if self.trace is None else self.trace.wait_context())

    def note_sent(self, now_s: float) -> None:
        """The request goes out."""
        if self.count == 1:
            self._plane.retries.note_request(self.model, now_s)

    def take_refusal(self, error: CortexError, model: str, node: str) -> tuple[CortexError, Outcome]:
        """There is no place; return what the client is to hear of it, and what that is."""
        self._is_waiting = False
        self.ticket = None
        if node not in ("", self.node):
            self.lost += self._last_lost  # else the record of the whole stands for the last attempt
        self.model, self.node = model or self.model, node or self.node
        if self._failure is not None and isinstance(error, UpstreamError):
            return self._failure, "failed"  # there is no other place: what the last one did says more
        return error, "refused"

    def blame(self, why: Suspicion) -> None:
        """Tell that the place failed."""
        target = self.target
        assert target is not None
        self._plane.leases.suspect(target, "gone" if target in self._struck else why)
        if why != "gone":
            self._struck = (*self._struck, target)

    def may_go_on(self, why: Suspicion, now_s: float) -> bool:
        """Tell whether, after this failure, the request may have another place; counted as if it takes it."""
        if why == "unreachable":
            self._unsent += 1
            return self._unsent < MAX_UNSENT
        if why == "died":
            self._died += 1
            return (
                self._died < MAX_SENT and self._deaths() < MAX_DEATHS and self._plane.retries.spend(self.model, now_s)
            )
        return True

    def leave(self, why: Suspicion, error: UpstreamError) -> None:
        """Give the place up for another one."""
        assert self.target is not None
        if why == "died":
            self._tried = (*self._tried, self.target)
        self._last_lost = () if why == "gone" else ((self.node, error.code),)
        self._failure = error
        if self.trace is not None:
            self.trace.left(error.code, self._plane.now_s())
        self.give_back()

    def note_death(self) -> None:
        """The instance broke its connection with the request in it, before it had answered."""
        body, target = self._outgoing.fingerprint(), self.target
        if body is not None and target is not None:
            self._plane.poison.note_death(body, (target.node, target.generation), self._plane.now_s())

    def vouch(self) -> None:
        """The engine has begun to answer."""
        if self.is_probe and self.ticket is not None:
            self.is_probe = False
            self._plane.leases.vouch(self.ticket)

    def note_answer(self) -> None:
        """An instance has answered, or begun to: the request is none that instances die of."""
        poison = self._plane.poison
        if self._outgoing.size_bytes in poison.lengths:
            body = self._fingerprint or self._outgoing.fingerprint()
            if body is not None:
                poison.clear(body)

    def give_back(self, *, is_cancelled: bool = False) -> None:
        """Let go of the place that it has or waits for."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            if not self.model:  # it had no place yet: what it waited for is on record all the same
                self.model = next(iter(self._plane.leases.names_of(self._outgoing.model)), "")
            self._plane.leases.release(ticket, is_cancelled=is_cancelled)

    def _deaths(self) -> int:
        poison = self._plane.poison
        if self._outgoing.size_bytes not in poison.lengths:
            return 0
        self._fingerprint = body = self._outgoing.fingerprint()
        return 0 if body is None else poison.deaths(body, self._plane.now_s())
