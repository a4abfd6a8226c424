"""The manual says what the commands and the reference say, and can be read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.arch.source import ROOT

from cortex.cli.command import app

MAN = ROOT / "packaging" / "man"
PAGES = sorted(path for path in MAN.iterdir() if path.suffix[1:].isdigit())


def test_the_pages_are_what_their_program_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(MAN / "build.py"), str(tmp_path)], check=True, timeout=100)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in PAGES} == written, "run python packaging/man/build.py"


def test_every_command_is_in_the_manual() -> None:
    page = (MAN / "cortex.1").read_text()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for words in [f"{name} {below}" for below in getattr(command, "commands", ())] or [name]:
            assert f'.SS "cortex {words}"\n' in page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_reader_of_manuals_finds_nothing_wrong(path: Path) -> None:
    if shutil.which("mandoc") is None:
        words = "mandoc is not here (package mandoc)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("", 0)
