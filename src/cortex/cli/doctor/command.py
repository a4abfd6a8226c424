"""What both ``doctor`` commands do: choose checks, make them, show what they have found, and end with its code."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from cortex.cli.doctor.examination import DEADLINE_S, Check, examine, selected
from cortex.cli.doctor.finding import Finding, exit_code
from cortex.cli.doctor.report import as_json, show
from cortex.cli.json_output import print_json
from cortex.contract.error import ConfigError

SHORTEST_S, LONGEST_S = 0.1, 3600.0


class Wish(NamedTuple):
    """What the command line asks for. ``only`` and ``skip``: ids or subjects."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    as_json: bool = False
    deadline_s: float = DEADLINE_S


@contextmanager
def silence() -> Iterator[None]:
    """Keep what is asked from logging its troubles: they are findings."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


async def made(checks: Sequence[Check], wish: Wish) -> list[Finding]:
    """Make those checks that are wished for. Raises: ConfigError for a word that is no check, or no deadline."""
    if not SHORTEST_S <= wish.deadline_s <= LONGEST_S:
        raise ConfigError(f"--deadline: expected {SHORTEST_S:g} to {LONGEST_S:g} seconds, got {wish.deadline_s:g}")
    return await examine(selected(checks, wish.only, wish.skip), wish.deadline_s)


def told(daemon: str, findings: Sequence[Finding], wish: Wish) -> int:
    """Print what was found; return the exit code."""
    if wish.as_json:
        print_json(as_json(daemon, findings))
    else:
        show(findings)
    return exit_code(findings)
