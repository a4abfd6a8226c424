"""Columns in a given width: what does not fit is made narrower, then left out by its rank, so that names stay.

Decides widths only; what stands in the cells is ``part``'s.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cortex.cli.table import printable
from cortex.cli.top.line import Line, Span, fit, width_of

GAP = 2
BAR = "█▓▒░"
"""Held by models, used by strangers, reserved, free. Told apart without colours, too."""
BAR_STYLES = ("green", "yellow", "cyan", "dim")


class Column(msgspec.Struct, frozen=True):
    """``rank``: those with the highest are left out first, 0 never. ``least``: it may be cut to so many cells; 0: not
    at all. ``grows``: it takes what room is left."""

    title: str
    rank: int = 0
    least: int = 0
    right: bool = False
    grows: bool = False


class Bar(NamedTuple):
    """Amounts of one whole, as in ``BAR``; what is missing to the whole is free."""

    parts: tuple[int, int, int]
    whole: int

    def drawn(self, width: int) -> Line:
        """Return it in ``width`` cells; whatever there is of something shows."""
        ends, start, far = [], 0, 0
        for part in self.parts:
            far += max(0, part)
            end = min(width, max(round(width * far / max(1, self.whole)), start + (part > 0)))
            ends.append(end - start)
            start = end
        sizes = (*ends, width - start)
        return tuple(
            Span(glyph * size, style) for glyph, size, style in zip(BAR, sizes, BAR_STYLES, strict=True) if size > 0
        )


Cell = Span | Bar
BAR_WISH = 24
BAR_MOST = 60


def grid(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> tuple[Line, list[Line]]:
    """Return the line of titles and one line for each row."""
    widths = _widths(columns, rows, width)
    shown = [index for index, size in enumerate(widths) if size]
    title = "".join(
        fit(columns[i].title, widths[i], right=columns[i].right) + " " * GAP * (i != shown[-1]) for i in shown
    )
    return (Span(title, "bold"),), [_row(columns, row, widths, shown) for row in rows]


def _row(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], shown: Sequence[int]) -> Line:
    spans: list[Span] = []
    for index in shown:
        cell = row[index]
        if isinstance(cell, Bar):
            spans += cell.drawn(widths[index]) if cell.whole > 0 else (Span(" " * widths[index]),)
        else:
            spans.append(Span(fit(cell.text, widths[index], right=columns[index].right), cell.style))
        if index != shown[-1]:
            spans.append(Span(" " * GAP))
    return tuple(spans)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """Return the cells of each column, 0 for one that is left out."""
    widths = [
        max(width_of(column.title), *(_wish(row[index]) for row in rows)) if rows else width_of(column.title)
        for index, column in enumerate(columns)
    ]
    while (over := _sum(widths) - width) > 0:
        index = max(
            (i for i, column in enumerate(columns) if column.least and widths[i] > column.least),
            key=lambda i: widths[i] - columns[i].least,
            default=-1,
        )
        if index >= 0:
            widths[index] -= min(over, widths[index] - columns[index].least)
            continue
        index = max((i for i, size in enumerate(widths) if size), key=lambda i: (columns[i].rank, i), default=-1)
        if index < 0 or columns[index].rank == 0:
            break
        widths[index] = 0
    for index, column in enumerate(columns):
        if column.grows and widths[index] and (left := width - _sum(widths)) > 0:
            most = BAR_MOST if any(isinstance(row[index], Bar) for row in rows) else width
            widths[index] = min(max(most, widths[index]), widths[index] + left)
    return widths


def _wish(cell: Cell) -> int:
    return BAR_WISH if isinstance(cell, Bar) else width_of(printable(cell.text))


def _sum(widths: Sequence[int]) -> int:
    sizes = [size for size in widths if size]
    return sum(sizes) + GAP * max(0, len(sizes) - 1)
