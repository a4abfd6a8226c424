"""Lines of man(7): text with its signs escaped, and the Markdown of our reference pages as such lines.

Knows the Markdown that docs/configuration.md uses: headings, paragraphs, lists, tables, code, and inside of a line
code, bold and links. A table becomes a list: what is in its first column, and what is said of it.
"""

import re
import textwrap
from collections.abc import Iterator

WIDTH = 78
INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)]*)\)")

ASIDE = re.compile(r" \(\[[^\]]+\]\([^)]*\)\)")


def escaped(text: str) -> str:
    """Return a text that means itself."""
    return text.replace("\\", "\\e")


def literal(text: str) -> str:
    """Return a text to be typed as it stands, in bold; its hyphens are minus signs."""
    return r"\fB" + escaped(text).replace("-", r"\-") + r"\fR"


def inline(text: str) -> str:
    """Return a line of Markdown; of links the words, and nothing where they stand in brackets by themselves."""
    text = ASIDE.sub("", text)
    pieces, start = [], 0
    for match in INLINE.finditer(text):
        pieces.append(escaped(text[start : match.start()]))
        code, bold, words, _ = match.groups()
        pieces.append(inline(words) if words else literal(code) if code else rf"\fB{inline(bold)}\fR")
        start = match.end()
    return "".join(pieces) + escaped(text[start:])


def lines(text: str) -> Iterator[str]:
    """Yield a text that is escaped already in lines that no macro begins."""
    for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith((".", "'")) else line


def item(term: str, *said: str) -> Iterator[str]:
    """Yield an entry of a list: a term, and paragraphs about it; all escaped already."""
    yield ".TP"
    yield rf"\&{term}" if term.startswith((".", "'")) else term
    shown = [part for part in said if part]
    for place, part in enumerate(shown or [r"\&"]):
        if place:
            yield ".IP"
        yield from lines(part)


def code(block: list[str]) -> Iterator[str]:
    """Yield a block that stands as it is."""
    yield from (".PP", ".EX")
    for line in block:
        safe = escaped(line).replace("-", r"\-")
        yield rf"\&{safe}" if safe.startswith((".", "'")) else safe
    yield ".EE"


def from_markdown(text: str) -> Iterator[str]:
    """Yield a piece of Markdown. Headings of the third level become sections, deeper ones what is below them."""
    rest = text.splitlines()
    while rest:
        line = rest.pop(0)
        if line.startswith("```"):
            end = next(place for place, other in enumerate(rest) if other.startswith("```"))
            yield from code(rest[:end])
            rest = rest[end + 1 :]
        elif line.startswith("#"):
            marks, _, words = line.partition(" ")
            yield f".{'SH' if len(marks) <= 3 else 'SS'} {inline(words)}"
        elif line.startswith("|"):
            table = [line]
            while rest and rest[0].startswith("|"):
                table.append(rest.pop(0))
            yield from _table([_cells(row) for row in table])
        elif line.startswith("* "):
            words = [line[2:]]
            while rest and rest[0].startswith("  "):
                words.append(rest.pop(0).strip())
            yield from (r".IP \(bu 2", *lines(inline(" ".join(words))))
        elif line.strip():
            words = [line]
            while rest and rest[0].strip() and not rest[0].startswith(("#", "|", "* ", "```")):
                words.append(rest.pop(0))
            yield from (".PP", *lines(inline(" ".join(words))))


def _cells(row: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def _table(table: list[list[str]]) -> Iterator[str]:
    titles, _, *rows = table
    for first, *others in rows:
        if titles[1:] == ["default", "meaning"]:
            said = others[1] if others[0] == "" else f"{others[1]} Default: {others[0]}."
            said = said.replace("Default: required.", "Required.")
        else:
            said = "; ".join(f"{other}" for other in others if other)
        yield from item(inline(first) or r"\&", inline(said))
