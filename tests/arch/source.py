"""The repository's files as the tests of the house rules look at them."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
UNIT = ROOT / "tests" / "unit"


@cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """Return the repository's own files with one of the suffixes (all without), ignored ones left out."""
    argv = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        paths = [ROOT / name for name in names]
    except (OSError, subprocess.CalledProcessError):  # an unpacked source distribution
        paths = [path for top in ("src", "tests", "docs", "bench") for path in (ROOT / top).rglob("*")]
    return tuple(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))


@cache
def tree(path: Path) -> ast.Module:
    """Return a Python file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def modules(package: str = "cortex") -> tuple[Path, ...]:
    """Return every module below a package of ours, written with dots."""
    folder = SRC.joinpath(*package.split("."))
    return tuple(path for path in files(".py") if path.is_relative_to(folder))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))
