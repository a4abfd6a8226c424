"""``cortex decisions``: what the gateway decided and why, a line each; with ``--follow`` as it happens."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from cortex.cli.client import Server
from cortex.cli.json_output import print_json, print_json_line

POLL_S = 1.0
GAP = "… some decisions before these are not kept any more"

Asked = Mapping[str, str | None]


def show_decisions(gateway: Server, limit: int, asked: Asked, *, as_json: bool) -> None:
    """Print the newest decisions. ``asked``: model, node, kind, to narrow them down."""
    decisions = _page(gateway, {"limit": str(limit), **asked})["decisions"]
    if as_json:
        print_json(decisions)
        return
    for decision in decisions:
        print(line(decision))


def follow_decisions(
    gateway: Server,
    limit: int,
    asked: Asked,
    *,
    as_json: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print the newest decisions and then every one that comes, until interrupted; JSON comes a line each."""
    with suppress(KeyboardInterrupt):
        for page in _pages(gateway, limit, asked, sleep):
            if page["gap"] and not as_json:
                print(GAP, flush=True)
            for decision in page["decisions"]:
                if as_json:
                    print_json_line(decision)
                else:
                    print(line(decision), flush=True)


def line(decision: Mapping[str, Any]) -> str:
    """Return a decision as a line of text, in local time."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(decision["epoch_s"]))
    model, node = decision["model"], decision["node"]
    what = f"{model} on {node}" if model and node else model or node or "-"
    whose = f" for {decision['caller']}" if decision["caller"] else ""
    times = f" ({decision['count']} times)" if decision["count"] > 1 else ""
    text = f"{when}  {decision['kind']:<11}  {what}{whose}: {decision['reason']}{times}"
    return "".join(char if char.isprintable() else "?" for char in text)


def _pages(gateway: Server, limit: int, asked: Asked, sleep: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    page = _page(gateway, {"limit": str(limit), **asked})
    while True:
        yield page
        if page["next"] >= page["newest"]:
            sleep(POLL_S)
        page = _page(gateway, {"since": str(page["next"]), **asked})


def _page(gateway: Server, asked: Asked) -> Mapping[str, Any]:
    query = urlencode({key: value for key, value in asked.items() if value is not None})
    found: Mapping[str, Any] = gateway.get(f"/admin/v1/decisions?{query}", holds=("decisions", "next"))
    return found
