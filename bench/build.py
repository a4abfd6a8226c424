"""Compiles the upstream and the load client into ``bench/build`` when their sources are newer."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

BENCH = Path(__file__).parent
BUILD = BENCH / "build"
NATIVE = BENCH / "native"

FLAGS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror")


class Programs(NamedTuple):
    """Where the two programs are."""

    upstream: Path
    client: Path


def build() -> Programs:
    """Compile what is out of date; without a compiler there is no benchmark."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("bench: needs a C compiler (Debian: gcc and libc6-dev; Fedora: gcc)")
    BUILD.mkdir(exist_ok=True)
    upstream = _compile(compiler, "upstream", ["upstream.c"])
    client = _compile(compiler, "client", ["client.c", "exchange.c", "reply.c", "plan.c", "sample.c"])
    return Programs(upstream, client)


def _compile(compiler: str, name: str, sources: list[str]) -> Path:
    program = BUILD / name
    newest = max(path.stat().st_mtime for path in NATIVE.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        argv = [compiler, *FLAGS, "-o", program, *(NATIVE / source for source in sources), "-lm"]
        subprocess.run([str(part) for part in argv], check=True)
    return program
