"""Whether firewalld, where it runs, lets other hosts reach a daemon's ports: as far as ports, services and targets of
its active zones tell. Rich rules and policies are not looked at.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cortex.cli.doctor.finding import Finding, ok, warn


class Zone(NamedTuple):
    """One active zone. ``ports``: first and last of each range of TCP ports."""

    name: str
    target: str = ""
    services: frozenset[str] = frozenset()
    ports: tuple[tuple[int, int], ...] = ()


def zones_in(listing: str) -> list[Zone]:
    """Return the active zones of what ``firewall-cmd --list-all-zones`` prints."""
    found = []
    for block in re.split(r"\n\s*\n", listing.strip()):
        head, _, rest = block.partition("\n")
        title = re.fullmatch(r"(\S+) \((?:\w+, )*active(?:, \w+)*\)", head.strip())
        if title is None:
            continue
        said = dict(re.findall(r"^ {2}([\w-]+):[ \t]*(.*)$", rest, re.MULTILINE))
        ports = re.findall(r"(\d+)(?:-(\d+))?/tcp", said.get("ports", ""))
        found.append(
            Zone(
                name=title[1],
                target=said.get("target", ""),
                services=frozenset(said.get("services", "").split()),
                ports=tuple((int(first), int(last or first)) for first, last in ports),
            )
        )
    return found


def judge_firewall(zones: Sequence[Zone], ports: Mapping[str, int], services: Mapping[str, str]) -> list[Finding]:
    """Whether each of ``ports`` (by its key, loopback ones left out) is open in some active zone.

    ``services``: firewalld's service for a key, where there is one.
    """
    found = []
    for key, port in ports.items():
        service = services.get(key, "")
        open_in = [zone.name for zone in zones if _lets_in(zone, port, service)]
        if open_in:
            found.append(ok(f"port {port} is open in {', '.join(open_in)}", key))
            continue
        names = ", ".join(zone.name for zone in zones) or "no zone"
        add = f"--add-service={service}" if service else f"--add-port={port}/tcp"
        means = "other hosts cannot reach it, unless a rich rule or a policy lets them"
        do = f"firewall-cmd --permanent {add} && firewall-cmd --reload"
        found.append(warn(f"port {port} is closed in {names}", means, do, key))
    return found or [ok("nothing is served to other hosts")]


def _lets_in(zone: Zone, port: int, service: str) -> bool:
    is_listed = any(first <= port <= last for first, last in zone.ports)
    return zone.target == "ACCEPT" or is_listed or service in zone.services
