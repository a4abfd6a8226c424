"""An answer of the gateway's own that takes time: the body is taken in, then a task writes the answer.

The task ends when the client leaves. What is asked and answered is the writer's business.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cortex.contract.error import BuffersFull, CortexError
from cortex.dialects.interface import Dialect
from cortex.gateway.data.body_room import BodyShare
from cortex.gateway.data.framing import too_large
from cortex.gateway.data.header import own_lines
from cortex.gateway.data.page import Answer, error_answer

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange
    from cortex.gateway.data.plane import Plane

log = logging.getLogger(__name__)

Write = Callable[[bytes], Awaitable[Answer]]
"""Makes the answer to a body. Raises: CortexError."""


class AsyncPage:
    """One request. Implements Handler."""

    def __init__(self, plane: "Plane", exchange: "Exchange", write: Write, request_id: bytes, dialect: Dialect) -> None:
        self._plane = plane
        self._exchange = exchange
        self._write = write
        self._request_id = request_id
        self._dialect = dialect
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._share: BodyShare | None = BodyShare(plane.bodies)
        self._cancel: Callable[[], object] = bool

    def on_body(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        limit_bytes = self._plane.limit.max_body_bytes
        if self._size_bytes > limit_bytes:
            self._refuse(too_large(limit_bytes))
        elif self._share is not None and not self._share.grow(len(piece)):
            self._refuse(BuffersFull())
        else:
            self._pieces.append(piece)

    def on_end(self) -> None:
        if not self._exchange.is_ended:
            body = b"".join(self._pieces)
            self._cancel = self._plane.tasks.start(self._run(body), f"{self._exchange.path[:80]!r}").cancel

    def on_gone(self) -> None:
        self._cancel()
        self._pieces.clear()
        self._share = None

    def on_pause(self) -> None:
        """The answer is short."""

    def on_resume(self) -> None:
        """The answer is short."""

    def on_shutdown(self) -> None:
        self._cancel()
        self._exchange.abort()

    async def _run(self, body: bytes) -> None:
        try:
            answer = await self._write(body)
        except CortexError as error:
            answer = error_answer(error, self._dialect, self._request_id)
        except Exception:  # a defect of ours must not leave the client waiting
            log.exception("%r failed", self._exchange.path)
            answer = error_answer(CortexError(), self._dialect, self._request_id)
        self._share = None
        self._reply(answer)

    def _refuse(self, error: CortexError) -> None:
        self._pieces.clear()
        self._share = None
        self._reply(error_answer(error, self._dialect, self._request_id))

    def _reply(self, answer: Answer) -> None:
        lines = answer.headers + own_lines(self._dialect, self._request_id)
        self._exchange.reply(answer.status, lines, answer.body)
