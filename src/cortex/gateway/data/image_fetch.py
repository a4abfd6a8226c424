"""Fetches the pictures that requests name by URL, so that no engine has to, and nobody reaches the inside by us.

Only https, and only hosts whose addresses are all public; the connection goes to the very address that was checked, and
each redirect is checked anew. An operator may name hosts that are excepted. What comes must be a picture by its first
bytes, within bounds of size and time.
"""

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from cortex.contract.error import ImageUnavailable

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from aiohttp.abc import AbstractResolver, ResolveResult

MAX_IMAGE_BYTES = 20 << 20
MAX_AT_ONCE = 8
MAX_REDIRECTS = 3
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)


class ImagePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What may be fetched. ``hosts`` are reached by http too, and wherever they are."""

    is_on: bool = True
    hosts: tuple[str, ...] = ()
    timeout_s: float = 20.0


class ImageFetch:
    """The one fetcher of a gateway; belongs to its event loop."""

    def __init__(self, policy: ImagePolicy) -> None:
        self._policy = policy
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)

    async def fetch(self, url: str) -> bytes:
        """Return the picture at ``url`` as a ``data:`` URL. Raises: ImageUnavailable with the reason."""
        if not self._policy.is_on:
            raise ImageUnavailable("This gateway fetches no pictures: send them inline, as base64.")
        try:
            async with self._turn, asyncio.timeout(self._policy.timeout_s):
                data = await self._follow(url)
        except TimeoutError:
            raise ImageUnavailable(f"{_shown(url)} did not come within {self._policy.timeout_s:g} s.") from None
        kind = picture_kind(data)
        if kind is None:
            raise ImageUnavailable(f"{_shown(url)} is no PNG, JPEG, GIF, WebP or BMP picture.")
        return b"data:%b;base64,%b" % (kind.encode(), base64.b64encode(data))

    async def _follow(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._get(url)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise ImageUnavailable(f"{_shown(url)} is redirected too often.")

    async def _get(self, url: str) -> bytes | str:
        """Return the body, or where it is redirected to."""
        import aiohttp

        parts = checked_url(url, self._policy.hosts)
        found = await _addresses(parts, is_excepted=parts.hostname in self._policy.hosts)
        connector = aiohttp.TCPConnector(resolver=_pinned(found), use_dns_cache=False, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False) as session,
                session.get(url, allow_redirects=False, headers={"accept": "image/*"}) as response,
            ):
                if response.status in _REDIRECTS and "location" in response.headers:
                    return response.headers["location"]
                if response.status != 200:
                    raise ImageUnavailable(f"{_shown(url)} answered with status {response.status}.")
                return await _body(response, url)
        except aiohttp.ClientError as exc:
            raise ImageUnavailable(f"{_shown(url)} cannot be fetched: {type(exc).__name__}.") from None


async def _body(response: "ClientResponse", url: str) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_chunked(65536):
        data += piece
        if len(data) > MAX_IMAGE_BYTES:
            raise ImageUnavailable(f"{_shown(url)} is larger than {MAX_IMAGE_BYTES >> 20} MiB.")
    return bytes(data)


def checked_url(url: str, hosts: Collection[str]) -> SplitResult:
    """Take a URL apart. Raises: ImageUnavailable unless it is one that may be asked for."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ImageUnavailable(f"{_shown(url)} is no URL.") from None
    if not host or parts.scheme not in ("https", "http") or (parts.scheme == "http" and host not in hosts):
        raise ImageUnavailable(f"{_shown(url)} is no https URL: send the picture inline, as base64.")
    if parts.username is not None or parts.password is not None:
        raise ImageUnavailable("A picture's URL may not carry credentials.")
    return parts


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, also when it is wrapped in an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return inner.is_global
        if any(ip in network for network in _WITH_IPV4):
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF).is_global
        if ip.is_site_local or ip in _LOCAL_NAT64:
            return False
    return ip.is_global and not ip.is_multicast


_WITH_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""Their last 32 bits are an address of IPv4: NAT64's (RFC 6052), the old IPv4-compatible ones (RFC 4291), SIIT's
(RFC 2765)."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Of a network's own translator (RFC 8215): where in them an address of IPv4 stands is its affair."""


def picture_kind(data: bytes) -> str | None:
    """Return the media type of a picture by its first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), None)


async def _addresses(parts: SplitResult, *, is_excepted: bool) -> "list[ResolveResult]":
    """Return where a host is. Raises: ImageUnavailable when it is nowhere, or not public."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # a UnicodeError is one: what cannot be a name
        raise ImageUnavailable(f"The host '{host[:200]}' is unknown.") from None
    if not is_excepted and not all(is_public(str(address[0])) for *_, address in found):
        raise ImageUnavailable(f"The host '{host}' is not a public one: send the picture inline, as base64.")
    return [
        {"hostname": host, "host": str(address[0]), "port": port, "family": family, "proto": proto, "flags": 0}
        for family, _, proto, _, address in found
    ]


def _pinned(found: "list[ResolveResult]") -> "AbstractResolver":
    """What resolves to the addresses that were checked, whatever the name server says now."""
    from aiohttp.abc import AbstractResolver

    class Pinned(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> "list[ResolveResult]":
            return found

        async def close(self) -> None:
            """Nothing is held."""

    return Pinned()


def _shown(url: str) -> str:
    return f"'{url[:200]}'"
