"""One client's request through a gateway: what ``gateway/data`` does with its place, and what the client does.

Asks for a place, sends, fails over by the data plane's rules before the first content, and ends exactly once. The
engine at the other end answers, crashes, hangs, is gone, or is another one behind the same port.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from cortex.fleet import event as happened
from cortex.fleet.effect import Grant, Refuse, Target
from cortex.testing.fleet_gateway import SimulatedGateway
from cortex.testing.fleet_host import SentRequest, SimulatedEngine
from cortex.testing.fleet_wire import NodePlace
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_referee import FleetReferee

MAX_PLACES = 2
MAX_UNSENT = 4
"""As ``gateway/data/call.py`` has them."""
STALL_S = 8.0


class Wish:
    """What a client wants."""

    def __init__(
        self,
        number: int,
        name: str,
        model: str,
        *,
        takes_s: float = 1.0,
        patience_s: float | None = None,
        caller: str = "",
        head: bytes = b"",
        tokens: int = 100,
        leaves_s: float | None = None,
        is_poisoned: bool = False,
        is_feasible: bool = True,
    ) -> None:
        self.number = number
        self.name = name
        self.model = model
        self.takes_s = takes_s
        self.patience_s = patience_s
        self.caller = caller
        self.head = head
        self.tokens = tokens
        self.leaves_s = leaves_s
        self.is_poisoned = is_poisoned
        self.is_feasible = is_feasible


class SimulatedCall:
    """The request at one gateway process."""

    def __init__(
        self,
        wish: Wish,
        gateway: SimulatedGateway,
        nodes: dict[str, NodePlace],
        time: Timeline,
        dice: Random,
        witness: "FleetReferee",
        over: Callable[["SimulatedCall"], None] = lambda _: None,
    ) -> None:
        self.wish = wish
        self.gateway = gateway
        self.process = gateway.process
        self.since_s = time.at_s
        self.granted_s: float | None = None
        self.asked_s = time.at_s
        self.end = ""
        """How it ended; empty while it has not."""
        self.error: Refuse | None = None
        self.is_cold = False
        self.has_content = False
        self.target: Target | None = None
        self.sent: SentRequest | None = None
        self.killed = 0
        """Engines that it has taken down."""
        self._nodes = nodes
        self._time = time
        self._dice = dice
        self._witness = witness
        self._over = over
        self._ticket = 0
        self._avoid: tuple[Target, ...] = ()
        self._struck: tuple[Target, ...] = ()
        self._unsent = self._lost = 0

    def begin(self) -> None:
        self._witness.arrived(self)
        if self.wish.leaves_s is not None:
            self._time.later(self.wish.leaves_s, f"client {self.wish.number} leaves", self.leave)
        self._acquire()

    @property
    def is_waiting(self) -> bool:
        return not self.end and self.target is None

    def leave(self) -> None:
        """Vanish, as clients do."""
        if not self.end and self._is_mine():
            self._cancel()
            self._finish("gone", is_cancelled=self.sent is not None)

    def break_off(self) -> None:
        """Take in that the gateway process has died: the client sees a broken connection."""
        if not self.end:
            self._cancel()
            self._ticket = 0
            self._finish("broken")

    # From the dispatcher

    def granted(self, grant: Grant) -> None:
        self._witness.granted(self, grant)
        if self.granted_s is None:
            self.granted_s = self._time.at_s
        self.is_cold |= grant.is_cold_start
        self.target = grant.target
        sent = self.sent = SentRequest(
            self, self.gateway.name, self.process, grant.target.node, grant.target.model, grant.target.generation
        )
        sent.sent_s = self._time.at_s
        self._witness.sent(sent)
        delay_s = self._dice.uniform(0.001, 0.05)
        self._time.later(delay_s, f"request {self.wish.number} at {sent.node}", lambda: self._arrive(sent))

    def refused(self, refuse: Refuse) -> None:
        self._witness.refused(self, refuse)
        self.error = refuse
        self._ticket = 0
        self._finish("refused")

    # At the engine

    def _arrive(self, sent: SentRequest) -> None:
        target, node = self.target, self._nodes[sent.node]
        if sent.is_over or self.sent is not sent or target is None:
            sent.is_over = True
            return
        engine = None if node.is_dead else node.host.engine_at(_port(target.url))
        if engine is None:
            self._witness.arrives(sent, None)
            self._back(lambda: self._move_on("unreachable"))
        elif not answers_to(engine, target.url):
            self._witness.arrives(sent, None)
            self._back(lambda: self._move_on("gone"))
        else:
            self._witness.arrives(sent, engine)
            self._enter(sent, engine)

    def _enter(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        engine.requests[sent] = None
        engine.work += 1
        takes_s = self.wish.takes_s
        if self.wish.is_poisoned:
            self._time.later(
                0.2, f"request {self.wish.number} takes its engine down", lambda: self._poison(sent, engine)
            )
        self._time.later(min(takes_s / 2, 0.5), "", lambda: self._content(sent, engine))
        self._time.later(takes_s, f"request {self.wish.number} is done", lambda: self._done(sent, engine))
        self._time.later(takes_s + STALL_S, "", lambda: self._stalled(sent))

    def _poison(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        process = self._nodes[sent.node].process
        if sent in engine.requests and not engine.is_hung:
            self.killed += 1
            self._witness.poisoned(self)
            if process is not None:
                process.supervisor.crash(engine)
            else:
                self._nodes[sent.node].host.end(engine, is_forced=True, back_in_s=0.1, leaks_mb=0)

    def _content(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        if sent in engine.requests and not engine.is_hung and not sent.is_cancelled and self.sent is sent:
            self._witness.serves(self, sent, engine)
            self.has_content = True

    def _done(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        if engine.is_hung and engine.is_running:
            return
        is_whole = sent in engine.requests
        engine.requests.pop(sent, None)
        sent.is_over = True
        if self.sent is sent and not self.end:
            self._back(lambda: self._answered(sent, is_whole=is_whole))

    def _stalled(self, sent: SentRequest) -> None:
        """End a request whose engine says nothing any more: it is live, so nobody else is asked."""
        if self.sent is not sent or self.end or not self._is_mine():
            return
        if sent.is_over:
            self._answered(sent, is_whole=False)
        else:
            self._cancel()
            self.gateway.post(happened.TargetSuspected(self._target(), "died"))
            self._finish("failed", is_cancelled=True)

    def _answered(self, sent: SentRequest, *, is_whole: bool) -> None:
        if self.sent is not sent or self.end:
            return
        if is_whole:
            self._finish("served")
        else:
            self._move_on("died")

    # At the gateway

    def _acquire(self) -> None:
        wish, avoid = self.wish, self._avoid
        self.target, self.sent = None, None
        self.asked_s = self._time.at_s

        def arrival(ticket: int) -> happened.RequestArrived:
            self._ticket = ticket
            return happened.RequestArrived(
                ticket, wish.name, avoid, wish.caller, wish.tokens, wish.head, wish.patience_s
            )

        self.gateway.acquire(self, arrival)

    def _back(self, act: Callable[[], None]) -> None:
        """Let the gateway hear of it, when it still is the one that sent."""
        if self._is_mine():
            self.gateway.later(self._dice.uniform(0.001, 0.03), act, f"answer of {self.wish.number}")

    def _is_mine(self) -> bool:
        return self.gateway.is_alive and self.gateway.process == self.process

    def _move_on(self, why: str) -> None:
        """Try another place while the client has seen nothing of an answer."""
        if self.end or self.target is None:
            return
        target, sent = self.target, self.sent
        self.gateway.post(happened.TargetSuspected(target, "gone" if target in self._struck else why))
        if why != "gone":
            self._struck = (*self._struck, target)
        self._unsent += why == "unreachable"
        self._lost += why == "died"
        may_retry = self._unsent < MAX_UNSENT and self._lost < MAX_PLACES
        if sent is not None:
            sent.is_over = True
        if not may_retry or self.has_content:
            self._finish("failed")
            return
        if why == "died":
            self._avoid = (*self._avoid, target)
        ticket, self._ticket = self._ticket, 0
        self.gateway.release(ticket)
        self._acquire()

    def _cancel(self) -> None:
        """Close the connection to the engine, which notices sooner or later."""
        sent, target = self.sent, self.target
        if sent is None or sent.is_over or target is None:
            return
        sent.is_cancelled = True
        lag_s = self._dice.uniform(0.05, 1.0) if self._dice.random() < 0.9 else self._dice.uniform(1.0, 6.0)

        def noticed() -> None:
            sent.is_over = True
            for engine in self._nodes[sent.node].host.engines.values():
                engine.requests.pop(sent, None)

        self._time.later(lag_s, f"the engine notices {self.wish.number}", noticed)

    def _finish(self, end: str, *, is_cancelled: bool = False) -> None:
        self._witness.ended(self, end)
        self.end = end
        ticket, self._ticket = self._ticket, 0
        if ticket and self._is_mine():
            self.gateway.release(ticket, is_cancelled=is_cancelled)
        self._over(self)

    def _target(self) -> Target:
        assert self.target is not None
        return self.target


def answers_to(engine: SimulatedEngine, url: str) -> bool:
    """Tell whether an engine takes what is sent to a URL: only its own generation's, whatever its port is."""
    return url == engine.url


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])
