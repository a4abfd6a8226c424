"""What the site needs beyond mkdocs: pages by pattern, and lists as GitHub reads them. Decides no page's text.

In the navigation of ``mkdocs.yml`` an entry with a star, as ``operations/*.md``, stands for every page of that name
which is not listed itself, in the order of their titles, so that a new page needs no line there.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FENCE = re.compile(r"`{3,}|~{3,}")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")
ITEM = re.compile(r"(?:[*+-]|\d+\.) +")


def on_config(config: Any) -> Any:
    """Complete the configuration; called by mkdocs."""
    docs = Path(config.docs_dir)
    config.nav = expanded(config.nav, docs, set(named_in(config.nav)))
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Return a page as Python's Markdown reads it; called by mkdocs."""
    kept = without_outside(markdown, Path(page.file.abs_src_path).parent, Path(config.docs_dir))
    return "\n".join(reindented(kept.splitlines()))


def without_outside(markdown: str, folder: Path, docs: Path) -> str:
    """Put names in place of links that leave the site: to files of the repository that are no page."""

    def name(link: re.Match[str]) -> str:
        path = (folder / link[2]).resolve()
        return f"{link[1]} (`{path.relative_to(docs.parent)}`)" if not path.is_relative_to(docs) else link[0]

    return OUTSIDE.sub(name, markdown)


def reindented(lines: Iterable[str]) -> Iterator[str]:
    """Indent what belongs to an item of a list by four spaces a level, which Python's Markdown wants.

    GitHub, and everybody who writes here, indents it as far as the item's own text.
    """
    columns: list[int] = []  # where the text of each open item begins
    fence, cut = "", 0
    is_paragraph = True  # a paragraph may be under way, other than that with which an item begins
    before = ""
    for line in lines:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if fence:
            yield " " * 4 * len(columns) + line[min(indent, cut) :] if text else ""
            fence = "" if text.strip() == fence else fence
        elif not text:
            yield ""
            is_paragraph = True
        else:
            while columns and indent < columns[-1]:
                columns.pop()
            item = ITEM.match(text)
            if item and is_paragraph and before:
                yield ""  # where a paragraph ends and an item begins
            yield " " * 4 * len(columns) + text
            if begun := FENCE.match(text):
                fence, cut = begun[0], indent
            elif item:
                columns.append(indent + item.end())
                is_paragraph = False
        before = text


def expanded(nav: list[Any], docs: Path, named: set[str]) -> list[Any]:
    """Return the navigation with pages in place of patterns."""
    pages: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            pages += [
                {title: expanded(below, docs, named) if isinstance(below, list) else below}
                for title, below in entry.items()
            ]
        elif "*" in entry:
            found = sorted(docs.glob(entry), key=_title)
            pages += [str(path.relative_to(docs)) for path in found if str(path.relative_to(docs)) not in named]
        else:
            pages.append(entry)
    return pages


def named_in(nav: list[Any]) -> list[str]:
    """Return the pages that a navigation lists by name."""
    found: list[str] = []
    for entry in nav:
        if isinstance(entry, dict):
            for below in entry.values():
                found += named_in(below) if isinstance(below, list) else [below]
        elif "*" not in entry:
            found.append(entry)
    return found


def _title(path: Path) -> str:
    return next((line[2:] for line in path.read_text().splitlines() if line.startswith("# ")), path.stem).lower()
