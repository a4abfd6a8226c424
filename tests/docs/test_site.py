"""The site has every page, its pictures are as they are drawn, and whoever reads it fetches nothing from elsewhere."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.arch.source import ROOT, files

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)) for path in files(".md") if path.is_relative_to(DOCS)}
LOADING = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Loader(yaml.SafeLoader):
    """Reads what mkdocs reads; what makes an object is left out."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documentation_hook", DOCS / "hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once() -> None:
    names = hook()
    found = names.named_in(names.expanded(CONFIG["nav"], DOCS, set(names.named_in(CONFIG["nav"]))))
    assert sorted(found) == sorted(PAGES)


def test_the_site_is_made_by_what_is_installed_for_it_with_a_search_and_both_palettes() -> None:
    assert CONFIG["theme"]["name"] == "material"
    assert {one["scheme"] for one in CONFIG["theme"]["palette"]} == {"default", "slate"}
    assert any("search" in str(one) for one in CONFIG["plugins"])
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert [line for line in groups["docs"] if line.startswith("mkdocs-material")]


def test_pages_by_pattern_come_in_the_order_of_their_titles(tmp_path: Path) -> None:
    for name, title in (("a", "Zebra"), ("b", "apple"), ("c", "Listed")):
        (tmp_path / f"{name}.md").write_text(f"# {title}\n")
    nav: list[Any] = [{"All": ["c.md", "*.md", {"Below": ["*.txt"]}]}]
    assert hook().expanded(nav, tmp_path, {"c.md"}) == [{"All": ["c.md", "b.md", "a.md", {"Below": []}]}]


def test_what_belongs_to_an_item_is_indented_as_the_library_wants_it() -> None:
    text = """\
so:
1. one
   more

   ```sh
   if x; then
     y
   fi
   ```

   * deep
     * deeper

   a paragraph
2. two
3. three

| a |
```
  as it is
```"""
    said = """\
so:

1. one
    more

    ```sh
    if x; then
      y
    fi
    ```

    * deep
        * deeper

    a paragraph

2. two
3. three

| a |
```
  as it is
```"""
    assert "\n".join(hook().reindented(text.splitlines())) == said


def test_links_that_leave_the_site_are_names_there() -> None:
    text = "[so](../../README.md#it), [so](../design.md) and [so](top.md)"
    said = hook().without_outside(text, DOCS / "operations", DOCS)
    assert said == "so (`README.md`), [so](../design.md) and [so](top.md)"


def test_pictures_are_as_they_are_drawn() -> None:
    draw = DOCS / "picture" / "draw.py"
    run = subprocess.run([sys.executable, str(draw), "--print"], capture_output=True, text=True, check=True)
    made = json.loads(run.stdout)
    assert len(made) == 4
    for name, text in made.items():
        assert (draw.parent / name).read_text() == text, f"run {draw}"
        assert "prefers-color-scheme: dark" in text


class Fetches(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev", "alternate"):
            return
        self.found += [value for name, value in attrs if value and (tag, name) in LOADING]


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None and os.environ.get("CI") != "true",
    reason="`make docs` installs what builds the site; CI has run it before",
)
def test_the_site_is_built_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    argv = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(site),
        "-f",
        str(ROOT / "mkdocs.yml"),
    ]
    run = subprocess.run(argv, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert {str(path.relative_to(site).with_suffix(".md")) for path in site.rglob("*.html")} - {"404.md"} == PAGES
    for page in site.rglob("*.html"):
        told = Fetches()
        told.feed(page.read_text())
        assert [url for url in told.found if re.match(r"(\w+:)?//", url)] == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*", style.read_text()) == [], style
    broken = [
        f"{page.relative_to(site)}: {paragraph[:80]}"
        for page in site.rglob("*.html")
        for paragraph in re.findall(r"<p>(.*?)</p>", page.read_text(), re.DOTALL)
        if re.search(r"\n\s*(?:[*-]|\d+\.) |\|---|```", paragraph)
    ]
    assert broken == [], "lists, tables and blocks are such on the site as well"
