"""Decides who is let in while no credential is configured: callers from trusted networks.

Behind a reverse proxy everybody seems to come from it. A forwarded request counts as coming from the address that its
proxy names, if that proxy is a trusted one, and as foreign otherwise.
"""

import ipaddress
from collections.abc import Iterable

from cortex.contract.error import Forbidden
from cortex.gateway.data.header import HeaderList

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_REMEMBERED = 4096


class Access:
    """Admits or refuses callers by address. Networks are CIDRs that were checked before."""

    def __init__(self, trusted_networks: Iterable[str], trusted_proxies: Iterable[str]) -> None:
        self.renew(trusted_networks, trusted_proxies)

    def renew(self, trusted_networks: Iterable[str], trusted_proxies: Iterable[str]) -> None:
        """Go by other networks from now on."""
        self._networks = tuple(ipaddress.ip_network(text) for text in trusted_networks)
        self._proxies = tuple(ipaddress.ip_network(text) for text in trusted_proxies)
        self._known: dict[str, bool] = {}

    def is_proxy(self, peer: str) -> bool:
        """Tell whether an address is that of a trusted proxy, behind which many callers are."""
        return _is_in(_address(peer), self._proxies)

    def is_known(self, peer: str) -> bool:
        """Tell whether a connection comes from a trusted network or proxy, or through a local socket: empty."""
        return not peer or _is_in(_address(peer), (*self._networks, *self._proxies))

    def check(self, peer: str, headers: HeaderList) -> str:
        """Let a request in; return the address that it comes from, behind proxies too.

        ``peer``: the connection's address, empty for a local socket. Raises: Forbidden.
        """
        # All of them: a proxy may add a header of its own after one that the caller made up.
        forwarded_for = [value for name, value in headers if name == b"x-forwarded-for"]
        if forwarded_for:
            return self._check_forwarded(peer, b",".join(forwarded_for))
        is_trusted = self._known.get(peer)
        if is_trusted is None:
            is_trusted = not peer or _is_in(_address(peer), self._networks)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[peer] = is_trusted
        if not is_trusted:
            raise Forbidden(_foreign(peer))
        return peer

    def origin_of(self, peer: str, headers: HeaderList) -> str:
        """Return the address that a request comes from, trusted or not: what proxies of ours name, else the peer's."""
        address = peer
        hops = [
            hop for name, value in headers if name == b"x-forwarded-for" for hop in value.decode("latin-1").split(",")
        ]
        while hops and _is_in(_address(address), self._proxies):
            address = _without_port(hops.pop().strip())
        return address

    def _check_forwarded(self, peer: str, forwarded_for: bytes) -> str:
        """Walk back from the connection to the first hop that is no proxy of ours."""
        hops = [hop.strip() for hop in forwarded_for.decode("latin-1").split(",")]
        if peer and not _is_in(_address(peer), self._proxies):
            raise Forbidden(_no_proxy(peer))
        while hops:
            hop = hops.pop()
            address = _address(_without_port(hop))
            if _is_in(address, self._proxies):
                continue
            if not _is_in(address, self._networks):
                raise Forbidden(_foreign(hop))
            if hops:
                raise Forbidden(_no_proxy(hop))
            return str(address)
        return peer


def _without_port(hop: str) -> str:
    """Return a hop's address: some proxies add the port, ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``.

    Source: Azure Application Gateway and Front Door send ``address:port``; RFC 7239 section 6 has the brackets.
    """
    if hop.startswith("["):
        host, bracket, port = hop[1:].partition("]")
        return host if bracket and ":" in host and (not port or _is_port(port[1:], port[0])) else hop
    host, colon, port = hop.partition(":")
    return host if _is_port(port, colon) else hop


def _is_port(text: str, colon: str) -> bool:
    return colon == ":" and text.isascii() and text.isdigit() and len(text) <= 5


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _is_in(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _no_proxy(who: str) -> str:
    what = "forwards requests (X-Forwarded-For) but is not one of trusted_proxies"
    return f"{who} {what}: have the operator add it in [gateway]."


def _foreign(who: str) -> str:
    who = repr(who[:64])
    return f"Requests from {who} are not served: have the operator add its network to trusted_networks in [gateway]."
