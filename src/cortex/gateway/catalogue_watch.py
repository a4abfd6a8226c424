"""Reads the catalogue anew when its file has changed, or when it is told to.

A file is looked at every few seconds and read once it has stood still between two looks: editors write in pieces, or
put another file in its place, and a link may be turned elsewhere. One that cannot be used is told of once and keeps the
old catalogue; it is read again when it has changed again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, Metric

from cortex.contract.error import CortexError
from cortex.contract.profile import Profile
from cortex.gateway.data.metric import gauge
from cortex.kit.clock import Clock

Read = Callable[[], Iterable[Profile]]
Take = Callable[[Iterable[Profile]], None]
Stamp = tuple[int, int, int] | None
"""Which file it is, when it was written, and how long it is; None: there is none."""

Outcome = tuple[Profile, ...] | str
"""The catalogue, or why it cannot be used."""

LOOK_S = 2.0

log = logging.getLogger(__name__)


class CatalogueWatch:
    """Watches ``path`` (None: nothing) and hands what ``read`` returns to ``take``."""

    def __init__(
        self,
        path: Path | None,
        read: Read,
        take: Take,
        *,
        clock: Clock,
        look_s: float = LOOK_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._read = read
        self._take = take
        self._look_s = look_s
        self._sleep = sleep
        self._read_at = self._seen = stamp_of(path)
        self._trouble = ""
        self._clock = clock
        self._taken_epoch_s = clock.epoch_s()
        """When the catalogue in use was read: the first one just before this was made."""
        self._failures = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._sleep(self._look_s)
            self._finish(await asyncio.to_thread(self._look))

    def reload(self) -> None:
        """Read it now, changed or not."""
        self._read_at = self._seen = stamp_of(self._path)
        self._trouble = ""
        self._finish(self._outcome())

    def collect(self) -> Iterator[Metric]:
        """Yield what there is to be told of the catalogue."""
        failures = CounterMetricFamily("cortex_catalogue_reload_failures", "Reloads that failed.", labels=())
        failures.add_metric((), float(self._failures))
        yield failures
        about = "1: the file on disk is in use, as far as it was looked at."
        yield gauge("cortex_catalogue_current", about, (), [((), float(not self._trouble))])
        about = "When the catalogue in use was read."
        yield gauge("cortex_catalogue_loaded_timestamp_seconds", about, (), [((), self._taken_epoch_s)])

    def _look(self) -> Outcome | None:
        """Return what came of reading the file; None when it was not to be read."""
        stamp = stamp_of(self._path)
        is_still, self._seen = stamp == self._seen, stamp
        if not is_still or stamp == self._read_at:
            return None
        self._read_at = stamp
        if stamp is None:
            return f"{self._path} is gone"
        return self._outcome()

    def _outcome(self) -> Outcome:
        try:
            return tuple(self._read())
        except CortexError as exc:
            return exc.message

    def _finish(self, outcome: Outcome | None) -> None:
        if isinstance(outcome, str):
            if outcome != self._trouble:
                log.error("the catalogue was not reloaded, the old one stays: %s", outcome)
            self._trouble = outcome
            self._failures += 1
        elif outcome is not None:
            self._trouble = ""
            self._taken_epoch_s = self._clock.epoch_s()
            self._take(outcome)
            log.info("catalogue reloaded: %d models", len(outcome))


def stamp_of(path: Path | None) -> Stamp:
    """Return what tells one state of a file from another."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
