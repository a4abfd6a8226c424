"""What a check has found: its result, in words what that means, and what to do. Pure; the exit code follows from it.

Ids, results, exit codes and the members of a finding are a contract with scripts: docs/operations/doctor.md.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

Result = Literal["ok", "warn", "fail", "skipped"]

EXIT_CODES: dict[Result, int] = {"ok": 0, "skipped": 0, "warn": 1, "fail": 2}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``about``: which one, where a check looks at several; ``do``: best a command."""

    id: str = ""
    about: str = ""
    result: Result
    found: str
    means: str = ""
    do: str = ""


class Skip(Exception):
    """A check cannot be made, and why. ``do`` says how it could."""

    def __init__(self, why: str, do: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.do = do


def ok(found: str, about: str = "") -> Finding:
    """Nothing is wrong."""
    return Finding(result="ok", found=found, about=about)


def warn(found: str, means: str, do: str, about: str = "") -> Finding:
    """It works, and something about it is hardly meant or will be trouble."""
    return Finding(result="warn", found=found, means=means, do=do, about=about)


def fail(found: str, means: str, do: str, about: str = "") -> Finding:
    """It does not work, or is open to those whom it should not be."""
    return Finding(result="fail", found=found, means=means, do=do, about=about)


def skipped(why: str, about: str = "", do: str = "") -> Finding:
    """It was not looked at, and why."""
    return Finding(result="skipped", found=why, do=do, about=about)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the code of the worst finding: 0 nothing is wrong, 1 something is odd, 2 something is broken."""
    return max((EXIT_CODES[finding.result] for finding in findings), default=0)
