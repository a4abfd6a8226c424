"""Lets an ASGI application answer what is not hot, behind the same front door: one task per request.

    exchange --on_body, on_end--> receive()          app          send() --begin, write, finish--> exchange
             --on_gone----------> its task is cancelled; on_pause makes send() wait until the client has caught up

The application reads the body at its own pace: no more of it is taken from the client than ``MAX_HELD_BYTES`` ahead.
Framing, keep-alive and the request's id are the front door's; websockets and lifespan are not spoken.
"""

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from cortex.contract.error import CortexError
from cortex.dialects.error import plain_body
from cortex.gateway.data.exchange import JSON_HEADERS
from cortex.gateway.data.header import HeaderList, to_client
from cortex.gateway.edge_error import status_of
from cortex.gateway.ports import AsgiApp, Message

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange
    from cortex.kit.task import TaskOwner

MAX_HELD_BYTES = 65536
PIECE_COST_BYTES = 64
"""What a piece takes beside its bytes; a body may come in many small ones."""

log = logging.getLogger(__name__)


class AsgiDoor:
    """Hands requests to ``app``; ``tasks`` ends what is still running when the gateway does."""

    def __init__(self, app: AsgiApp, tasks: "TaskOwner") -> None:
        self._app = app
        self._tasks = tasks

    def __call__(self, exchange: "Exchange", request_id: bytes, refusal: CortexError | None = None) -> "AsgiCall":
        """Return the handler of one request; ``refusal``: why it is not let in, for an app that says so itself."""
        return AsgiCall(exchange, self._app, self._tasks, request_id, refusal)


class AsgiCall:
    """One request that the application answers. Implements Handler."""

    def __init__(
        self,
        exchange: "Exchange",
        app: AsgiApp,
        tasks: "TaskOwner",
        request_id: bytes,
        refusal: CortexError | None = None,
    ) -> None:
        self._exchange = exchange
        self._refusal = refusal
        self._request_id = request_id
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._is_whole = self._is_told = self._is_asked = False
        self._news = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._head: Message = {}
        self._task = tasks.start(self._run(app), f"{exchange.method!r} {exchange.path[:80]!r}")

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held_bytes += len(piece) + PIECE_COST_BYTES
        if self._held_bytes > MAX_HELD_BYTES:
            self._exchange.connection.pause_reading()
        self._news.set()

    def on_end(self) -> None:
        self._is_whole = True
        self._news.set()

    def on_gone(self) -> None:
        self._task.cancel()

    def on_pause(self) -> None:
        self._may_write.clear()

    def on_resume(self) -> None:
        self._may_write.set()

    def on_shutdown(self) -> None:
        self._exchange.abort()
        self._task.cancel()

    async def _run(self, app: AsgiApp) -> None:
        exchange = self._exchange
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("%r %r failed", exchange.method, exchange.path)
        if exchange.is_begun and not exchange.is_ended:
            exchange.abort()  # half an answer must not pass for a whole one
        elif not exchange.is_ended:
            self._answer(status_of(CortexError()), JSON_HEADERS, plain_body(CortexError()))

    def _scope(self) -> Message:
        exchange = self._exchange
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.0" if exchange.is_http10 else "1.1",
            "method": exchange.method.decode("latin-1"),
            "scheme": "https" if exchange.connection.transport.get_extra_info("ssl_object") else "http",
            "path": unquote_to_bytes(exchange.path).decode("utf-8", "replace"),
            "raw_path": exchange.path,
            "query_string": exchange.query,
            "root_path": "",
            "headers": exchange.headers,
            "client": (exchange.client, 0),
            "server": None,
            "cortex.refusal": self._refusal,
        }

    async def _receive(self) -> Message:
        """Return the next part of the body; after the last one this waits, until the client leaves and ends it all."""
        if not self._is_asked:
            self._is_asked = True
            self._exchange.accept_body()
        while self._is_told or not (self._pieces or self._is_whole):
            self._news.clear()
            await self._news.wait()
        body = b"".join(self._pieces)
        self._pieces.clear()
        if self._held_bytes > MAX_HELD_BYTES:
            self._exchange.connection.resume_reading()
        self._held_bytes = 0
        self._is_told = self._is_whole
        return {"type": "http.request", "body": body, "more_body": not self._is_whole}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        exchange, body = self._exchange, message.get("body", b"")
        if not exchange.is_begun and not message.get("more_body", False):
            self._answer(self._head["status"], self._lines(), body)
            return
        if not exchange.is_begun:
            exchange.begin(self._head["status"], self._with_id(self._lines()), None)
        if exchange.method == b"HEAD":  # a stream may have no end, and nobody gets any of it
            exchange.finish()
            self._task.cancel()
            await asyncio.sleep(0)
        elif message.get("more_body", False):
            exchange.write(body)
            await self._may_write.wait()
        else:
            exchange.finish(body)

    def _answer(self, status: int, lines: bytes, body: bytes) -> None:
        self._exchange.reply(status, self._with_id(lines), body)

    def _lines(self) -> bytes:
        headers: HeaderList = [(bytes(name).lower(), bytes(value)) for name, value in self._head.get("headers", ())]
        return to_client(headers)

    def _with_id(self, lines: bytes) -> bytes:
        return b"%bx-request-id: %b\r\n" % (lines, self._request_id)
