"""What a small program says, and that none is waited for longer than is good."""

import asyncio
import os
from pathlib import Path

from cortex.neuron.process.answer import Answer, answer, ends_well

ENV = {"PATH": os.environ["PATH"], "X": "y"}


def test_a_programs_end_and_both_its_streams_are_told() -> None:
    assert asyncio.run(answer(("sh", "-c", "echo $X; echo z >&2; exit 3"), ENV)) == Answer(3, "y\nz\n")


def test_what_is_no_program_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    for program in ("/no/such", str(tmp_path / "plain")):
        assert asyncio.run(answer((program,), ENV)) == Answer(None, "")


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert asyncio.run(answer(("sh", "-c", f"read -r x <> {tmp_path}/fifo"), ENV, 0.05)) == Answer(None, "")


def test_only_the_code_0_is_a_good_end() -> None:
    assert asyncio.run(ends_well(("true",), ENV))
    assert not asyncio.run(ends_well(("false",), ENV))
    assert not asyncio.run(ends_well(("/no/such",), ENV))
