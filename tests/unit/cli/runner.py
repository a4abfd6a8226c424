"""Runs commands with standard output by itself, with whichever click there is."""

import inspect

from typer.testing import CliRunner


def apart() -> CliRunner:
    """Return a runner whose results have ``stdout`` without what went to standard error; click 8.1 has to be told."""
    told = "mix_stderr" in inspect.signature(CliRunner.__init__).parameters
    return CliRunner(mix_stderr=False) if told else CliRunner()  # type: ignore[call-arg]
