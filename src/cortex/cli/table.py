"""Columns of text: for a terminal in its width and with colours, else as wide as their content, for grep.

Nothing but printable characters comes out, whatever a node or a client has called itself.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Rows = Iterable[Sequence[object]]

COLOURS = {
    "healthy": "green",
    "unhealthy": "red",
    "maintenance": "yellow",
    "loaded": "green",
    "loading": "yellow",
    "draining": "yellow",
    "unloading": "yellow",
    "failed": "red",
    "yes": "green",
    "no": "red",
}
"""Words that have a colour of their own on a terminal."""


def show(header: Sequence[str], rows: Rows, console: "Console | None" = None) -> None:
    """Print a table; on a terminal long cells are folded, so that it fits."""
    if console is None and not sys.stdout.isatty():
        print(table(header, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in header:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        cells = [_cell(value) for value in row]
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in cells))
    (console or Console()).print(drawn)


def table(header: Sequence[str], rows: Rows) -> str:
    """Return the lines of a table; a cell below the header that is None or empty is shown as ``-``."""
    cells = [[printable(name) for name in header], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cell(value: object) -> str:
    return printable("" if value is None else str(value)) or "-"


def printable(text: str) -> str:
    """Return a text with a question mark for everything that is no printable character."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)
