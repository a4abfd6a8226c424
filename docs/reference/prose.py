"""What the tables say that people write: the words for each name, to stand beside its type on a generated page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]

Table = dict[str, list[str]]
"""The cells of each row after the first, by the name in that one."""

_ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$")
_CELL = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def tables(page: str) -> dict[str, list[Table]]:
    """Return the tables of names of a page of the documentation, by the heading that they stand under."""
    found: dict[str, list[Table]] = {}
    heading, rows = "", Table()
    for line in (*(DOCS / page).read_text().splitlines(), ""):
        if row := _ROW.match(line):
            rows[row[1]] = [_from_here(cell.strip(), page) for cell in _CELL.split(row[2])]
            continue
        if rows:
            found.setdefault(heading, []).append(rows)
            rows = {}
        if line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def meanings(page: str, document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return what the fields of types mean: those of which a table of the page has the very names, in their order."""
    by_names = {tuple(table): table for every in tables(page).values() for table in every}
    return {
        name: {field: cells[-1] for field, cells in by_names[names].items()}
        for name, names in _fields(document)
        if names in by_names
    }


def _fields(document: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, schema in document["components"]["schemas"].items():
        yield name, tuple(schema.get("properties", ()))


def _from_here(words: str, page: str) -> str:
    """Return words whose links lead to the same places from a page of the reference."""
    return _LINK.sub(lambda found: f"](../{found[1] or page}{found[2] or ''})", words)
