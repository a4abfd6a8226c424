"""One systemd unit: its state, its start, its journal, and what is said when systemd says no."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cortex.neuron.process import systemd
from cortex.neuron.process.systemd import SystemdUnit, UnitState
from cortex.neuron.refusal import SystemdRefused
from cortex.testing.fake_systemd import FakeSystemd

UNIT = "mistralrs.service"
WAITS = [
    sys.executable,
    "-c",
    "import sys; print('here I am', flush=True); sys.stdin.read(); import signal; signal.pause()",
]


def play(folder: Path, scenario: Callable[[FakeSystemd, SystemdUnit], Awaitable[None]], **unit: object) -> None:
    async def run() -> None:
        with FakeSystemd(folder) as fake:
            fake.install(UNIT, WAITS, **unit)  # type: ignore[arg-type]
            await scenario(fake, SystemdUnit(UNIT, fake.environment()))

    asyncio.run(run())


def test_a_unit_is_started_and_restarted(tmp_path: Path) -> None:
    async def scenario(fake: FakeSystemd, unit: SystemdUnit) -> None:
        assert await unit.state() == UnitState("loaded", "inactive", "dead", "success", 0, {"A": "b"})
        await unit.start()
        first = fake.pid(UNIT)
        assert await unit.state() == UnitState("loaded", "active", "running", "success", first, {"A": "b"})
        await unit.start()
        assert fake.pid(UNIT) == first, "it runs already"
        await unit.restart()
        assert fake.pid(UNIT) not in (0, first)

    play(tmp_path, scenario, env={"A": "b"})


def test_files_that_a_unit_needs_are_known_and_those_that_it_can_do_without_are_not(tmp_path: Path) -> None:
    says = """#!/bin/sh
printf 'LoadState=loaded\\nEnvironmentFiles=/etc/a b.env (ignore_errors=no)\\n'
printf 'EnvironmentFiles=/etc/c.env (ignore_errors=yes)\\nEnvironmentFiles=/etc/d.env (ignore_errors=no)\\n'
"""
    (tmp_path / "systemctl").write_text(says)
    (tmp_path / "systemctl").chmod(0o755)
    state = asyncio.run(SystemdUnit(UNIT, {"PATH": f"{tmp_path}:/usr/bin:/bin"}).state())
    assert state is not None
    assert state.needed_files == ("/etc/a b.env", "/etc/d.env")


def test_a_file_that_is_surely_not_there_is_missed_and_one_that_may_be_is_not(tmp_path: Path) -> None:
    plain, gone = tmp_path / "plain", str(tmp_path / "gone.env")
    plain.touch()
    beyond = str(plain / "hidden.env")  # cannot be looked at, like one in a folder of others
    assert asyncio.run(systemd.missing_file(UnitState(needed_files=(str(plain), beyond)))) is None
    assert asyncio.run(systemd.missing_file(UnitState(needed_files=(str(plain), beyond, gone)))) == gone


@pytest.mark.parametrize("words", ["Access denied", "Interactive authentication required."])
def test_a_user_without_leave_is_told_of_the_polkit_rule(tmp_path: Path, words: str) -> None:
    async def scenario(_: FakeSystemd, unit: SystemdUnit) -> None:
        with pytest.raises(SystemdRefused) as refusal:
            await unit.start()
        assert refusal.value.message.startswith(f"systemctl start {UNIT}: Failed to start {UNIT}: {words}")
        assert "polkit rule" in refusal.value.message
        state = await unit.state()
        assert state is not None
        assert state.main_pid == 0

    play(tmp_path, scenario, denied=words)


def test_a_unit_that_is_not_there_is_no_matter_of_leave(tmp_path: Path) -> None:
    async def scenario(fake: FakeSystemd, _: SystemdUnit) -> None:
        other = SystemdUnit("other.service", fake.environment())
        state = await other.state()
        assert state is not None
        assert state.load == "not-found"
        with pytest.raises(SystemdRefused, match=r"Unit other\.service not found") as refusal:
            await other.restart()
        assert "polkit" not in refusal.value.message

    play(tmp_path, scenario)


def test_a_unit_that_has_failed_says_so_and_its_journal_why(tmp_path: Path) -> None:
    async def run() -> None:
        with FakeSystemd(tmp_path) as fake:
            fake.install(UNIT, ["sh", "-c", "echo no weights >&2; exit 3"])
            unit = SystemdUnit(UNIT, fake.environment())
            await unit.start()
            while (state := await unit.state()) is None or state.active == "active":
                pass
            assert (state.active, state.result) == ("failed", "exit-code")
            assert await unit.journal() == ("no weights",)

    asyncio.run(run())


def test_what_a_unit_writes_is_written_to_a_file_too(tmp_path: Path) -> None:
    async def scenario(fake: FakeSystemd, unit: SystemdUnit) -> None:
        log = tmp_path / "model.log"
        await unit.start()
        scribe = unit.follow(log)
        assert scribe is not None
        while not log.exists() or log.read_text() != "here I am\n":
            await asyncio.to_thread(lambda: None)
        await unit.restart()
        while log.read_text() != "here I am\n" * 2:
            await asyncio.to_thread(lambda: None)
        assert await scribe.stop(5)

    play(tmp_path / "systemd", scenario)


def test_a_host_without_systemd_cannot_be_asked() -> None:
    async def run() -> None:
        unit = SystemdUnit(UNIT, {"PATH": "/nowhere"})
        assert await unit.state() is None
        assert await unit.journal() == ()
        with pytest.raises(SystemdRefused, match=r"systemctl start mistralrs\.service: No such file or directory"):
            await unit.start()

    asyncio.run(run())


def test_a_systemctl_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "ASK_DEADLINE_S", 0.05)
    script = tmp_path / "systemctl"
    script.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    script.chmod(0o755)

    async def run() -> None:
        unit = SystemdUnit(UNIT, {"PATH": f"{tmp_path}:/usr/bin:/bin"})
        assert await unit.state() is None

    asyncio.run(run())


def test_an_environment_that_cannot_be_read_is_empty() -> None:
    assert systemd._assignments('A=1 "B=two words"') == {"A": "1", "B": "two words"}
    assert systemd._assignments('A="') == {}
