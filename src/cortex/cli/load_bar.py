"""A bar for a load that is waited for, on standard error of a terminal; elsewhere nothing.

How far it is, a node tells while it fetches the model's file or its engine says so; else the bar only shows that time
goes by. Bytes are not told. A bar is no reason to fail: whatever goes wrong with asking is left to the load itself.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

from cortex.cli.client import Server
from cortex.cli.table import printable
from cortex.contract.error import CortexError

LOOK_S = 0.5
INTERRUPTED = 130


class Far(NamedTuple):
    """How far a load is. ``fraction`` None: nobody knows."""

    words: str
    fraction: float | None = None


Tell = Callable[[Far], None]


@contextmanager
def bar(model: str, *, as_json: bool = False) -> Iterator[Tell | None]:
    """Yield what shows how far it is; None where nobody would see it."""
    is_seen = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if as_json or not is_seen:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    words = TextColumn("{task.description}", markup=False)
    percent = TextColumn("{task.fields[percent]}", markup=False)
    columns = (words, BarColumn(), percent, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as shown:
        task = shown.add_task(f"{printable(model)}: asking", total=None, percent="")

        def tell(far: Far) -> None:
            total = None if far.fraction is None else 1.0
            percent = "" if far.fraction is None else f"{far.fraction:.0%}"
            words = f"{printable(model)}: {printable(far.words)}"
            shown.update(task, description=words, total=total, completed=far.fraction or 0.0, percent=percent)

        yield tell


@contextmanager
def watched(gateway: Server, model: str, tell: Tell | None) -> Iterator[None]:
    """Look at a model's load beside a call that waits for it."""
    if tell is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            with suppress(CortexError, KeyError, TypeError):
                tell(far_of(gateway.get(f"/admin/v1/models/{quote(model, safe='')}", holds=("loading",))))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join(2 * LOOK_S)  # no longer: it may wait for an answer, and ends with the process


def far_of(model: Mapping[str, Any]) -> Far:
    """Return how far a load is by what the gateway says of the model: of several loads the furthest."""
    loads = sorted(model["loading"], key=lambda load: -1.0 if load.get("progress") is None else load["progress"])
    if loads:
        return Far(f"loading on {loads[-1]['node']}", loads[-1].get("progress"))
    return Far("loaded" if model.get("status") == "loaded" else "waiting for room, or its turn")


@contextmanager
def going_on(program: str, model: str) -> Iterator[None]:
    """Say at Ctrl-C that the load goes on without whoever waited for it, and end."""
    try:
        yield
    except KeyboardInterrupt:
        words = f"{program}: {printable(model)}: the load goes on; cortex status shows it, cortex unload calls it off"
        print(words, file=sys.stderr)
        sys.exit(INTERRUPTED)
