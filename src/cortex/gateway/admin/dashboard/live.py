"""What is live on pages: rendered once per look for all who look at the same, and sent when it is otherwise.

One task per page and query, and only while somebody looks. Of a page with parts only those are sent that are otherwise,
to who has seen the picture before; else it is sent whole. A reader that is slow gets the newest and nothing of what was
between; nothing is kept per reader.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from cortex.contract.error import CapacityError
from cortex.gateway.admin.dashboard.difference import difference, unmarked
from cortex.gateway.admin.dashboard.page import Page
from cortex.kit.event_stream import HEARTBEAT, HEARTBEAT_S, Bell
from cortex.kit.task import TaskOwner

MAX_READERS = 200
MAX_CHANNELS = 64
MIN_EVERY_S = 0.5

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A page and what its URL asks."""


class Shown(NamedTuple):
    """What readers have: the number of the picture, the picture, and as a message; ``change``: what is otherwise in
    it than in the one before, for who has seen that; None where it is sent whole."""

    number: int
    html: str
    message: bytes
    change: bytes | None = None


class _Channel:
    """One page for all of its readers."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.shown = Shown(0, "", b"")
        self.readers = 0
        self.task: asyncio.Task[None] | None = None


class Live:
    """The live parts of all pages."""

    def __init__(self, tasks: TaskOwner, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._tasks = tasks
        self._sleep = sleep
        self._channels: dict[Key, _Channel] = {}
        self._is_closed = False

    @property
    def readers(self) -> int:
        """How many look now."""
        return sum(channel.readers for channel in self._channels.values())

    def close(self) -> None:
        """End every stream."""
        self._is_closed = True
        for channel in self._channels.values():
            channel.bell.ring()

    def stream(
        self,
        page: Page,
        query: tuple[tuple[str, str], ...],
        render: Callable[[], Awaitable[str]],
        may_look: Callable[[], bool],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> AsyncIterator[bytes]:
        """Return what is now, and what comes, until ``may_look`` says no. Raises: CapacityError for one too many."""
        key = (page.name, query)
        if self.readers >= MAX_READERS or (key not in self._channels and len(self._channels) >= MAX_CHANNELS):
            raise CapacityError(f"{self.readers} pages look at this gateway already: close some, or reload this one.")
        return self._stream(key, page.every_s or MIN_EVERY_S, render, may_look, heartbeat_s)

    async def _stream(
        self,
        key: Key,
        every_s: float,
        render: Callable[[], Awaitable[str]],
        may_look: Callable[[], bool],
        heartbeat_s: float,
    ) -> AsyncIterator[bytes]:
        channel = self._channels.get(key)
        if channel is None or (channel.task is not None and channel.task.done()):  # a slow reader has an end to read
            channel = self._channels[key] = _Channel()
        channel.readers += 1
        try:
            if channel.task is None:
                work = self._look_again(channel, max(every_s, MIN_EVERY_S), render)
                channel.task = self._tasks.start(work, f"dashboard {key[0]}")
            seen = 0
            while not self._is_closed and may_look():
                shown = channel.shown
                if shown.number != seen:
                    is_next = shown.number == seen + 1
                    seen = shown.number
                    yield shown.change if is_next and shown.change is not None else shown.message
                elif channel.task.done():
                    return  # the page cannot be rendered any more; whoever asks again is told
                elif not await channel.bell.wait(heartbeat_s):
                    yield HEARTBEAT
        finally:
            channel.readers -= 1
            if not channel.readers:
                if channel.task is not None:
                    channel.task.cancel()
                if self._channels.get(key) is channel:
                    del self._channels[key]

    async def _look_again(self, channel: _Channel, every_s: float, render: Callable[[], Awaitable[str]]) -> None:
        try:
            while True:
                html = await render()
                if html != channel.shown.html:
                    channel.shown = _next(channel.shown, html)
                    channel.bell.ring()
                await self._sleep(every_s)
        finally:
            channel.bell.ring()


def _next(last: Shown, html: str) -> Shown:
    change = difference(last.html, html)
    return Shown(last.number + 1, html, as_message(unmarked(html)), None if change is None else as_message(change))


def as_message(html: str) -> bytes:
    """Return a piece of a page as one message of a stream."""
    lines = html.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
