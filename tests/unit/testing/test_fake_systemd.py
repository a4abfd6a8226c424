"""The fake systemd starts and stops programs, and says what the real one says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortex.neuron.process.child import start_ticks
from cortex.testing.fake_systemd import FakeSystemd

UNIT = "a.service"
STAYS = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


def ask(systemd: FakeSystemd, program: str, *args: str) -> tuple[int, str]:
    done = subprocess.run([program, *args], env=systemd.environment(), capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def show(systemd: FakeSystemd, *properties: str) -> list[str]:
    return ask(systemd, "systemctl", "show", "--property=" + ",".join(properties), UNIT)[1].splitlines()


def test_a_program_is_started_once_and_stopped(tmp_path: Path) -> None:
    with FakeSystemd(tmp_path) as systemd:
        systemd.install(UNIT, STAYS)
        assert systemd.pid(UNIT) == 0
        assert ask(systemd, "systemctl", "start", UNIT) == (0, "")
        pid = systemd.pid(UNIT)
        assert start_ticks(pid)
        ask(systemd, "systemctl", "--no-ask-password", "start", UNIT)
        assert systemd.pid(UNIT) == pid
        assert show(systemd, "ActiveState", "MainPID") == ["ActiveState=active", f"MainPID={pid}"]
        assert ask(systemd, "systemctl", "stop", UNIT) == (0, "")
        assert show(systemd, "ActiveState", "Result", "MainPID") == [
            "ActiveState=inactive",
            "Result=success",
            "MainPID=0",
        ]


def test_what_still_runs_is_ended_when_it_is_closed(tmp_path: Path) -> None:
    with FakeSystemd(tmp_path) as systemd:
        systemd.install(UNIT, STAYS)
        ask(systemd, "systemctl", "start", UNIT)
        pid = systemd.pid(UNIT)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_fails_is_said_to_have_failed_and_its_words_are_kept(tmp_path: Path) -> None:
    with FakeSystemd(tmp_path) as systemd:
        systemd.install(UNIT, ["sh", "-c", "echo one; echo two; exit 3"])
        ask(systemd, "systemctl", "start", UNIT)
        while systemd.pid(UNIT):
            pass
        assert show(systemd, "ActiveState", "Result") == ["ActiveState=failed", "Result=exit-code"]
        assert ask(systemd, "journalctl", "--unit", UNIT, "--lines", "1") == (0, "two")


def test_who_has_no_leave_starts_nothing(tmp_path: Path) -> None:
    with FakeSystemd(tmp_path) as systemd:
        systemd.install(UNIT, STAYS, denied="Access denied")
        code, said = ask(systemd, "systemctl", "start", UNIT)
        assert (code, said.splitlines()[0]) == (4, "Failed to start a.service: Access denied")
        assert systemd.pid(UNIT) == 0


def test_a_unit_that_is_not_there(tmp_path: Path) -> None:
    with FakeSystemd(tmp_path) as systemd:
        assert ask(systemd, "systemctl", "restart", UNIT) == (
            5,
            "Failed to restart a.service: Unit a.service not found.",
        )
        assert show(systemd, "LoadState") == ["LoadState=not-found"]
