"""Whether firewalld, where it runs, lets other hosts reach a daemon's ports: as far as ports, services and targets of
its active zones tell. Rich rules and policies are not looked at.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cortex.cli.doctor.finding import Finding, ok, warn

Ports = tuple[int, int]
"""The first and the last of some ports of TCP."""


class Zone(NamedTuple):
    """One active zone."""

    name: str
    target: str = ""
    services: frozenset[str] = frozenset()
    ports: tuple[Ports, ...] = ()


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


def judge_firewall(zones: Sequence[Zone], ports: Mapping[str, Ports], services: Mapping[str, str]) -> list[Finding]:
    """Whether all of each of ``ports`` (by its key, loopback ones left out) are open in some active zone.

    ``services``: firewalld's service for a key, where there is one.
    """
    found = []
    for key, wanted in ports.items():
        service = services.get(key, "")
        said = "-".join(map(str, dict.fromkeys(wanted)))
        open_in = [zone.name for zone in zones if _lets_in(zone, wanted, service)]
        if open_in:
            found.append(ok(f"port {said} is open in {', '.join(open_in)}", key))
            continue
        names = ", ".join(zone.name for zone in zones) or "no zone"
        add = f"--add-service={service}" if service else f"--add-port={said}/tcp"
        means = "other hosts cannot reach it, unless a rich rule or a policy lets them"
        do = f"firewall-cmd --permanent {add} && firewall-cmd --reload"
        found.append(warn(f"port {said} is closed in {names}", means, do, key))
    return found or [ok("nothing is served to other hosts")]


def _lets_in(zone: Zone, wanted: Ports, service: str) -> bool:
    is_listed = any(first <= wanted[0] and wanted[1] <= last for first, last in zone.ports)
    return zone.target == "ACCEPT" or is_listed or service in zone.services
