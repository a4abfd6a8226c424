"""An error of ours becomes one line per sentence and an exit code; any other is a defect and stays a traceback."""

import json
import logging
import subprocess
import sys

import pytest

from cortex.cli.failure import FAILED, MISUSED, told
from cortex.contract.error import ConfigError
from cortex.kit.log import JsonFormatter


def test_the_message_goes_to_standard_error_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, told("cortex check"):
        raise ConfigError("first\nsecond")
    assert ended.value.code == MISUSED
    assert capsys.readouterr() == ("", "cortex check: first\ncortex check: second\n")


def test_a_log_of_json_has_the_message_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(SystemExit), told("cortex serve"):
            raise ConfigError("first\nsecond")
    finally:
        logging.getLogger().removeHandler(handler)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["level"], said["message"]) == ("error", "cortex serve: first\nsecond")


def test_the_exit_code_can_be_chosen() -> None:
    with pytest.raises(SystemExit) as ended, told("cortex status", FAILED):
        raise ConfigError("no")
    assert ended.value.code == FAILED


@pytest.mark.parametrize("argv", [["check"], ["version"], ["--version"]])
def test_a_disk_that_is_full_is_one_line(argv: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cortex", *argv], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (FAILED, f"cortex {argv[0]}: standard output: No space left on device\n")


def test_another_error_of_the_system_is_a_defect() -> None:
    with pytest.raises(FileNotFoundError), told("cortex"):
        open("/no/such/file").close()


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), told("cortex"):
        raise ZeroDivisionError
