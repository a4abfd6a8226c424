"""A small HTTP client for control calls between our own daemons: whole answers, one deadline per call.

Foreign exceptions end here: whatever the network does comes out as one of three errors of ours. Inference never comes
this way; it has a client of its own. The library below is imported by the first call: it takes 10 MiB, which a neuron
on which nothing is loaded can do without.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from cortex.contract.error import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES = 16 << 20
"""More than any answer of a control call; a peer that sends more is not what it is taken for."""

CONNECT_TIMEOUT_S = 5.0


class HttpReply(msgspec.Struct, frozen=True):
    """A complete answer. ``headers`` is looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
    ) -> HttpReply:
        """Send a request and return the whole answer, whatever its status. ``url`` is sent as it is, quoting included.

        Raises: UpstreamUnreachable when no connection is made, UpstreamTimeout after ``deadline_s``, UpstreamBroken
        when the connection breaks, the answer is not HTTP or longer than ``max_answer_bytes``.
        """
        import aiohttp
        from yarl import URL

        try:
            async with (
                asyncio.timeout(deadline_s),
                self._open().request(
                    method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return HttpReply(response.status, response.headers, await _read(response, max_answer_bytes))
        except aiohttp.ClientConnectorError as exc:
            raise UpstreamUnreachable(f"{url}: no connection: {_reason(exc)}", url=url) from exc
        except TimeoutError as exc:
            raise UpstreamTimeout(f"{url}: no answer within {deadline_s:g} s", url=url) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise UpstreamBroken(f"{url}: broken answer: {str(exc) or type(exc).__name__}", url=url) from exc

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
