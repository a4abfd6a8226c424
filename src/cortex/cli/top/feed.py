"""Asks a gateway for what ``cortex top`` shows, and passes on what it says by itself. Knows nothing of the screen.

Two threads, since calls block: one follows the event stream, whose decisions are passed on as they come and whose
changes make the other one look at once. That one asks for requests often while there are any, for readings seldom.
Whoever takes the messages is woken by ``wake``.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec

from cortex.cli.client import Server
from cortex.cli.top.board import Board, with_activity, with_decisions, with_trouble, without_trouble
from cortex.contract.activity import ActivityPage
from cortex.contract.admin import DecisionEntry, DecisionPage, InstanceEntry, InstanceList, NodeEntry, NodeList
from cortex.contract.error import CortexError, UpstreamBroken
from cortex.kit.clock import Clock
from cortex.kit.json_fault import NOT_JSON

API = "/admin/v1"
LEAST_S = 0.5
"""Between two rounds, whatever happens."""
BUSY_S = 1.0
IDLE_S = 2.0
READINGS_S = 5.0
"""For devices and idle times, which nodes tell every ten seconds."""
AGAIN_S = 2.0
"""After the stream has ended, before it is opened again."""
MANY = 100

Message = Callable[[Board], Board]
"""What makes the next board of one."""
Answer = TypeVar("Answer", NodeList, InstanceList, ActivityPage, DecisionPage)


def ask(gateway: Server, path: str, kind: type[Answer]) -> Answer:
    """Return a typed answer. Raises: CortexError."""
    try:
        return msgspec.convert(gateway.get(f"{API}/{path}"), kind)
    except msgspec.ValidationError as exc:
        raise UpstreamBroken(f"{API}/{path}: {exc}: is this a gateway of another version?") from exc


def whole(gateway: Server, board: Board, epoch_s: float, limit: int = MANY) -> Board:
    """Return a board with everything asked for once. Raises: CortexError."""
    board = _with_places(
        board, ask(gateway, "nodes", NodeList).nodes, ask(gateway, "instances", InstanceList).instances
    )
    board = with_activity(board, ask(gateway, f"activity?limit={limit}", ActivityPage), epoch_s)
    board = with_decisions(board, ask(gateway, f"decisions?limit={limit}", DecisionPage).decisions)
    return msgspec.structs.replace(board, now_epoch_s=epoch_s)


class Feed:
    """Fills a queue of messages until the process ends; ``calls`` answers soon, ``stream`` goes on."""

    def __init__(self, calls: Server, stream: Server, clock: Clock, wake: Callable[[], None]) -> None:
        self.messages: SimpleQueue[Message] = SimpleQueue()
        self._calls = calls
        self._stream = stream
        self._clock = clock
        self._wake = wake
        self._stirred = threading.Event()
        self._is_followed = False
        self._looked_s: float | None = None
        self._is_busy = False
        self._seen: int | None = None

    def start(self) -> None:
        """Begin. The threads end with the process: one that waits for a gateway cannot be told to stop."""
        for work in (self._ask_on, self._follow_on):
            threading.Thread(target=self.run, args=(work,), daemon=True).start()

    def run(self, work: Callable[[], None]) -> None:
        """Do some work; if it crashes, so does whoever takes the messages, instead of a screen that stands still."""
        try:
            work()
        except Exception as exc:
            crash = exc

            def tell(_: Board) -> Board:
                raise crash

            self.tell(tell)

    def stir(self) -> None:
        """Look at everything now."""
        self._looked_s = None
        self._stirred.set()

    def tell(self, message: Message) -> None:
        """Pass a message on."""
        self.messages.put(message)
        self._wake()

    def _ask_on(self) -> None:
        pause = threading.Event()  # is never set
        while True:
            self._stirred.clear()
            self.round()
            pause.wait(LEAST_S)
            self._stirred.wait((BUSY_S if self._is_busy else IDLE_S) - LEAST_S)

    def round(self) -> None:
        """Ask for what is due, and tell of it, or of the trouble with it."""
        try:
            told = [self._activity(), *self._places()]
        except CortexError as exc:
            self._looked_s, why = None, reason_of(exc.message)
            self.tell(lambda board: with_trouble(board, why, self._clock.epoch_s()))
            return
        self.tell(lambda board: without_trouble(_all(told, board)))

    def _activity(self) -> Message:
        since = "" if self._seen is None else f"&since={self._seen}"
        page = ask(self._calls, f"activity?limit={MANY}{since}", ActivityPage)
        if self._seen is not None and (page.gap or page.newest < self._seen):
            page = ask(self._calls, f"activity?limit={MANY}", ActivityPage)
        was_busy, self._is_busy = self._is_busy, bool(page.running or page.finished)
        if was_busy and not self._is_busy:
            self._looked_s = None  # what has become idle is seen at once
        self._seen = page.next
        epoch_s = self._clock.epoch_s()
        return lambda board: with_activity(board, page, epoch_s)

    def _places(self) -> Iterator[Message]:
        now_s = self._clock.now_s()
        every_s = IDLE_S if self._is_busy else READINGS_S
        if self._looked_s is not None and now_s - self._looked_s < every_s:
            return
        nodes = ask(self._calls, "nodes", NodeList).nodes
        instances = ask(self._calls, "instances", InstanceList).instances
        self._looked_s = now_s
        yield lambda board: _with_places(board, nodes, instances)
        if not self._is_followed:
            yield self._decisions()

    def _decisions(self) -> Message:
        page = ask(self._calls, f"decisions?limit={MANY}", DecisionPage)
        return lambda board: with_decisions(msgspec.structs.replace(board, decisions=()), page.decisions)

    def _follow_on(self) -> None:
        pause = threading.Event()
        while True:
            with suppress(CortexError):  # the other thread says what is wrong
                self.follow()
            self._is_followed = False
            pause.wait(AGAIN_S)

    def follow(self) -> None:
        """Pass on what the stream says until it ends. Raises: CortexError."""
        for kind, data in events(self._stream.stream(f"{API}/events")):
            if kind == "snapshot":
                self.tell(self._decisions())
                self._is_followed = True
            elif kind == "decision":
                self.tell(_decided(data))
            if kind in ("snapshot", "change"):
                self.stir()


def reason_of(message: str) -> str:
    """Return what is wrong with the connection, without the address and the advice, for which a line has no room."""
    found = re.search(r"^no answer from .*? \((.*)\); is it running there\?", message)
    return found[1] if found else message


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield kind and content of every event, not decoded: most of them are only a sign to look."""
    kind = ""
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value.decode(errors="replace")
        elif name == b"data":
            yield kind, value


def _decided(data: bytes) -> Message:
    try:
        decision = msgspec.json.decode(data, type=DecisionEntry)
    except NOT_JSON as exc:
        raise UpstreamBroken(f"{API}/events: {exc}") from exc
    return lambda board: with_decisions(board, (decision,))


def _with_places(board: Board, nodes: tuple[NodeEntry, ...], instances: tuple[InstanceEntry, ...]) -> Board:
    return msgspec.structs.replace(board, is_known=True, nodes=nodes, instances=instances)


def _all(messages: list[Any], board: Board) -> Board:
    for message in messages:
        board = message(board)
    return board
