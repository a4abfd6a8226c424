"""Judges who may call a daemon: credentials, trusted networks, proxies. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence

from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SHARED = (ipaddress.ip_network("100.64.0.0/10"),)
"""Of carriers and overlay networks: nobody on the internet has one of these. Source: RFC 6598."""


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this host is served on an address; a name is taken for one that others reach, but one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judge_door(host: str, shown: str | None, networks: Sequence[str], do: str, why_unknown: str = "") -> Finding:
    """Who needs no credential. ``shown``: what callers have to show; empty: nothing; None: not known, and why."""
    if is_loopback(host):
        return ok(f"only this host is served ({host})")
    if shown is None:
        return skipped(f"whether callers need a key is not known: {why_unknown}")
    if shown:
        return ok(f"{shown} are served")
    said = f"no keys; whoever calls from {', '.join(networks) or 'nowhere'} needs none"
    public = [network for network in _parsed(networks) if _is_public(network)]
    if any(network.prefixlen == 0 for network in public):
        return fail(said, "whoever reaches this port can use, load and unload every model", do)
    if public:
        means = f"{', '.join(map(str, public))} is no private network: strangers may be in it"
        return warn(said, means, do)
    return ok(said)


def judge_proxies(proxies: Sequence[str]) -> Finding:
    """Whether only proxies of one's own are believed when they say for whom they call."""
    if not proxies:
        return ok("no proxy is believed")
    said = ", ".join(proxies)
    found = _parsed(proxies)
    means = "whoever calls from there says by X-Forwarded-For where from, and is let in as if it came from this host"
    do = "name the addresses of your proxies in trusted_proxies, and nothing else"
    if any(network.prefixlen == 0 for network in found):
        return fail(said, means, do)
    if any(_is_public(network) and network.num_addresses > 256 for network in found):
        return warn(said, means, do)
    return ok(f"{said} may say for whom they call")


def _parsed(networks: Iterable[str]) -> list[Network]:
    return [ipaddress.ip_network(text) for text in networks]


def _is_public(network: Network) -> bool:
    shared = any(network.version == each.version and network.subnet_of(each) for each in SHARED)  # type: ignore[arg-type]
    return not (network.is_private or network.is_loopback or network.is_link_local or shared)
