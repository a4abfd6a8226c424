"""Gives signs of life to the service manager from within the event loop, and says how things are.

A loop that hangs gives none, and is restarted. So does one that turns while what keeps time in it does not: who says so
is asked before each sign. While a start or a stop takes its time, each sign also asks for more of it.
"""

import asyncio
import logging
from collections.abc import Callable

from cortex.kit.notify import Notifier

EVERY_S = 5.0
"""Between two signs where the service manager asks for none: for its status line, and while a stop takes its time."""
EXTEND_S = 30.0
"""So much time is asked for by one sign while starting or stopping: several may be late."""

log = logging.getLogger(__name__)


class Watchdog:
    """Signs of life, at twice the rate that is asked for. Costs nothing where nobody listens."""

    def __init__(
        self,
        notifier: Notifier,
        loop: asyncio.AbstractEventLoop,
        *,
        trouble: Callable[[], str] = lambda: "",
        status: Callable[[], str] = lambda: "",
    ) -> None:
        """``trouble``: why no sign may be given, empty when all is well; ``status``: in a sentence, how things are."""
        self._notifier = notifier
        self._loop = loop
        self._trouble = trouble
        self._status = status
        self._said = ""
        self._is_in_trouble = False
        self._timer: asyncio.TimerHandle | None = None
        self.takes_its_time = True
        """It is being started or stopped."""

    @property
    def every_s(self) -> float:
        """Seconds between two signs."""
        return EVERY_S if self._notifier.watchdog_s is None else min(EVERY_S, self._notifier.watchdog_s / 2)

    def start(self) -> None:
        """Give the first sign at once."""
        if self._notifier.is_heard and self._timer is None:
            self._again()

    def stop(self) -> None:
        """Give no sign any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Give a sign, if it may be given."""
        trouble = self._trouble()
        if trouble:
            if not self._is_in_trouble:
                log.error("no sign of life is given to the service manager: %s", trouble)
        else:
            self._notifier.alive(extend_s=EXTEND_S if self.takes_its_time else None)
        self._is_in_trouble = bool(trouble)
        text = self._status()
        if text and text != self._said:
            self._said = text
            self._notifier.status(text)

    def _again(self) -> None:
        self._timer = self._loop.call_later(self.every_s, self._again)
        self.look()
