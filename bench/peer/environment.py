"""The peers' own Python environment, ``bench/.venv``: made and filled on first use, never mixed with cortex' own."""

import os
import subprocess
import sys
from pathlib import Path

from bench.build import BENCH
from bench.peer.interface import UnavailableError

VENV = BENCH / ".venv"
PYTHON = VENV / "bin" / "python"

_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def install(package: str, extra: str = "") -> str:
    """Install a package unless it is there; return its version. Raises: UnavailableError with pip's reason."""
    if not PYTHON.exists():
        _run([sys.executable, "-m", "venv", str(VENV)], "could not make bench/.venv")
    version = _version(package)
    if version is None:
        print(f"installing {package} into bench/.venv (once)", flush=True)
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, f"{package}{extra}"], f"could not install {package}")
        version = _version(package)
    if version is None:
        raise UnavailableError(f"{package} was installed and is not there")
    return version


def _version(package: str) -> str | None:
    done = subprocess.run([PYTHON, "-c", _VERSION, package], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(argv: list[str], failure: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | {"PIP_NO_INPUT": "1"})
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.startswith("ERROR")]
        raise UnavailableError(f"{failure}: {' '.join(lines)[:300] or f'exit code {done.returncode}'}")


def program(name: str) -> Path:
    return VENV / "bin" / name
