"""Judges the gateway that runs, and whether the catalogue fits the nodes that there are. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.port import CLOSED, WHY_CLOSED
from cortex.contract.profile import Profile
from cortex.fleet.eviction import Strategy
from cortex.fleet.lint import impossible, lint
from cortex.fleet.view import NodeView

UNIT = "systemctl enable --now cortex"


def judge_ready(status: str) -> Finding:
    """What ``GET /readyz`` of the gateway here says; empty: none runs."""
    if status == "ok":
        return ok("a gateway runs here, and has asked every node")
    if status == CLOSED:
        return skipped(WHY_CLOSED)
    if not status:
        return skipped("no gateway of cortex answers here", do=UNIT)
    means = {
        "starting": "it has not asked every node yet; requests are taken",
        "stopping": "it takes no new requests, and ends when the running ones are over",
    }
    return warn(f"the gateway here is {status}", means.get(status, "it is not ready"), "journalctl -u cortex")


def judge_nodes(health: Mapping[str, Any] | None, status: str) -> list[Finding]:
    """How the running gateway sees its nodes: the answer of ``GET /health``, after that of ``GET /readyz``."""
    if status == CLOSED:
        return [skipped(WHY_CLOSED)]
    if health is None:
        return [skipped("no gateway of cortex answers here", do=UNIT)]
    found = [
        fail(
            str(node.get("why") or "not healthy"),
            "the gateway that runs places nothing there",
            f"cortex doctor --only node; cortex status; its entry in [[neurons]] is named {node.get('name')}",
            str(node.get("name", "?")),
        )
        for node in health.get("nodes", ())
        if not node.get("healthy")
    ]
    if not health.get("nodes"):
        return [
            fail("it has no nodes", "every request is answered 503", "add [[neurons]] to cortex.toml, and restart it")
        ]
    return found or [ok(f"all {len(health['nodes'])} nodes are healthy")]


def judge_placing(profiles: Sequence[Profile], nodes: Sequence[NodeView]) -> Iterator[Finding]:
    """Which models can run on no node."""
    if not profiles:
        yield ok("the catalogue is empty: models are those that nodes have loaded")
        return
    unseen = [node.name for node in nodes if node.discovery is None]
    if not nodes or unseen:
        yield skipped(f"not every node was seen: {', '.join(unseen) or 'there is none'}")
        return
    found = [
        fail(said, "requests for it are refused", "give it less (vram_mb, quant, context), or a node that can hold it")
        for said in impossible(profiles, nodes)
    ]
    yield from found or [ok(f"each of {len(profiles)} models can run on some node")]


def judge_catalogue(
    remarks: Iterable[str], profiles: Sequence[Profile], nodes: Sequence[NodeView], strategy: Strategy
) -> list[Finding]:
    """What is allowed in configuration and catalogue, and hardly meant."""
    told = set(impossible(profiles, nodes))  # which is another check's
    said = [*remarks, *(line for line in lint(profiles, nodes, strategy) if line not in told)]
    means = "it is allowed, and hardly meant"
    return [
        warn(line, means, "change the catalogue, or the configuration; cortex explain MODEL says more") for line in said
    ] or [ok("nothing is odd about the catalogue")]
