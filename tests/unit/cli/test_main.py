"""A daemon starts without what only the commands need."""

import os
import subprocess
import sys

WATCH = "import sys; from cortex.cli import main; sys.argv = ['cortex', *sys.argv[1:]]\n"
WATCH += "try:\n    main.main()\nfinally:\n    print(sorted({'typer', 'rich', 'click'} & set(sys.modules)))"


def loaded(*argv: str) -> str:
    done = subprocess.run([sys.executable, "-c", WATCH, *argv], capture_output=True, text=True, env=os.environ)
    return done.stdout.splitlines()[-1]


def test_serve_loads_neither_typer_nor_rich() -> None:
    assert loaded("serve", "--config", "/no/such/file") == "[]"


def test_the_other_commands_do() -> None:
    assert "typer" in loaded("version")
