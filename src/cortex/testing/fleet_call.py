"""One client's request through a gateway: what ``gateway/data/call.py`` does with its places, and what the client does.

Asks for a place, sends, fails over before the first content, and ends exactly once; whether it may have another place
the data plane's own ``Places`` say. The engine at the other end answers, crashes, hangs, is gone, or is another one
behind the same port.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from cortex.contract.error import CortexError, UpstreamBroken, UpstreamError, UpstreamUnreachable
from cortex.dialects.openai_request import Head
from cortex.fleet.effect import Grant, Target
from cortex.gateway.data.outgoing import HeldBody
from cortex.gateway.data.places import Places
from cortex.gateway.ports import Suspicion
from cortex.kit.cause import NOTHING, Cause
from cortex.testing.fleet_gateway import SimulatedGateway
from cortex.testing.fleet_host import SentRequest, SimulatedEngine
from cortex.testing.fleet_wire import NodePlace
from cortex.testing.timeline import Timeline

if TYPE_CHECKING:
    from cortex.testing.fleet_referee import FleetReferee

STALL_S = 8.0
CLIENT_STALL_S = 15.0
"""Whoever has read nothing for so long is closed: ``client_stall_s``, in a hurry. Longer than any load takes."""
NEVER_S = 1000.0
"""Longer than a run lasts."""
POISON_S = 0.2
"""So long an engine works on the request that it dies of."""


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
        stalls_s: float = 0.0,
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
        self.stalls_s = stalls_s
        """For so long its client reads nothing, and the engine stands still with it; inf: it never reads again."""
        self.is_poisoned = is_poisoned
        self.is_feasible = is_feasible

    @property
    def body(self) -> bytes:
        """What its client sends, each time that it comes."""
        return b'{"model":"%b","n":%d}' % (self.name.encode(), self.number)


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
        self.error: CortexError | None = None
        self.is_cold = False
        self.has_content = False
        self.target: Target | None = None
        self.sent: SentRequest | None = None
        self._nodes = nodes
        self._time = time
        self._dice = dice
        self._witness = witness
        self._over = over
        self._outgoing = HeldBody(wish.body, Head(wish.name), counts_usage=False)
        self._outgoing.tokens = wish.tokens
        self._places = Places(gateway.plane, self._outgoing, wish.caller, wish.head)

    def begin(self) -> None:
        self._witness.arrived(self)
        ban = self._places.ban()
        if ban is not None:
            self.refused(ban, "", "")
            return
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
            self._finish("broken")

    # gateway.ports.Waiter

    def cause(self) -> Cause:
        return NOTHING

    def granted(self, grant: Grant) -> None:
        """See ``gateway.ports.Waiter``."""
        self._witness.granted(self, grant)
        if self.granted_s is None:
            self.granted_s = self._time.at_s
        self.target = target = self._places.take(grant)
        self.is_cold = self._places.is_cold
        sent = self.sent = SentRequest(
            self, self.gateway.name, self.process, target.node, target.model, target.generation
        )
        sent.holder = self.gateway.name_at(target.node)
        sent.sent_s = self._time.at_s
        self._witness.sent(sent)
        delay_s = self._dice.uniform(0.001, 0.05)
        self._time.later(delay_s, f"request {self.wish.number} at {sent.node}", lambda: self._arrive(sent))

    def refused(self, error: CortexError, model: str, node: str) -> None:
        """See ``gateway.ports.Waiter``."""
        self._witness.refused(self, error)
        self.error, _ = self._places.take_refusal(error, model, node)
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
            self._back(lambda: self._move_on("unreachable", UpstreamUnreachable()))
            return
        if not self.end:
            self._places.note_sent(self.gateway.plane.now_s())
            self._witness.goes_out(self)
        if answers_to(engine, target.url):
            self._witness.arrives(sent, engine)
            self._enter(sent, engine)
        else:
            self._witness.arrives(sent, None)
            self._back(self._fenced)

    def _enter(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        engine.requests[sent] = None
        engine.work += 1
        takes_s = self.wish.takes_s + min(self.wish.stalls_s, NEVER_S)
        if self.wish.is_poisoned:
            what = f"request {self.wish.number} takes its engine down"
            self._time.later(POISON_S, what, lambda: self._poison(sent, engine))
        else:
            self._time.later(min(self.wish.takes_s / 2, 0.5), "", lambda: self._content(sent, engine))
        if self.wish.stalls_s > CLIENT_STALL_S and self._is_mine():
            what = f"client {self.wish.number} has read nothing for long"
            self.gateway.later(self.wish.takes_s / 2 + CLIENT_STALL_S, lambda: self._close(sent), what)
        self._time.later(takes_s, f"request {self.wish.number} is done", lambda: self._done(sent, engine))
        self._time.later(takes_s + STALL_S, "", lambda: self._stalled(sent))

    def _poison(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        process = self._nodes[sent.node].process
        if sent in engine.requests and not engine.is_hung:
            self._witness.poisoned(self, sent.node, engine)
            if process is not None:
                process.supervisor.crash(engine)
            else:
                self._nodes[sent.node].host.end(engine, is_forced=True, back_in_s=0.1, leaks_mb=0)

    def _content(self, sent: SentRequest, engine: SimulatedEngine) -> None:
        if sent in engine.requests and not engine.is_hung and not sent.is_cancelled and self.sent is sent:
            self._witness.serves(self, sent, engine)
            self.has_content = True
            self._back(lambda: self._vouch(sent))

    def _vouch(self, sent: SentRequest) -> None:
        """The gateway has seen content, and told whom it may concern."""
        if self.sent is sent and not self.end:
            self._places.note_answer()
            self._outgoing.settle()
            self._places.vouch()

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
            self._places.blame("silent")
            self._finish("failed", is_cancelled=True)

    def _close(self, sent: SentRequest) -> None:
        """Close on a client that does not read."""
        if self.sent is sent and not self.end:
            self._cancel()
            self._finish("unread", is_cancelled=True)

    def _answered(self, sent: SentRequest, *, is_whole: bool) -> None:
        if self.sent is not sent or self.end:
            return
        if is_whole:
            self._places.note_answer()
            self._finish("served")
            return
        if not self.has_content:
            self._places.note_death()
        self._move_on("died", UpstreamBroken())

    # At the gateway

    def _acquire(self) -> None:
        self.target, self.sent = None, None
        self.asked_s = self._time.at_s
        self._places.ask(self, self.wish.patience_s)

    def _back(self, act: Callable[[], None]) -> None:
        """Let the gateway hear of it, when it still is the one that sent."""
        if self._is_mine():
            self.gateway.later(self._dice.uniform(0.001, 0.03), act, f"answer of {self.wish.number}")

    def _is_mine(self) -> bool:
        return self.gateway.is_alive and self.gateway.process == self.process

    def _fenced(self) -> None:
        """The fence has answered that the instance is gone: believed once, as ``gateway/data/call.py`` has it."""
        if self._places.is_refreshed:
            self._places.note_answer()
            self._end_sent()
            self._finish("failed")
        else:
            self._places.is_refreshed = True
            self._move_on("gone", UpstreamBroken())

    def _move_on(self, why: Suspicion, error: UpstreamError) -> None:
        """Try another place while the client has seen nothing of an answer."""
        if self.end or self.target is None:
            return
        places = self._places
        places.blame(why)
        self._end_sent()
        if self.has_content or not places.may_go_on(why, self.gateway.plane.now_s()):
            self._finish("failed")
            return
        if why == "died":
            self._witness.tries_again(self)
        places.leave(why, error)
        self._acquire()

    def _end_sent(self) -> None:
        if self.sent is not None:
            self.sent.is_over = True

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
        if self._is_mine():
            self._places.give_back(is_cancelled=is_cancelled)
        self._over(self)


def answers_to(engine: SimulatedEngine, url: str) -> bool:
    """Tell whether an engine takes what is sent to a URL: only its own generation's, whatever its port is."""
    return url == engine.url


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])
