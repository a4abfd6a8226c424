"""Asks neurons what they are and what they have, for ``cortex check --neurons``. Changes nothing there.

Asks all of them at once and none for long; one that does not answer is a node of which nothing is known but why.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from cortex.cli.client import Server
from cortex.contract.error import CortexError, UpstreamBroken
from cortex.contract.instance import InstanceReport
from cortex.contract.node import Discovery, Health
from cortex.fleet.view import NodeView
from cortex.kit.fleet_token import fleet_token
from cortex.kit.tls import ClientTls, TlsFiles

LIMIT_S = 3.0
MOST_AT_ONCE = 32


class Place(NamedTuple):
    """Where the neuron of a node is, the file with the credential for it, and those for TLS (None: as the system)."""

    node: str
    url: str
    token_file: str | None = None
    files: TlsFiles | None = None


def survey(places: Iterable[Place], env: Mapping[str, str], limit_s: float = LIMIT_S) -> list[NodeView]:
    """Return a picture of every node, in order. ``env``: may have the credential."""
    with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="survey") as threads:
        return list(threads.map(lambda place: _look(place, env, limit_s), places))


def _look(place: Place, env: Mapping[str, str], limit_s: float) -> NodeView:
    try:
        server = Server(
            place.url,
            what="the neuron",
            option="endpoint in cortex.toml",
            api_key=fleet_token(place.token_file, env),
            timeout_s=limit_s,
            tls=None if place.files is None else ClientTls(place.files).current,
        )
        return NodeView(
            name=place.node,
            is_healthy=True,
            is_tried=True,
            why="",
            discovery=_told(server.get("/discovery"), Discovery),
            health=_told(server.get("/health"), Health),
            models=_told(server.get("/models"), tuple[InstanceReport, ...]),
        )
    except CortexError as exc:
        why = exc.message
    return NodeView(name=place.node, is_tried=True, why=why)


def _told(answer: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as exc:
        raise UpstreamBroken(f"its answer is not by the contract: {exc}") from exc
