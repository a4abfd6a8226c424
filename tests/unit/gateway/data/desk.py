"""A front with one client on a recording wire, a clock that is set by hand, and clerks that take the requests."""

import asyncio
import re
from collections.abc import Callable
from typing import cast

from tests.unit.gateway.data.wire import Wire

from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.front import Front, FrontLimit
from cortex.gateway.data.front_connection import FrontConnection

TEXT = b"content-type: text/plain\r\n"


class Clerk:
    """Takes one request; answers it with what it was, at its end or when told to."""

    def __init__(self, exchange: Exchange, *, is_slow: bool) -> None:
        self.exchange = exchange
        self.is_slow = is_slow
        self.body = b""
        self.told: list[str] = []
        self._heard = asyncio.Event()

    def seen(self) -> tuple[bytes, bytes, bytes, bytes]:
        return self.exchange.method, self.exchange.path, self.exchange.query, self.body

    def answer(self) -> None:
        self.exchange.reply(200, TEXT, b" ".join(self.seen()))

    def _hear(self, word: str) -> None:
        self.told.append(word)
        self._heard.set()

    async def until(self, word: str) -> None:
        """Wait until it was told something."""
        while word not in self.told:
            self._heard.clear()
            await self._heard.wait()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_end(self) -> None:
        self._hear("end")
        if not self.is_slow:
            self.answer()

    def on_gone(self) -> None:
        self._hear("gone")

    def on_pause(self) -> None:
        self._hear("pause")

    def on_resume(self) -> None:
        self._hear("resume")

    def on_shutdown(self) -> None:
        self._hear("shutdown")
        if not self.exchange.is_begun:
            self.exchange.begin(503, TEXT, None)
        self.exchange.finish(b"shutting down")


class Hands:
    """Stands in for the loop's clock; the front asks it for nothing else here."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s


class Desk:
    """One client at the front. ``take``: makes the handler of a request, by default a clerk."""

    def __init__(
        self,
        *,
        is_slow: bool = False,
        limit: FrontLimit | None = None,
        take: Callable[[Exchange], Clerk] | None = None,
    ) -> None:
        self.is_slow = is_slow
        self.clerks: list[Clerk] = []
        self.hands = Hands()
        self._take = take or (lambda exchange: Clerk(exchange, is_slow=self.is_slow))
        self.front = Front(self._route, limit or FrontLimit(), cast("asyncio.AbstractEventLoop", self.hands))
        self.connection = FrontConnection(self.front)
        self.wire = Wire(self.connection)

    def _route(self, exchange: Exchange) -> Clerk:
        clerk = self._take(exchange)
        self.clerks.append(clerk)
        return clerk

    def send(self, *pieces: bytes) -> bytes:
        """Let the client send; return what the front wrote meanwhile."""
        for piece in pieces:
            self.wire.read(piece)
        return self.wire.take()

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and the front look at its connections."""
        self.hands.now_s += seconds
        self.front.sweep(self.hands.now_s)

    def seen(self) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """The requests that reached a clerk: method, path, query, body."""
        return [clerk.seen() for clerk in self.clerks]


def statuses(written: bytes) -> list[int]:
    """The statuses of all answers in what was written."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", written)]
