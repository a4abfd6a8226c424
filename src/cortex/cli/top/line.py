"""Lines of styled text whose width is counted in cells of a terminal. Names may be hostile: nothing but printable
characters gets into a line."""

from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from cortex.cli.table import printable


class Span(NamedTuple):
    """A text in one style: empty, ``bold``, ``dim``, ``reverse``, ``green``, ``yellow``, ``red`` or ``cyan``."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def width_of(text: str) -> int:
    """Return how many cells a text takes."""
    return cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text of exactly ``width`` cells: cut, with an ellipsis, or filled up."""
    text = printable(text)
    if width <= 0:
        return ""
    if (length := cell_len(text)) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def cut(line: Line, width: int) -> Line:
    """Return a line of at most ``width`` cells, without spaces at its end that nobody sees."""
    kept: list[Span] = []
    for span in line:
        if width <= 0:
            break
        text = printable(span.text)
        if (length := cell_len(text)) > width:
            text = set_cell_size(text, width)
        width -= length
        kept.append(Span(text, span.style))
    while kept and not kept[-1].style and not kept[-1].text.strip():
        kept.pop()
    return tuple(kept)


def plain(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(span.text for span in line).rstrip()
