"""The command that prints the scripts."""

from typer.testing import CliRunner

from cortex.cli.command import app
from cortex.cli.completion import SHELLS, script


def test_the_script_and_nothing_else_is_printed() -> None:
    for shell in SHELLS:
        done = CliRunner().invoke(app, ["completion", shell])
        assert (done.exit_code, done.output) == (0, script(shell))


def test_another_shell_is_a_mistake_that_says_which_there_are() -> None:
    done = CliRunner().invoke(app, ["completion", "tcsh"])
    assert (done.exit_code, "expected one of bash, zsh, fish" in done.output) == (2, True)
