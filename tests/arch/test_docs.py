"""What the documentation says is so: links, paths, targets, dependencies. Commands and examples: ``tests/docs``."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from tests.arch.source import ROOT, SRC, files, relative

from cortex.gateway.data.route import INFERENCE

README = ROOT / "README.md"
CHANGELOG = ROOT / "CHANGELOG.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = files(".md")

DECISION_PARTS = ["Context", "Choice", "Price", "When to revisit"]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [target for target in links(page.read_text()) if not leads_somewhere(page, target)]
    assert broken == []


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures within this repository."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def leads_somewhere(page: Path, target: str) -> bool:
    place, _, anchor = target.partition("#")
    path = (page.parent / place).resolve() if place else page
    if not path.exists() or not path.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(path.read_text())


def anchors(text: str) -> set[str]:
    """Return the names that headings get: lower case, words joined by hyphens, other signs dropped."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_named_in_the_text_are_there(page: Path) -> None:
    """A path in back-ticks starts at the top of the repository, or at the package; what is below build/ is made."""
    named = re.findall(r"`((?!build/)(?:[a-z_]+|\.ci)/[\w./-]*\w)`", page.read_text())
    assert [path for path in named if not ((ROOT / path).exists() or (SRC / "cortex" / path).exists())] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= set(targets)


def test_every_relayed_path_is_in_the_readme() -> None:
    text = README.read_text()
    assert [path for path in map(bytes.decode, INFERENCE) if f"`{path}`" not in text] == []


def test_every_dependency_has_its_line() -> None:
    said = re.findall(r"^\| `([\w.-]+)` \|", (DECISIONS / "0002-dependency.md").read_text(), re.MULTILINE)
    assert sorted(said) == sorted(dependencies())


def dependencies() -> set[str]:
    """Return the names of all dependencies, those of extras and groups included."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [pyproject["project"]["dependencies"], *pyproject["project"]["optional-dependencies"].values()]
    lists += pyproject["dependency-groups"].values()
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0] for one in lists for line in one}


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted(DECISIONS.glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_says_context_choice_price_and_when_to_revisit(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.name[:4]} ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == DECISION_PARTS


def test_the_changelog_begins_with_what_is_not_released() -> None:
    titles = re.findall(r"^## \[(.*?)\]", CHANGELOG.read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased"
    released = [tuple(map(int, title.split("."))) for title in titles[1:]]
    assert all(newer > older for newer, older in pairwise(released))
