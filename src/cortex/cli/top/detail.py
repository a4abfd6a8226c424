"""All that is known of one thing, a line for each fact. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from cortex.cli.table import printable
from cortex.cli.top.board import Board
from cortex.cli.top.glance import Key
from cortex.cli.top.line import Line, Span, width_of

GONE = "it is not there any more"


def detail_lines(board: Board, key: Key, scroll: int, width: int, height: int) -> list[Line]:
    """Return the facts in so many lines, from line ``scroll`` on; long ones are folded."""
    head = (Span(f"{key.kind} {key.name}{' on ' + key.node if key.node else ''}", "bold"),)
    thing = found(board, key)
    lines: list[Line] = []
    for name, value in _facts("", msgspec.to_builtins(thing)) if thing is not None else [("", GONE)]:
        label = f"  {name:<22} " if name else "  "
        lines += _folded(label, printable(value), width)
    first = max(0, min(scroll, len(lines) - (height - 2)))
    return [head, (), *lines[first:]][: max(0, height)]


def found(board: Board, key: Key) -> Any:
    """Return what a row is about, None once it has gone."""
    choices: dict[str, Iterator[Any]] = {
        "node": (one for one in board.nodes if one.name == key.name),
        "instance": (one for one in board.instances if (one.model, one.node) == (key.name, key.node)),
        "running": (one for one in board.running if one.request_id == key.name),
        "finished": (one for one in board.finished if str(one.number) == key.name),
        "decision": (one for one in board.decisions if str(one.number) == key.name),
    }
    return next(choices[key.kind], None)


def _facts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield name and words of every fact; what nobody knows is left out."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _facts(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, list | tuple):
        if all(isinstance(part, str | int | float) for part in value):
            if value:
                yield name, ", ".join(map(str, value))
            return
        for place, part in enumerate(value):
            yield from _facts(f"{name}.{place}", part)
    elif isinstance(value, bool):
        yield name, "yes" if value else "no"
    elif isinstance(value, float):
        yield name, f"{value:.10g}"
    elif value is not None and value != "":
        yield name, str(value)


def _folded(label: str, words: str, width: int) -> Iterator[Line]:
    room = max(10, width - width_of(label))
    for start in range(0, max(1, len(words)), room):
        yield (Span(label if start == 0 else " " * len(label), "dim"), Span(words[start : start + room]))
