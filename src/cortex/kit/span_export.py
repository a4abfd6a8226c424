"""Sends spans to a collector from a thread of its own: in batches, from a bounded queue, whatever the collector does.

Whoever has something to tell leaves it here and goes on; it is made into spans in the thread. What does not fit or
cannot be delivered is lost and counted. The log says when a collector begins to fail and when it takes spans again, not
more. How spans travel is in ``otlp.py``.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from cortex.kit.span import Span, SpanSource

MAX_WAITING = 4096
"""Spans that wait to be sent; more are lost."""
BATCH = 512
ENDING_S = 1.0
"""How long a thread has to notice that its sender has given up."""
GATHER_S = 1.0
"""How long a batch that is not full waits for more."""

log = logging.getLogger(__name__)


class SpanSender(Protocol):
    """Delivers spans. Called from one thread at a time, but for ``give_up``."""

    def send(self, spans: Sequence[Span]) -> str:
        """Deliver a batch, whatever it takes; return why it was not taken, empty when it was."""

    def give_up(self) -> None:
        """Break off what is being delivered, and deliver nothing after it."""

    def close(self) -> None:
        """Let go of everything, last of all."""


class SpanExport:
    """A queue and the thread that empties it."""

    def __init__(self, sender: SpanSender, *, max_waiting: int = MAX_WAITING, gather_s: float = GATHER_S) -> None:
        self._sender = sender
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._queue: deque[SpanSource] = deque()
        self._put = self._taken = 0
        """Spans that were put into the queue and taken out of it; each is written by one thread alone."""
        self._refused = self._lost = self.sent = 0
        self._is_failing = False
        self._wake = threading.Event()
        self._full = threading.Event()
        self._is_closing = self._is_closed = False
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many spans were lost."""
        return self._refused + self._lost

    def put(self, source: SpanSource) -> None:
        """Leave what is over to be told; never waits. To be called from one thread."""
        count = source.span_count()
        waiting = self._put - self._taken
        if waiting + count > self._max_waiting or self._is_closing:
            self._refused += count
            return
        self._put += count
        self._queue.append(source)
        if not self._wake.is_set():
            self._wake.set()
        if waiting + count >= BATCH:
            self._full.set()

    def close(self, timeout_s: float) -> None:
        """Send what waits, no longer than ``timeout_s``; what is left then is lost. Blocks; told again, it hurries."""
        was_closing, self._is_closing = self._is_closing, True
        self._wake.set()
        self._full.set()
        self._thread.join(0 if was_closing else timeout_s)
        with self._ending:
            if not self._is_closed:
                self._is_closed = True
                self._sender.give_up()
                self._thread.join(ENDING_S)
                self._sender.close()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if not self._is_closing:
                self._full.wait(self._gather_s)
            self._full.clear()
            self._wake.clear()
            while self._queue:
                self._send_batch()
            if self._is_closing:
                return

    def _send_batch(self) -> None:
        spans: list[Span] = []
        while self._queue and len(spans) < BATCH:
            source = self._queue.popleft()
            try:
                made = source.spans()
            except Exception:  # a defect of ours costs this one its spans
                log.exception("making spans")
                made = []
                self._lost += source.span_count()
            self._taken += source.span_count()
            spans += made
        if spans:
            self._account(len(spans), self._sender.send(spans))

    def _account(self, count: int, why_not: str) -> None:
        if not why_not:
            self.sent += count
        else:
            self._lost += count
        if why_not and not self._is_failing:
            log.warning("spans are lost, and counted, until the collector takes them: %s", why_not)
        elif self._is_failing and not why_not:
            log.warning("the collector takes spans again; %d were lost", self.dropped)
        self._is_failing = bool(why_not)
