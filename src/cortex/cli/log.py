"""``cortex logs``: what a model's engine wrote, and with ``--follow`` what it writes, through the gateway."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec

from cortex.cli.client import Server
from cortex.cli.json_output import print_json, print_json_line
from cortex.cli.steer import API, the_node
from cortex.contract.error import UpstreamBroken


def show_log(gateway: Server, model: str, node: str | None, lines: int, *, as_json: bool) -> None:
    """Print the last lines of a model's engine."""
    found = gateway.get(_path(gateway, model, node, lines), holds=("lines",))
    if as_json:
        print_json(found)
        return
    for line in found["lines"]:
        print(shown(line))


def follow_log(gateway: Server, model: str, node: str | None, lines: int, *, as_json: bool) -> None:
    """Print them and what is written, until it ends or is interrupted; JSON comes a line each.

    Raises: UpstreamBroken when it ends otherwise than with its engine.
    """
    with suppress(KeyboardInterrupt):
        for kind, told in _events(gateway.stream(f"{_path(gateway, model, node, lines)}&follow=true")):
            if kind == "lines":
                for line in told["lines"]:
                    if as_json:
                        print_json_line({"line": line})
                    else:
                        print(shown(line), flush=True)
            elif kind == "end":
                if told["code"]:
                    raise UpstreamBroken(str(told["reason"]))
                return
        raise UpstreamBroken("the gateway broke the log off")


def shown(line: str) -> str:
    """Return a line that cannot write on the terminal otherwise than as text."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)


def _path(gateway: Server, model: str, node: str | None, lines: int) -> str:
    at = node or the_node(gateway, model)
    return f"{API}/nodes/{quote(at, safe='')}/models/{quote(model, safe='')}/logs?lines={lines}"


def _events(lines: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield kind and content of every event."""
    kind = ""
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value.decode()
        elif name == b"data":
            yield kind, msgspec.json.decode(value)
