"""What the tables say that people write: the words for each name, to stand beside its type on a generated page."""

import re
from pathlib import Path

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


def meanings(page: str) -> dict[tuple[str, ...], dict[str, str]]:
    """Return what names mean by a page, by all the names of each table in their order: a type, or the parameters of a
    call, of just these names is what the table describes."""
    every = [table for under in tables(page).values() for table in under]
    return {tuple(table): {name: _meaning(cells) for name, cells in table.items()} for table in every}


def _meaning(cells: list[str]) -> str:
    """Return what the last cell says, but for what the type says as well."""
    return "" if cells[-1] == "required" else cells[-1]


def _from_here(words: str, page: str) -> str:
    """Return words whose links lead to the same places from a page of the reference."""
    return _LINK.sub(lambda found: f"](../{found[1] or page}{found[2] or ''})", words)
