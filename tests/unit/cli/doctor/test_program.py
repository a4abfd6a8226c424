"""Programs of the host are run with a clean voice, and end with the check that asks them."""

import asyncio
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from cortex.cli.doctor.finding import Skip
from cortex.cli.doctor.program import Programs, Said


def programs(folder: Path, **scripts: str) -> Programs:
    for name, body in scripts.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    return Programs({"PATH": f"{folder}:{os.environ['PATH']}"})


def test_what_a_program_says_is_told_with_its_code(tmp_path: Path) -> None:
    made = programs(tmp_path, teller='echo "$1 in $LC_ALL"; echo no >&2; exit 3')
    assert asyncio.run(made.run("teller", "word")) == Said(3, "word in C\n", "no\n")


@pytest.mark.parametrize("env", [{"PATH": "/nowhere"}, {"PATH": ""}])
def test_one_that_is_not_there_is_a_reason_to_skip(env: Mapping[str, str]) -> None:
    with pytest.raises(Skip, match="teller is not installed"):
        asyncio.run(Programs(env).run("teller"))


def test_one_that_is_no_program_is_a_reason_to_skip(tmp_path: Path) -> None:
    made = programs(tmp_path)
    (tmp_path / "teller").write_bytes(b"\x7fELF")
    (tmp_path / "teller").chmod(0o755)
    with pytest.raises(Skip, match="cannot be started"):
        asyncio.run(made.run("teller"))


def test_one_that_does_not_end_is_ended_with_the_check_and_what_it_has_started(tmp_path: Path) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    made = programs(tmp_path, sleeper=f"sleep 1000 & echo $! > {pipe}; wait")

    async def run() -> int:
        asking = asyncio.get_running_loop().create_task(made.run("sleeper"))
        child = os.pidfd_open(int(await asyncio.to_thread(pipe.read_text)))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return child

    child = asyncio.run(run())
    assert select.select([child], [], [], 30.0)[0] == [child]
    os.close(child)


def test_one_that_cannot_be_killed_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program is that hangs in a driver."""
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    made = programs(tmp_path, sleeper=f"echo $$ > {pipe}; exec sleep 1000")
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", lambda *_: None)

    async def run() -> int:
        asking = asyncio.get_running_loop().create_task(made.run("sleeper"))
        pid = int(await asyncio.to_thread(pipe.read_text))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return pid

    kill(asyncio.run(run()), signal.SIGKILL)
