"""What web pages may do here: those of other origins nothing that has an effect, unless the operator lists them.

1. A page of a listed origin (``cors_origins``) may use the API, but neither the admin API nor the dashboard; its
   browser is told so (CORS).
2. A page of another origin is refused what may change something, or cost something: it cannot read the answer, and an
   inference that it starts blindly is work all the same.
3. While no key is asked for, a browser must have come by a name that is this gateway's (DNS rebinding,
   ``kit/host_name``).

What no browser sends is not asked anything: SDKs, curl and other servers send neither Origin nor Sec-Fetch-Site, and no
user agent that begins with Mozilla. Node's fetch sends Sec-Fetch-Mode (20.20, 2026-11), so that says nothing. Referer
is not asked: every browser of the last years sends Origin with what is not a mere GET.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cortex.contract.error import Forbidden
from cortex.gateway.data.page import Answer
from cortex.kit.host_name import host_of, is_ours

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange

NOT_FOR_PAGES = (b"/admin/", b"/dashboard")
BY_BROWSER = frozenset((b"origin", b"sec-fetch-site"))
_HARMLESS = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_ORIGIN = re.compile(rb"[\x21-\x7e]{1,500}")
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,2000}")
PREFLIGHT_S = 600


class BrowserRule:
    """The rule of one gateway. ``own_names``: of this machine."""

    def __init__(
        self, cors_origins: Iterable[str] = (), allowed_hosts: Iterable[str] = (), own_names: Iterable[str] = ()
    ) -> None:
        self._own_names = tuple(own_names)
        self.renew(cors_origins, allowed_hosts)

    def renew(self, cors_origins: Iterable[str], allowed_hosts: Iterable[str]) -> None:
        """Go by other lists from now on."""
        self._origins = frozenset(origin.lower().encode() for origin in cors_origins)
        self._hosts = (*allowed_hosts, *self._own_names)

    def preflight(self, exchange: "Exchange") -> Answer | None:
        """Return what a browser is answered that asks whether a page may do something; None: it does not ask that."""
        if exchange.method != b"OPTIONS" or exchange.header(b"access-control-request-method") is None:
            return None
        origin = exchange.header(b"origin")
        if origin is None or not self._is_listed(origin, exchange.path):
            return None
        lines = b"access-control-allow-methods: GET, HEAD, POST, DELETE\r\naccess-control-max-age: %d\r\n" % PREFLIGHT_S
        wanted = exchange.header(b"access-control-request-headers")
        if wanted is not None and _NAMES.fullmatch(wanted):
            lines += b"access-control-allow-headers: %b\r\n" % wanted
        if exchange.header(b"access-control-request-private-network") == b"true":
            lines += b"access-control-allow-private-network: true\r\n"
        exchange.more_lines += _allowed(origin)
        return Answer(204, b"", lines)

    def check_origin(self, exchange: "Exchange") -> None:
        """Apply rules 1 and 2. Raises: Forbidden."""
        if exchange.lacks(BY_BROWSER):
            return
        origin = exchange.header(b"origin")
        if origin is not None and self._is_listed(origin, exchange.path):
            exchange.more_lines += _allowed(origin)
        elif exchange.method not in _HARMLESS:
            _check_own(exchange, origin)

    def check_host(self, exchange: "Exchange") -> None:
        """Apply rule 3 to a request that was let in without a key. Raises: Forbidden."""
        if exchange.lacks(BY_BROWSER) and not (exchange.header(b"user-agent") or b"").startswith(b"Mozilla/"):
            return
        name = host_of((exchange.header(b"host") or b"").decode("latin-1"))
        if not is_ours(name, self._hosts):
            raise Forbidden(
                f"Browsers are not served under the name '{_shown(name)}' while no key is asked for: anybody can have "
                "a name that leads here. Use the address, have the operator add the name to allowed_hosts in "
                "[gateway], or make keys."
            )

    def _is_listed(self, origin: bytes, path: bytes) -> bool:
        is_known = origin.lower() in self._origins or (b"*" in self._origins and _ORIGIN.fullmatch(origin) is not None)
        return is_known and not path.startswith(NOT_FOR_PAGES)


def _check_own(exchange: "Exchange", origin: bytes | None) -> None:
    """Raise Forbidden for what a page of another origin sends."""
    if origin is None:
        site = exchange.header(b"sec-fetch-site")
        if site not in (b"same-origin", b"none"):
            raise Forbidden("Calls of web pages from elsewhere are not served (Sec-Fetch-Site).")
        return
    _, _, place = origin.lower().partition(b"://")
    if not place or place not in (_lower(exchange, b"host"), _lower(exchange, b"x-forwarded-host")):
        raise Forbidden(
            f"Calls of web pages are not served (Origin: {_shown(origin.decode('latin-1'))}): have the operator add "
            "the origin to cors_origins in [gateway], where the page is to be let in."
        )


def _lower(exchange: "Exchange", name: bytes) -> bytes | None:
    value = exchange.header(name)
    return None if value is None else value.strip().lower()


def _allowed(origin: bytes) -> bytes:
    return b"access-control-allow-origin: %b\r\naccess-control-expose-headers: *\r\nvary: origin\r\n" % origin


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:100])
