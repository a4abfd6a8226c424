"""What streams of server-sent events share: where a reader goes on, how a message is written, a bell for who waits."""

import asyncio
from typing import NamedTuple

import msgspec

HEARTBEAT_S = 15.0
HEARTBEAT = b": still here\n\n"


class Since(NamedTuple):
    """The last message that a reader has seen; ``start_id`` None: of this process."""

    start_id: str | None
    event: int

    @classmethod
    def parse(cls, text: str) -> "Since":
        """Return what ``<start_id>:<event>`` or ``<event>`` says. Raises: ValueError."""
        start_id, colon, number = text.rpartition(":")
        if not (number.isascii() and number.isdigit()) or len(number) > 18 or (colon and not start_id):
            raise ValueError(f"no number of a change: {text}")
        return cls(start_id or None, int(number))

    def __str__(self) -> str:
        return str(self.event) if self.start_id is None else f"{self.start_id}:{self.event}"


class Bell:
    """Wakes everybody who waits for news; nothing is kept per listener."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def ring(self) -> None:
        """There is news."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, limit_s: float) -> bool:
        """Wait for the next ring; return False when none came in time."""
        news = self._news
        try:
            async with asyncio.timeout(limit_s):
                return await news.wait()
        except TimeoutError:
            return False


def message(kind: str, body: msgspec.Struct, since: Since | None = None) -> bytes:
    """Return one message; with ``since`` a reader can go on behind it."""
    head = f"event: {kind}\nid: {since}\n" if since is not None else f"event: {kind}\n"
    return b"%bdata: %b\n\n" % (head.encode(), msgspec.json.encode(body, enc_hook=str))
