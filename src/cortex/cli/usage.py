"""``cortex usage``: what was used, summed up by the gateway, as a table, CSV or JSON."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from cortex.cli.client import Server
from cortex.cli.json_output import print_json
from cortex.cli.table import show
from cortex.contract.usage import MAX_SUMS
from cortex.kit.csv_text import csv_text

AMOUNTS = (
    "requests",
    "failed",
    "cold_starts",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "duration_s",
    "mean_first_token_s",
)


def show_usage(gateway: Server, asked: Mapping[str, str | None], *, as_csv: bool, as_json: bool) -> None:
    """Print the sums. ``asked``: by, since, until, key, model, node, operation; None for what is not asked."""
    query = {name: value for name, value in asked.items() if value is not None}
    query["limit"] = str(MAX_SUMS)
    report = gateway.get(f"/admin/v1/usage?{urlencode(query)}", holds=("by", "sums"))
    if as_json:
        print_json(report)
    elif as_csv:
        print(csv_text([*report["by"], *AMOUNTS], report["sums"]), end="")
    else:
        _show(report)


def _show(report: Mapping[str, Any]) -> None:
    by: Sequence[str] = report["by"]
    header = [*by, "requests", "failed", "cold", "prompt", "completion", "total", "hours", "first token s"]
    show(header, [[*(row[name] for name in by), *_cells(row)] for row in report["sums"]])
    if not report["sums"]:
        print("no such request in that time", file=sys.stderr)
    if report["more"]:
        print(f"… these are the first {MAX_SUMS} groups; ask for less with --since or --model")


def _cells(row: Mapping[str, Any]) -> list[object]:
    first_s = row["mean_first_token_s"]
    return [
        *(row[name] for name in AMOUNTS[:6]),
        f"{row['duration_s'] / 3600:.2f}",
        None if first_s is None else f"{first_s:.2f}",
    ]
