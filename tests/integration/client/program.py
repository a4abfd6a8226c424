"""Clients that are programs of their own: found where they are installed, run without a person and a network."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

LIMIT_S = 60


class Ran(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str


def find_program(name: str, variable: str) -> str:
    """Return the path of a program, by an environment variable or on the PATH; the test is skipped where it is not."""
    found = os.environ.get(variable) or shutil.which(name)
    if not found:
        pytest.skip(f"no {name} here: put it on the PATH, or name it in {variable}")
    return found


def run_program(home: Path, argv: list[str], **variables: str) -> Ran:
    """Run a program to its end with a home of its own; it knows nothing of whoever runs the tests."""
    work = home / "work"
    work.mkdir(parents=True)
    env = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE") if name in os.environ}
    ended = subprocess.run(
        argv,
        cwd=work,
        env={**env, "HOME": str(home), "NO_PROXY": "127.0.0.1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)
