"""The directory of a local fleet: gone after a good end, kept for its logs after a bad one, swept once it is dead."""

import os
from pathlib import Path

import pytest

from cortex.cli.up.directory import private_directory, sweep
from cortex.kit.clock import SystemClock

LONG_AGO_S = 1_000_000_000


def age(path: Path) -> None:
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def test_it_is_private_and_gone_after_a_good_end(tmp_path: Path) -> None:
    with private_directory(tmp_path, SystemClock()) as home:
        assert home.stat().st_mode & 0o777 == 0o700
        (home / "gateway.log").touch()
    assert not home.exists()


@pytest.mark.parametrize("has_logs", [True, False])
def test_after_a_bad_end_it_is_kept_if_it_holds_logs(tmp_path: Path, has_logs: bool) -> None:
    def fail() -> None:
        with private_directory(tmp_path, SystemClock()) as home:
            if has_logs:
                (home / "gateway.log").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [file.name for home in tmp_path.iterdir() for file in home.glob("*.log")] == ["gateway.log"] * has_logs
    assert len(list(tmp_path.iterdir())) == has_logs


def test_a_dead_fleets_directory_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    dead, lockless, young, other = (tmp_path / name for name in ("cortex-up-1", "cortex-up-2", "cortex-up-3", "mine"))
    for folder in (dead, lockless, young, other):
        folder.mkdir()
    (dead / "lock").touch()
    for folder in (dead, lockless, other):
        age(folder)
    with private_directory(tmp_path, SystemClock()) as living:
        age(living)
        sweep(tmp_path, SystemClock().epoch_s())
        assert sorted(tmp_path.iterdir()) == sorted([living, young, other])
