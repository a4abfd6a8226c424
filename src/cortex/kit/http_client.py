"""A small HTTP client for control calls between our own daemons: whole answers, one deadline per call, or lines.

Foreign exceptions end here: whatever the network does comes out as one of three errors of ours. Inference never comes
this way; it has a client of its own. The library below is imported by the first call: it takes 10 MiB, which a neuron
on which nothing is loaded can do without.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import msgspec

from cortex.contract.error import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES = 16 << 20
"""More than any answer of a control call; a peer that sends more is not what it is taken for."""

CONNECT_TIMEOUT_S = 5.0
WHOLE_S = 30.0
"""For an answer that turns out to be no stream, where the stream had no limit."""


class HttpReply(msgspec.Struct, frozen=True):
    """A complete answer. ``headers`` is looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream:
    """An answer that goes on. ``lines`` ends when the server has ended it in order."""

    def __init__(self, response: "aiohttp.ClientResponse", url: str, silence_s: float | None) -> None:
        self.status = response.status
        self._response = response
        self._url = url
        self._silence_s = silence_s

    async def lines(self, max_line_bytes: int = MAX_ANSWER_BYTES) -> AsyncGenerator[bytes]:
        """Yield every line as it comes, without its end; what comes after the last line's end is dropped.

        Raises: UpstreamTimeout when nothing comes for as long as the stream may be silent, UpstreamBroken when the
        connection breaks or a line is longer than ``max_line_bytes``.
        """
        async for lines in self.lines_at_once(max_line_bytes):
            for line in lines:
                yield line

    async def lines_at_once(self, max_line_bytes: int = MAX_ANSWER_BYTES) -> AsyncGenerator[list[bytes]]:
        """Yield likewise all lines whose ends came in one read."""
        rest = b""
        while part := await self._part():
            if b"\n" in part:
                *whole, rest = (rest + part).split(b"\n")
                yield [line.removesuffix(b"\r") for line in whole]
            else:
                rest += part
            if len(rest) > max_line_bytes:
                raise UpstreamBroken(f"{self._url}: broken answer: a line of more than {max_line_bytes} bytes")

    async def whole(self, max_answer_bytes: int = MAX_ANSWER_BYTES) -> HttpReply:
        """Read on to the end: for an answer that turns out to be no stream."""
        limit_s = WHOLE_S if self._silence_s is None else self._silence_s
        with _our_errors(self._url, limit_s):
            async with asyncio.timeout(limit_s):
                body = await _read(self._response, max_answer_bytes)
        return HttpReply(self.status, self._response.headers, body)

    async def _part(self) -> bytes:
        with _our_errors(self._url, self._silence_s or 0.0):
            async with asyncio.timeout(self._silence_s):
                return await self._response.content.readany()


class HttpClient:
    """Keeps connections alive between calls; belongs to the event loop in which its first call is made."""

    def __init__(self, *, user_agent: str = "cortex") -> None:
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        deadline_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> HttpReply:
        """Send a request and return the whole answer, whatever its status. ``url`` is sent as it is, quoting included.

        ``tls``: the context for ``https``, default: what the system trusts.

        Raises: UpstreamUnreachable when no connection is made, UpstreamTimeout after ``deadline_s``, UpstreamBroken
        when the connection breaks, the answer is not HTTP or longer than ``max_answer_bytes``.
        """
        from yarl import URL

        with _our_errors(url, deadline_s):
            async with (
                asyncio.timeout(deadline_s),
                self._open().request(
                    method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False, ssl=tls or True
                ) as response,
            ):
                return HttpReply(response.status, response.headers, await _read(response, max_answer_bytes))

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        deadline_s: float,
        silence_s: float | None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[HttpStream]:
        """Ask for an answer that goes on; the connection is closed with the context.

        ``deadline_s`` is for its beginning, ``silence_s`` for every wait after that; None: it may be silent for as
        long as it likes. Raises: as :meth:`request`.
        """
        from yarl import URL

        with _our_errors(url, deadline_s):
            async with asyncio.timeout(deadline_s):
                response = await self._open().get(
                    URL(url, encoded=True), headers=headers, allow_redirects=False, ssl=tls or True
                )
        try:
            yield HttpStream(response, url, silence_s)
        finally:
            response.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=10),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session


@contextmanager
def _our_errors(url: str, deadline_s: float) -> Iterator[None]:
    """Turn what the library raises into the three errors of ours."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientConnectorError as exc:
        raise UpstreamUnreachable(f"{url}: no connection: {_reason(exc)}", url=url) from exc
    except TimeoutError as exc:
        raise UpstreamTimeout(f"{url}: no answer within {deadline_s:g} s", url=url) from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise UpstreamBroken(f"{url}: broken answer: {str(exc) or type(exc).__name__}", url=url) from exc


async def _read(response: "aiohttp.ClientResponse", limit_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit_bytes:
            raise ValueError(f"more than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _reason(exc: "aiohttp.ClientConnectorError") -> str:
    # A certificate error is one of these too, but has no os_error (aiohttp 3.14, client_exceptions.py).
    cause = getattr(exc, "os_error", None)
    number = getattr(cause, "errno", None)
    # asyncio's own words for a refusal are "Connect call failed (host, port)"; the system's say why.
    words = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(cause, "strerror", None)
    return words or str(cause or exc) or type(exc).__name__
