"""Runs ``cortex top``: one loop that waits for keys, signals and news of the fleet, and paints when one has come.

What there is to see is ``page``'s, what a key means ``glance``'s; this one only puts them together.
"""

import contextlib
import os
import select
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from urllib.parse import quote

import msgspec

from cortex.cli.client import Server, gateway
from cortex.cli.top.board import Board
from cortex.cli.top.feed import API, Feed, whole
from cortex.cli.top.glance import Glance, Key, Wish, pressed
from cortex.cli.top.key_reader import KeyReader
from cortex.cli.top.page import screen, text
from cortex.cli.top.terminal import Terminal, can_paint
from cortex.contract.error import CortexError, UpstreamUnreachable
from cortex.kit.clock import Clock, SystemClock

CALL_S = 5.0
STREAM_S = 40.0
"""Longer than the gateway is ever silent on its event stream (15 s)."""
FRAME_S = 0.5
"""Between two paintings for news; a key is answered at once."""
SETTLE_S = 0.1
"""After so long an escape is the key and not the beginning of another."""
PLAIN_S = 5.0
PLAIN_WIDTH = 160
PLAIN_LIMIT = 20
"""Requests and decisions, where everything is printed."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP)


def top(url: str, env: Mapping[str, str], *, once: bool) -> int:
    """Show the fleet until told to stop; return the exit code. Raises: CortexError, where nothing can be shown."""
    clock = SystemClock()
    calls, board = gateway(url, env, CALL_S), Board(url=url, now_epoch_s=clock.epoch_s())
    if once:
        print(_once(calls, board, clock, env))
        return 0
    if not can_paint(env):
        return _print_on(calls, board, clock, env)
    with contextlib.suppress(UpstreamUnreachable):  # it may come; a key that does not hold is told at once
        board = whole(calls, board, clock.epoch_s())
    return Loop(calls, gateway(url, env, STREAM_S), board, clock, Terminal(env)).run()


def _once(calls: Server, board: Board, clock: Clock, env: Mapping[str, str]) -> str:
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
    return text(whole(calls, board, clock.epoch_s(), PLAIN_LIMIT), max(20, width))


def _print_on(calls: Server, board: Board, clock: Clock, env: Mapping[str, str]) -> int:
    """Print everything now and then, for a terminal that cannot be painted on, or no terminal."""
    pause = threading.Event()
    try:
        while True:
            try:
                print(_once(calls, board, clock, env), end="\n\n", flush=True)
            except UpstreamUnreachable as exc:
                print(f"gateway does not answer: {exc.message}", end="\n\n", flush=True)
            pause.wait(PLAIN_S)
    except KeyboardInterrupt:
        return 0


class Loop:
    """One terminal that looks at one gateway."""

    def __init__(self, calls: Server, stream: Server, board: Board, clock: Clock, terminal: Terminal) -> None:
        self._calls = calls
        self._clock = clock
        self._terminal = terminal
        self._board = board
        self._shown = board
        """The board on the screen: while it is paused an older one."""
        self._glance = Glance()
        self._keys: tuple[Key, ...] = ()
        self._reader = KeyReader()
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._feed = Feed(calls, stream, clock, self._wake)
        self._painted_s = 0.0
        self._exit: int | None = None
        self._is_told_to_pause = False

    def run(self) -> int:
        """Paint until the end; return the exit code."""
        with _signals(self._signalled, self._waker):
            self._feed.start()
            while self._exit is None:
                with self._terminal.taken():
                    self._paint_on()
                if self._is_told_to_pause:
                    self._is_told_to_pause = False
                    os.kill(os.getpid(), signal.SIGSTOP)  # and here it goes on when the shell says so
        return self._exit

    def _paint_on(self) -> None:
        try:
            self._paint()
            is_due = False
            while self._exit is None and not self._is_told_to_pause:
                woken, keys = self._wait(is_due)
                has_news = woken and self._take_news()
                if keys or (woken and not has_news):  # a key, or a signal: the size may be another
                    self._paint()
                    is_due = False
                else:
                    is_due = is_due or has_news
                if is_due and self._until_frame() <= 0:
                    self._paint()
                    is_due = False
        except OSError:  # the terminal is gone
            self._exit = 1

    def _wait(self, is_due: bool) -> tuple[bool, bool]:
        """Wait for news, a signal or a key; return whether there were news or a signal, and whether a key."""
        keyboard = self._terminal.keyboard
        watched = [self._woken] if keyboard is None else [self._woken, keyboard]
        limit_s = max(0.0, self._until_frame()) if is_due else None
        if self._reader.is_waiting:
            limit_s = SETTLE_S
        ready, _, _ = select.select(watched, (), (), limit_s)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if keyboard in ready:
            data = os.read(keyboard, 4096)
            if not data:
                self._exit = 0
            return self._woken in ready, self._press(self._reader.feed(data))
        keys = self._reader.settle() if not ready and self._reader.is_waiting else []
        return self._woken in ready, self._press(keys)

    def _press(self, keys: list[str]) -> bool:
        for key in keys:
            drained = frozenset(node.name for node in self._shown.nodes if node.maintenance)
            self._glance, wish = pressed(self._glance, key, self._keys, drained)
            if wish is not None:
                threading.Thread(target=self._do, args=(wish,), daemon=True).start()
            if self._glance.is_over:
                self._exit = 0
            self._keys = screen(self._shown, self._glance, *self._terminal.size()).keys  # more keys may have come
        return bool(keys)

    def _take_news(self) -> bool:
        has_news = False
        while not self._feed.messages.empty():
            self._board = self._feed.messages.get()(self._board)
            has_news = True
        self._board = msgspec.structs.replace(self._board, now_epoch_s=self._clock.epoch_s())
        return has_news

    def _paint(self) -> None:
        if not self._glance.is_paused:
            self._shown = self._board
        size = self._terminal.size()
        drawn = screen(self._shown, self._glance, *size)
        self._keys = drawn.keys
        self._terminal.paint(drawn.lines, size)
        self._painted_s = self._clock.now_s()

    def _until_frame(self) -> float:
        return self._painted_s + FRAME_S - self._clock.now_s()

    def _do(self, wish: Wish) -> None:
        """Do what was asked for, in a thread of its own, and have it told."""
        try:
            said = done(self._calls, wish)
        except CortexError as exc:
            said = exc.message

        def tell(board: Board) -> Board:
            self._glance = msgspec.structs.replace(self._glance, said=said)
            return board

        self._feed.tell(tell)
        self._feed.stir()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"!")

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTSTP:
            self._is_told_to_pause = True
        elif number != signal.SIGWINCH:
            self._exit = 0 if number == signal.SIGINT else 128 + number


def done(gateway: Server, wish: Wish) -> str:
    """Do it, and return what became of it in words. Raises: CortexError."""
    if wish.verb in ("drain", "undrain"):
        said = gateway.post(f"{API}/nodes/{quote(wish.node, safe='')}/{wish.verb}", {})
        return f"{said['node']}: {'nothing new is placed there' if said['maintenance'] else 'used again'}"
    body = {"model": wish.model, "node": wish.node or None, "wait": False}
    said = gateway.post(f"{API}/{wish.verb}", body)
    where = f" on {said['node']}" if said.get("node") else ""
    return f"{said['model']}: {said['status']}{where}{', ' + said['reason'] if said.get('reason') else ''}"


@contextlib.contextmanager
def _signals(handler: Callable[[int, FrameType | None], None], waker: int) -> Iterator[None]:
    """Have signals handled, and each wake whoever waits."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    fd = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd)
        for number, was in before.items():
            signal.signal(number, was)
