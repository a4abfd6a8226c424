"""Tells whoever started this process how it is, by systemd's protocol: one datagram of ``NAME=value`` lines each.

Without ``$NOTIFY_SOCKET`` nobody asked, and nothing is said. The variables are taken out of the environment: what this
process starts must not speak for it. Needs no library. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger(__name__)


class Notifier:
    """Speaks to the service manager; ``watchdog_s``: how long it waits for a sign of life, None: it does not."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        """``address``: a path, or ``@name`` in the abstract namespace; None: there is nobody to tell."""
        self.address = address
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        self._has_failed = False

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self.address is not None

    def ready(self, status: str) -> None:
        """The start, or a reload, is over."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """The configuration is read again; :meth:`ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The process is about to end."""
        self._tell("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """Say in a sentence how things are."""
        self._tell(_status(text))

    def alive(self, *, extend_s: float | None = None) -> None:
        """Give a sign of life; ``extend_s``: a start or stop that goes on may take so much longer from now on."""
        lines = ["WATCHDOG=1"] if self.watchdog_s is not None else []
        if extend_s is not None:
            lines.append(f"EXTEND_TIMEOUT_USEC={round(extend_s * 1e6)}")
        if lines:
            self._tell(*lines)

    def main_process(self, pid: int) -> None:
        """Another process is the service from now on, and speaks for it."""
        self._tell(f"MAINPID={pid}")

    def handed_on(self) -> dict[str, str]:
        """Return the variables by which a successor speaks in this one's place."""
        if self.address is None:
            return {}
        watchdog = {} if self.watchdog_s is None else {"WATCHDOG_USEC": str(round(self.watchdog_s * 1e6))}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def close(self) -> None:
        """Say nothing any more."""
        self.address = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        """A service manager that does not listen is no reason to stop serving."""
        if self.address is None:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode(), _raw(self.address))
        except OSError as error:
            if not self._has_failed:
                log.warning("the service manager cannot be told anything at $NOTIFY_SOCKET: %s", error)
            self._has_failed = True
        else:
            self._has_failed = False


def notifier(env: MutableMapping[str, str]) -> Notifier:
    """Take what the service manager said of itself out of ``env`` and return who speaks to it."""
    address = env.pop("NOTIFY_SOCKET", None)
    usec, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", "")
    if address is not None and address[:1] not in ("/", "@"):
        log.warning("$NOTIFY_SOCKET is %r: only paths and abstract sockets are spoken to", address)
        address = None
    is_watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()))
    return Notifier(address, int(usec) / 1e6 if is_watched and address is not None else None)


def _raw(address: str) -> str:
    return f"\0{address[1:]}" if address.startswith("@") else address


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
