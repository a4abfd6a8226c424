"""What the page about troubles quotes is really said, word by word, by the code as it is."""

import ast
import re
from collections.abc import Iterator

import pytest
from tests.arch.source import ROOT, modules, tree

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SAYS = "it says"
QUOTED = [
    quoted
    for table in re.findall(rf"^\| {SAYS} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    for quoted in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
]


def said() -> list[str]:
    """Return every text in the code: literals, what stands between the variables of one, and what bytes say.

    A docstring is one where it is the message of an error.
    """
    found: list[str] = []
    for path in modules():
        docstrings = set() if path.name in ("error.py", "refusal.py") else set(docstrings_of(tree(path)))
        for node in ast.walk(tree(path)):
            if node in docstrings:
                continue
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                found.append(node.value if isinstance(node.value, str) else node.value.decode(errors="replace"))
    return found


def docstrings_of(module: ast.Module) -> Iterator[ast.Constant]:
    """Yield what is a statement by itself: it documents what stands before."""
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


TEXTS = said()

MADE = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("| make says |")[2].partition("\n\n")[0], re.MULTILINE)
OF_OTHERS = {"libgomp.so.1: cannot open shared object file"}
"""The linker's words."""


def is_said(quoted: str) -> bool:
    """Tell whether one text has all pieces of a quotation, in their order."""
    pattern = re.compile(
        ".{0,80}".join(re.escape(piece.strip()) for piece in quoted.split("…")), re.DOTALL | re.IGNORECASE
    )
    return any(pattern.search(text) for text in TEXTS)


def test_the_page_quotes_as_much_as_there_is_to_be_quoted() -> None:
    assert len(QUOTED) > 35
    assert len(set(QUOTED)) == len(QUOTED)
    assert PAGE.count(f"| {SAYS} |") == 6


@pytest.mark.parametrize("quoted", QUOTED)
def test_what_is_quoted_is_really_said(quoted: str) -> None:
    assert len(re.sub(r"\W", "", quoted)) >= 8, "too short to be found by"
    assert is_said(quoted)


def test_what_make_says_is_in_what_it_runs() -> None:
    texts = [(ROOT / name).read_text() for name in ("Makefile", ".ci/python")]
    assert len(MADE) == 4
    assert [quoted for quoted in MADE if quoted not in OF_OTHERS and not any(quoted in text for text in texts)] == []


def test_what_is_not_said_is_found_out() -> None:
    assert is_said("port … on … is in use")
    assert not is_said("port … on … is out of use")
    assert not is_said("choose another port … is in use")
