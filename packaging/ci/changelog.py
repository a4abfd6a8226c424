"""Prints what a version's section of CHANGELOG.md says, for the release's page: ``changelog.py 0.1.0``.

The format is that of Keep a Changelog. A released section has its date: ``## [0.1.0] - 2026-12-01``.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?\s*$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)\)")


def released(text: str) -> list[str]:
    """Return the versions that have a section, the newest first, without what is not released."""
    return [found["version"] for found in _HEADING.finditer(text) if found["version"] != "Unreleased"]


def notes(text: str, version: str, tree_url: str = "") -> str:
    """Return a version's section without its heading. ``tree_url``: where links to files of the repository lead then.

    Raises: LookupError, when there is no section, it has no date or it says nothing.
    """
    headings = list(_HEADING.finditer(text))
    for number, found in enumerate(headings):
        if found["version"] != version:
            continue
        if found["date"] is None:
            raise LookupError(f"the section [{version}] of the changelog has no date: `## [{version}] - 2026-12-31`")
        end = headings[number + 1].start() if number + 1 < len(headings) else len(text)
        section = text[found.end() : end].strip()
        if not re.search(r"^[-*] ", section, re.MULTILINE):
            raise LookupError(f"the section [{version}] of the changelog says nothing")
        return (_LINK.sub(rf"]({tree_url}/\1)", section) if tree_url else section) + "\n"
    have = ", ".join(released(text)) or "none"
    raise LookupError(f"the changelog has no section [{version}]; released so far: {have}")


def main(argv: list[str]) -> int:
    if not 1 <= len(argv) <= 2:
        print("usage: changelog.py VERSION [TREE_URL]", file=sys.stderr)
        return 2
    try:
        print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), argv[0].removeprefix("v"), *argv[1:]), end="")
    except LookupError as error:
        print(f"changelog: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
