"""One probe in a daemon thread of its own: what it was last heard to say, and whether it hangs.

A call into a driver can hang for ever and cannot be cancelled. Then only this lane stands still: nobody waits for it
any more, what it said last stays with its age, what it says at last counts, and no process waits for it to end.
However many ask, one reading is being taken and at most one waits to be. Belongs to the event loop of its sampler.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Set
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from cortex.kit.clock import Clock
from cortex.neuron.discovery.interface import Probe, Reading, Scan

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFECT = "the probe has a defect; the neuron's log has the details"

Job = tuple["Future[Any]", Callable[[], Any]]


class Sampled(NamedTuple):
    """What was read of all devices of a scan, by their place in it; reading them began at ``taken_s``."""

    scan: Scan
    readings: tuple[Reading, ...]
    taken_s: float


class ProbeLane:
    """A probe and its thread. ``changed`` is called when it was heard to say something."""

    def __init__(self, probe: Probe, clock: Clock, changed: Callable[[], None]) -> None:
        self._probe = probe
        self._clock = clock
        self._changed = changed
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._threads_scan = Scan()
        self._queued: Future[Sampled] | None = None
        self._queued_pids: set[int] = set()
        self._scanning: Future[Scan] | None = None
        self._asked: set[asyncio.Future[Any]] = set()
        self.scan: Scan | None = None
        """The newest; None: there was none yet."""
        self.sampled = Sampled(Scan(), (), clock.now_s())
        self.is_hanging = False
        """Somebody waited for it in vain, and it has not been heard since."""

    @property
    def name(self) -> str:
        """What the probe is called in the log."""
        return type(self._probe).__name__

    @property
    def is_asked(self) -> bool:
        """Whether there is something that it has not answered yet."""
        return bool(self._asked)

    def ask_scan(self) -> asyncio.Future[Any]:
        """Return a scan that has begun at the earliest now; one that hangs is not asked for twice."""
        if self._scanning is None or self._scanning.done() or self._scanning.running():
            self._scanning = self._submit(self._scan)
        return self._follow(self._scanning, self._note_scan)

    def ask_reading(self, pids: Set[int]) -> asyncio.Future[Any]:
        """Return the reading that has not begun yet, which does for everyone who asks until then."""
        self._queued_pids |= pids  # before it is looked whether that was in time
        if self._queued is None or self._queued.running() or self._queued.done():
            self._queued_pids = asked = set(pids)
            self._queued = self._submit(lambda: self._read(asked))
        return self._follow(self._queued, self._note_reading)

    def close(self) -> None:
        """Let the thread end; a hanging probe is not waited for."""
        self._jobs.put(None)
        for asked in tuple(self._asked):
            asked.cancel()

    def _submit(self, call: Callable[[], T]) -> "Future[T]":
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._jobs.put((future, call))
        return future

    def _follow(self, future: "Future[T]", note: Callable[[T], None]) -> asyncio.Future[T]:
        following: asyncio.Future[T] = asyncio.wrap_future(future)
        self._asked.add(following)

        def heard(done: asyncio.Future[T]) -> None:
            self._asked.discard(done)
            if not done.cancelled():
                self.is_hanging = False
                note(done.result())
                self._changed()

        following.add_done_callback(heard)
        return following

    def _note_scan(self, scan: Scan) -> None:
        self.scan = scan

    def _note_reading(self, sampled: Sampled) -> None:
        if sampled.taken_s >= self.sampled.taken_s:
            self.sampled = sampled

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                future.set_result(call())

    def _scan(self) -> Scan:
        try:
            self._threads_scan = self._probe.scan()
        except Exception:  # a defect of one probe must not hide what the others find
            log.exception("%s failed", self.name)
            self._threads_scan = Scan(trouble=DEFECT)
        return self._threads_scan

    def _read(self, asked: Set[int]) -> Sampled:
        taken_s, scan = self._clock.now_s(), self._threads_scan
        try:
            readings = self._probe.read(frozenset(asked))
        except Exception:
            log.exception("%s failed", self.name)
            readings = ()
        if len(readings) != len(scan.devices):
            readings = (Reading(trouble=DEFECT),) * len(scan.devices)
        return Sampled(scan, readings, taken_s)
