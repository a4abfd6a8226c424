"""What stands in the pages to be copied: fenced blocks, the commands in them, and commands in the text."""

import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.arch.source import ROOT, files, relative

PLACES = (ROOT / "docs", ROOT / "packaging")
PAGES = tuple(
    path
    for path in files(".md")
    if path.name in ("README.md", "CONTRIBUTING.md") or any(map(path.is_relative_to, PLACES))
)
"""The pages for people: those that only tell what was measured are not among them."""

SHELL = ("sh", "bash", "console")

FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
SPAN = r"(?<!`)`((?:sudo )?(?:{programs}) [^`\n]+)`(?!`)"


class Block(NamedTuple):
    """One fenced block, without its indentation."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{relative(self.page)}:{self.line}"


class Command(NamedTuple):
    """One command of a shell block, or of the text; ``text`` may have several lines."""

    block: Block
    text: str

    @property
    def name(self) -> str:
        return f"{self.block.name}-{self.text.splitlines()[0][:50]}"


def blocks(*languages: str) -> tuple[Block, ...]:
    """Return every block, or those in one of the languages."""
    return tuple(block for page in PAGES for block in blocks_of(page) if not languages or block.language in languages)


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found["language"], textwrap.dedent(found["text"]))


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a shell block, each as long as the shell says that something is missing.

    In a ``console`` block only what stands after a prompt is one; the rest is what was answered.
    """
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith(("$ ", "# "))]
    pending: list[str] = []
    for line in lines:
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending.append(line)
        if is_whole("\n".join(pending)):
            yield Command(block, "\n".join(pending))
            pending = []
    assert not pending, f"{block.name}: the shell waits for more after {pending}"


def is_whole(text: str) -> bool:
    """Tell whether a shell would run this, and not ask for another line. Raises AssertionError for no shell's line."""
    if text.endswith("\\"):
        return False
    read = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, env={"LC_ALL": "C"})
    if "unexpected end of file" in read.stderr or "unexpected EOF" in read.stderr or "here-document" in read.stderr:
        return False
    assert read.returncode == 0, f"{text}\n{read.stderr}"
    return True


def spans(*programs: str) -> Iterator[Command]:
    """Yield commands that stand in the text, between back-ticks."""
    pattern = re.compile(SPAN.format(programs="|".join(map(re.escape, programs))))
    for page in PAGES:
        prose = FENCED.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())
        for found in pattern.finditer(prose):
            yield Command(Block(page, prose.count("\n", 0, found.start()) + 1, "", found[1]), found[1])
