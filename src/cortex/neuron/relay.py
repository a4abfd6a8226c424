"""Relays calls under the neuron's own port to engines that listen on loopback only: ``/relay/<nonce>/…``.

Bytes pass as they come, both ways and with back-pressure; nothing is decoded. A client that leaves closes the
connection to the engine at once. The nonce stands for one generation and is told only to callers that may know it.
Where the neuron shows a key that the caller does not have, it does so for inference alone. The library below is
imported by the first call (``kit/http_client.py`` says why).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from cortex.contract.error import Forbidden, UpstreamBroken, UpstreamError, UpstreamUnreachable
from cortex.contract.instance import RELAY_PREFIX
from cortex.kit.hop_by_hop import HOP_BY_HOP
from cortex.kit.task import TaskOwner
from cortex.neuron.first_of import first_of
from cortex.neuron.refusal import GenerationGone

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CONNECT_TIMEOUT_S = 5.0
MAX_HEADER_BYTES = 64 << 10
INFERENCE = frozenset(
    {
        *("v1/chat/completions", "v1/completions", "v1/embeddings", "v1/rerank", "v1/score", "v1/models"),
        *(
            "v1/messages",
            "v1/messages/count_tokens",
            "v1/responses",
            "tokenize",
            "detokenize",
            "apply-template",
            "infill",
        ),
        *("v1/audio/speech", "v1/audio/transcriptions", "v1/audio/translations"),
        *("v1/images/generations", "v1/images/edits", "v1/images/variations"),
    }
)
"""What a key is shown for. Other paths of a server can change it, or what its owner keeps there."""
_NOT_SENT_ON = HOP_BY_HOP | {b"host", b"expect"}
_NOT_SENT_BACK = HOP_BY_HOP | {b"date"}  # the server in front puts its own


class Passed:
    """Bytes of bodies that were relayed, since the start."""

    def __init__(self) -> None:
        self.request_bytes = self.response_bytes = 0


class Relay:
    """``route`` gives the base URL that a nonce stands for, None when it is of no use; ``credential`` its key."""

    def __init__(
        self, route: Callable[[str], str | None], credential: Callable[[str], str | None] = lambda _: None
    ) -> None:
        self._route = route
        self._credential = credential
        self._session: aiohttp.ClientSession | None = None
        self._tasks = TaskOwner()
        self.passed = Passed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay one call. Raises: GenerationGone, Forbidden, UpstreamError, all only before anything was sent."""
        nonce, _, rest = scope["raw_path"].decode("ascii").removeprefix(RELAY_PREFIX).partition("/")
        base = self._route(nonce)
        if base is None:
            raise GenerationGone
        credential = self._credential(nonce)
        if credential is not None and rest not in INFERENCE:
            raise Forbidden(f"the key of this server is shown for inference only, not for /{rest[:100]}")
        from yarl import URL

        query = scope["query_string"].decode("ascii")
        url = URL(f"{base}/{rest}" + (f"?{query}" if query else ""), encoded=True)
        exchange = _Exchange(scope, receive, send, credential, self.passed)
        name, trouble = await first_of(self._tasks, over=exchange.run(self._open(), url), gone=exchange.client_gone())
        if name == "over" and trouble is not None:
            raise trouble

    async def close(self) -> None:
        """Cut every relay and close the connections."""
        await self._tasks.stop()
        if self._session is not None:
            await self._session.close()

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection of its own for each call: on loopback it costs little, and none is ever stale.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, credential: str | None, passed: Passed) -> None:
        self._passed = passed
        self._method: str = scope["method"]
        self._headers: Headers = _shown(scope["headers"], credential)
        self._receive = receive
        self._send = send
        self._body_over = asyncio.Event()
        self._gone = asyncio.Event()
        self._is_answered = False

    async def run(self, session: "aiohttp.ClientSession", url: "URL") -> UpstreamError | None:
        """Send the request on and its answer back; return what went wrong while nothing was sent back yet."""
        import aiohttp

        names = {name for name, _ in self._headers}
        has_body = b"content-length" in names or b"transfer-encoding" in names
        if not has_body:
            self._body_over.set()
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self._headers if n not in _NOT_SENT_ON]
        try:
            async with session.request(
                self._method, url, headers=headers, data=self._body() if has_body else None, allow_redirects=False
            ) as response:
                await self._pass_back(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._broken(error)
        return None

    async def client_gone(self) -> None:
        """Return once the client has left."""
        await self._body_over.wait()
        while not self._gone.is_set():
            await self._next()

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            while message := await self._next():
                body = message.get("body", b"")
                self._passed.request_bytes += len(body)
                yield body
                if not message.get("more_body", False):
                    break
        finally:
            self._body_over.set()

    async def _next(self) -> Message | None:
        message = await self._receive()
        if message["type"] != "http.disconnect":
            return message
        self._gone.set()
        return None

    async def _pass_back(self, response: "aiohttp.ClientResponse") -> None:
        if not 200 <= response.status < 600:
            raise ValueError(f"status {response.status}")
        dropped = _NOT_SENT_BACK | {b"content-length"} if response.status in (204, 304) else _NOT_SENT_BACK
        headers = [(n.lower(), v) for n, v in response.raw_headers if n.lower() not in dropped]
        self._is_answered = True
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        async for chunk in response.content.iter_any():
            self._passed.response_bytes += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    def _broken(self, error: Exception) -> UpstreamError | None:
        """Say what broke. Once the answer has begun nobody can be told: the server cuts an answer without an end."""
        import aiohttp

        words = str(error) or type(error).__name__
        if self._is_answered:
            log.warning("the engine broke off a relayed answer: %s", words)
            return None
        if isinstance(error, aiohttp.ClientConnectorError):
            return UpstreamUnreachable(f"the engine cannot be reached: {words}")
        return UpstreamBroken(f"the engine broke off: {words}")


def _shown(headers: Headers, credential: str | None) -> Headers:
    """Return the headers of a request with the engine's key in the place of whatever the caller shows."""
    if credential is None:
        return headers
    own = (b"authorization", f"Bearer {credential}".encode())
    return [*((name, value) for name, value in headers if name not in (b"authorization", b"x-api-key")), own]
