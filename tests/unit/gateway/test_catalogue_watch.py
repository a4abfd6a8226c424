"""A changed catalogue is read when it stands still, told of once when it cannot be, and never half."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.catalogue_watch import CatalogueWatch, stamp_of
from cortex.testing.virtual_clock import VirtualClock


class Desk:
    """A catalogue's file, and what came of watching it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "models.toml"
        self.write("a")
        self.taken: list[list[str]] = []
        self.reads = 0
        self.clock = VirtualClock()
        self.watch = CatalogueWatch(self.file, self.read, self.take, clock=self.clock, sleep=self.sleep)
        self.steps = 0

    def write(self, *models: str) -> None:
        self.file.write_text("".join(f'[[models]]\nid = "{model}"\nharness = "h"\n' for model in models))

    def read(self) -> Iterable[Profile]:
        self.reads += 1
        return read_catalogue(self.file)

    def take(self, profiles: Iterable[Profile]) -> None:
        self.taken.append([profile.id for profile in profiles])

    async def sleep(self, _seconds: float) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise asyncio.CancelledError

    def look(self, times: int = 2) -> None:
        """Let it look so often."""

        async def run() -> None:
            self.steps = times
            with contextlib.suppress(asyncio.CancelledError):
                await self.watch.run()

        asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_file_that_has_not_changed_is_not_read(desk: Desk) -> None:
    desk.look(5)
    assert desk.reads == 0


def test_a_changed_file_is_read_once_when_it_stands_still(desk: Desk) -> None:
    desk.write("a", "b")
    desk.look(1)
    assert desk.reads == 0
    desk.look(4)
    assert (desk.reads, desk.taken) == (1, [["a", "b"]])


def test_a_file_that_is_being_written_is_left_alone(desk: Desk) -> None:
    for length in range(1, 5):
        desk.write(*"abcde"[:length])
        desk.look(1)
    assert desk.reads == 0
    desk.look(1)
    assert desk.taken == [["a", "b", "c", "d"]]


def test_a_file_put_in_its_place_is_noticed_though_it_is_as_old_and_as_long(desk: Desk) -> None:
    before = desk.file.stat()
    other = desk.file.with_name("other")
    other.write_text(desk.file.read_text().replace('"a"', '"b"'))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(desk.file)
    desk.look()
    assert desk.taken == [["b"]]


def test_a_link_turned_elsewhere_is_noticed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    desk.file.rename(one)
    two.write_text(one.read_text().replace('"a"', '"b"'))
    desk.file.symlink_to(one)
    desk.watch.reload()
    (tmp_path / "link").symlink_to(two)
    (tmp_path / "link").replace(desk.file)
    desk.look()
    assert desk.taken == [["a"], ["b"]]


def test_one_that_cannot_be_used_is_told_once_and_read_when_it_has_changed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.file.write_text("[[models]\n")
    desk.look(6)
    assert (desk.reads, desk.taken) == (1, [])
    assert ["the old one stays" in record.getMessage() for record in caplog.records] == [True]
    desk.write("c")
    desk.look()
    assert desk.taken == [["c"]]


def test_one_that_is_gone_keeps_the_old_catalogue(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.file.unlink()
    desk.look(6)
    assert (desk.reads, desk.taken) == (0, [])
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "models.toml is gone" in caplog.text
    desk.write("a", "d")
    desk.look()
    assert desk.taken == [["a", "d"]]


def test_told_to_it_is_read_at_once_and_a_fault_is_told_every_time(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.watch.reload()
    assert desk.taken == [["a"]]
    desk.file.write_text("nonsense")
    desk.watch.reload()
    desk.watch.reload()
    assert caplog.text.count("the old one stays") == 2
    desk.look(3)
    assert desk.reads == 3


def test_without_a_file_there_is_nothing_to_see() -> None:
    def refuse() -> Iterable[Profile]:
        raise ConfigError("what file?")

    assert stamp_of(None) is None
    assert CatalogueWatch(None, refuse, refuse, clock=VirtualClock())._look() is None  # type: ignore[arg-type]


def told(desk: Desk) -> dict[str, float]:
    return {sample.name: sample.value for metric in desk.watch.collect() for sample in metric.samples}


def test_metrics_tell_whether_the_file_is_in_use_and_since_when(desk: Desk) -> None:
    began_s = desk.clock.epoch_s()
    assert told(desk) == {
        "cortex_catalogue_reload_failures_total": 0,
        "cortex_catalogue_current": 1,
        "cortex_catalogue_loaded_timestamp_seconds": began_s,
    }
    desk.clock.advance(60)
    desk.file.write_text("nonsense")
    desk.look(3)
    assert told(desk) == {
        "cortex_catalogue_reload_failures_total": 1,
        "cortex_catalogue_current": 0,
        "cortex_catalogue_loaded_timestamp_seconds": began_s,
    }
    desk.write("a", "b")
    desk.look(2)
    assert told(desk) == {
        "cortex_catalogue_reload_failures_total": 1,
        "cortex_catalogue_current": 1,
        "cortex_catalogue_loaded_timestamp_seconds": began_s + 60,
    }
