"""Shows findings: to people by subject, what is wrong with what it means and what to do; to scripts as JSON.

Nothing but printable characters comes out, whatever a node or a process has called itself.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from cortex import __version__
from cortex.cli.doctor.finding import EXIT_CODES, Finding, exit_code
from cortex.cli.table import printable

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}
WIDTH = 28
"""Of the column of ids; the longest one has room."""


def as_json(daemon: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    counts = Counter(finding.result for finding in findings)
    return {
        "daemon": daemon,
        "version": __version__,
        "exit": exit_code(findings),
        "counts": {result: counts[result] for result in EXIT_CODES},
        "findings": [msgspec.structs.asdict(finding) for finding in findings],
    }


def show(findings: Sequence[Finding], console: "Console | None" = None) -> None:
    """Print them, in colours on a terminal."""
    if console is None and not sys.stdout.isatty():
        print("\n".join(lines(findings)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for subject, found in _by_subject(findings):
        drawn.add_row(Text(subject, style="bold"))
        for finding in found:
            colour = COLOURS[finding.result]
            head, *more = _said(finding)
            words = Text(head).append("".join(f"\n{line}" for line in more), style="dim")
            drawn.add_row(Text(f"  {finding.result}", style=colour), Text(finding.id), words)
    (console or Console()).print(drawn)
    (console or Console()).print(Text(summary(findings), style="bold"))


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of the report."""
    for subject, found in _by_subject(findings):
        yield subject
        for finding in found:
            head, *more = _said(finding)
            yield f"  {finding.result:8}{finding.id:{WIDTH}}{head}"
            yield from (f"  {'':{8 + WIDTH}}{line}" for line in more)
    yield summary(findings)


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line: how many of each result."""
    counts = Counter(finding.result for finding in findings)
    return ", ".join(f"{counts[result]} {result}" for result in ("fail", "warn", "ok", "skipped") if counts[result])


def _by_subject(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    for subject, found in groupby(findings, lambda finding: finding.id.partition(".")[0]):
        yield subject, list(found)


def _said(finding: Finding) -> Iterator[str]:
    """Yield what is told of one, line by line."""
    found = [printable(line) for line in finding.found.splitlines()] or [""]
    yield f"{printable(finding.about)}: {found[0]}" if finding.about else found[0]
    yield from found[1:]
    if finding.means:
        yield printable(finding.means)
    for line in finding.do.splitlines():
        yield f"→ {printable(line)}"
