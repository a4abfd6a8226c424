"""``cortex replay``: plays a recorded trace as the fleet is, and as it would be, and says what would change.

``cortex replay`` starts this module as a program of its own, since the simulator stands above the commands and drives
both daemons' parts.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cortex.cli.client import neuron as neuron_at
from cortex.cli.failure import told
from cortex.cli.table import table
from cortex.contract.error import ConfigError, CortexError
from cortex.fleet.dispatcher import Policy
from cortex.gateway.catalogue import read_catalogue
from cortex.testing.replay_fleet import ReplayFleet, asked_fleet, changed, parse_node, read_fleet
from cortex.testing.replay_run import Replay, ReplayResult
from cortex.testing.replay_trace import read_trace

STRATEGIES = ("lru", "priority", "cost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    options = _parser().parse_args(arguments)
    was_disabled = logging.root.manager.disable
    logging.disable()
    try:
        return _play(options)
    except CortexError as error:
        print(f"cortex replay: {error.message}", file=sys.stderr)
        return 1
    finally:
        logging.disable(was_disabled)


def _play(options: argparse.Namespace) -> int:
    """Play what was asked for and say what came of it. Raises: CortexError."""
    fleet = _fleet(options)
    profiles, arrivals = read_catalogue(options.catalogue), read_trace(options.trace)
    after = changed(fleet, [parse_node(text) for text in options.add_node], options.remove_node)
    other = read_catalogue(options.catalogue_after) if options.catalogue_after else profiles
    before = Replay(fleet, profiles, arrivals, policy=_policy(options.strategy)).run()
    results = {"as it is": before}
    is_same = after == fleet and other is profiles and options.strategy_after in (None, options.strategy)
    if not is_same:
        policy = _policy(options.strategy_after or options.strategy)
        results["changed"] = Replay(after, other, arrivals, policy=policy).run()
    with told("cortex replay"):
        print(_as_json(results) if options.json else _as_table(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cortex replay", description="Play recorded requests on a simulated fleet.")
    parser.add_argument("trace", type=Path, help="JSON lines, or the gateway's JSON access log")
    parser.add_argument("--catalogue", type=Path, required=True, metavar="FILE", help="models.toml")
    fleet = parser.add_mutually_exclusive_group(required=True)
    fleet.add_argument("--nodes", type=Path, metavar="FILE", help="a TOML file of nodes and their devices")
    fleet.add_argument("--neuron", action="append", metavar="NAME=URL", help="a neuron to ask; may be repeated")
    parser.add_argument("--add-node", action="append", default=[], metavar="NAME=MBxCOUNT", help="also with these GPUs")
    parser.add_argument("--remove-node", action="append", default=[], metavar="NAME", help="also without this node")
    parser.add_argument("--catalogue-after", type=Path, metavar="FILE", help="also with another catalogue")
    parser.add_argument("--strategy", choices=STRATEGIES, default="lru", help="how victims are chosen")
    parser.add_argument("--strategy-after", choices=STRATEGIES, help="also with another strategy")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _policy(strategy: str) -> Policy:
    return msgspec.structs.replace(Policy(), strategy=strategy)


def _fleet(options: argparse.Namespace) -> ReplayFleet:
    if options.nodes is not None:
        return read_fleet(options.nodes)
    asked: dict[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {}
    for text in options.neuron:
        name, equals, url = text.partition("=")
        if not equals:
            raise ConfigError(f"--neuron: expected NAME=URL, got '{text}'")
        server = neuron_at(url, os.environ)
        asked[name] = (server.get("/discovery", holds=("devices",)), server.get("/models"))
    return asked_fleet(asked)


def _as_json(results: Mapping[str, ReplayResult]) -> str:
    return msgspec.json.format(
        msgspec.json.encode({name: _figures(result) for name, result in results.items()})
    ).decode()


def _figures(result: ReplayResult) -> dict[str, object]:
    """Return what is told of a replay."""
    return {
        "requests": result.requests,
        "served": result.served,
        "refused": result.refused,
        "failed": result.failed,
        "cold_starts": result.cold_starts,
        "wait_p50_s": round(result.wait_s(0.5), 3),
        "wait_p95_s": round(result.wait_s(0.95), 3),
        "wait_max_s": round(max(result.waits_s, default=0.0), 3),
        "evictions": result.evictions,
        "idle_unloads": result.idle_unloads,
        "loads": result.loads,
        "cold_starts_by_model": result.by_model,
        "refusals": result.refusals,
    }


def _as_table(results: Mapping[str, ReplayResult]) -> str:
    figures = {name: _figures(result) for name, result in results.items()}
    plain = [key for key, value in next(iter(figures.values())).items() if not isinstance(value, dict)]
    rows = [(key.replace("_", " "), *(one[key] for one in figures.values())) for key in plain]
    first = {code: said.first for result in reversed([*results.values()]) for code, said in result.refusals.items()}
    for code in sorted(first):
        counts = (result.refusals[code].count if code in result.refusals else 0 for result in results.values())
        rows.append((f"refused: {code}", *counts))
    nodes = sorted({node for result in results.values() for node in result.loads})
    rows += [(f"loads on {node}", *(result.loads.get(node, "") for result in results.values())) for node in nodes]
    models = sorted({model for result in results.values() for model in result.by_model})
    rows += [(f"cold: {model}", *(result.by_model.get(model, 0) for result in results.values())) for model in models]
    return "\n".join([table(("", *results), rows), *(f"{code}, the first: {first[code]}" for code in sorted(first))])


if __name__ == "__main__":
    sys.exit(main())
