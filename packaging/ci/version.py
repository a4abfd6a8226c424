"""Tells whether everything that names cortex's version names the same one: ``version.py [TAG]``.

That is the package, the newest released section of the changelog, the spec, and the tag, where one is given. A spec
that says ``@VERSION@`` gets the package's when it is built, and so cannot differ.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import changelog

ROOT = Path(__file__).resolve().parents[2]
_TAG = re.compile(r"v(\d+\.\d+\.\d+)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def named(root: Path, tag: str | None) -> dict[str, str]:
    """Return who names which version, by words for a reader. What names none has empty text."""
    package = (root / "src" / "cortex" / "__init__.py").read_text(encoding="utf-8")
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    spec = (root / "packaging" / "rpm" / "cortex.spec").read_text(encoding="utf-8")
    own = _first(r'^__version__ = "(.*)"$', package)
    found = {"src/cortex/__init__.py": own, "CHANGELOG.md": next(iter(changelog.released(text)), "")}
    found["packaging/rpm/cortex.spec"] = _first(r"^Version:\s*(\S+)$", spec).replace("@VERSION@", own)
    if tag is not None:
        match = _TAG.fullmatch(tag)
        found[f"tag {tag}"] = match[1] if match else ""
    return found


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def disagreement(found: Mapping[str, str]) -> str | None:
    """Return what is wrong, for a reader; None: they agree on one version."""
    if len(set(found.values())) == 1 and _VERSION.fullmatch(next(iter(found.values()))):
        return None
    width = max(map(len, found))
    lines = [f"  {who:{width}}  {version or 'no version'}" for who, version in found.items()]
    return "\n".join(["these do not name one version:", *lines])


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        print("usage: version.py [TAG]", file=sys.stderr)
        return 2
    found = named(ROOT, argv[0] if argv else None)
    wrong = disagreement(found)
    print(wrong or f"{next(iter(found.values()))}: {', '.join(found)} agree", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
