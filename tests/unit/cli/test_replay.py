"""``cortex replay`` is the simulator's program, with the options as they were given."""

import subprocess
import sys

from cortex.cli.replay import command


def test_the_simulator_is_run_with_the_options_as_they_are() -> None:
    assert command(["trace.jsonl", "--json"]) == [
        sys.executable,
        "-m",
        "cortex.testing.replay",
        "trace.jsonl",
        "--json",
    ]


def test_the_command_is_the_program() -> None:
    """Its help is that of the simulator: nothing is said twice."""
    asked = subprocess.run(
        [sys.executable, "-m", "cortex", "replay", "--help"], capture_output=True, text=True, check=True
    )
    assert "--add-node" in asked.stdout
