"""What a neuron remembers: generations never come again, records survive a restart, logs are kept few."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.not_json import ENDLESS

from cortex.contract.error import ConfigError
from cortex.contract.instance import LoadRequest
from cortex.neuron.state_dir import LOGS_PER_MODEL, Handle, Record, StateDir, numbers_in, unwritable

MODEL = "Qwen/Qwen3-8B"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDir]:
    opened = StateDir(tmp_path / "deep" / "state")
    yield opened
    opened.close()


@contextlib.contextmanager
def reopened(state: StateDir) -> Iterator[StateDir]:
    """Open the directory as the next neuron does."""
    state.close()
    with contextlib.closing(StateDir(state.path)) as after:
        yield after


def a_record(generation: int, model_id: str = MODEL) -> Record:
    return Record(
        model_id=model_id,
        harness="llamacpp",
        generation=generation,
        nonce=f"n{generation}",
        devices=(0, 1),
        need_mb=19000,
        is_estimate=True,
        parallel=4,
        request=LoadRequest(model_id=model_id, harness="llamacpp", args=("--jinja",)),
        handle=Handle(pid=4711, start_ticks=99, port=8100, url="http://127.0.0.1:8100/i/n", engine_model=model_id),
    )


def test_a_second_neuron_is_told_that_the_directory_is_taken(state: StateDir) -> None:
    with pytest.raises(ConfigError, match="is in use by another neuron: stop that one, or set another `state_dir`"):
        StateDir(state.path)


def test_a_closed_directory_is_free_and_closing_twice_is_nothing(state: StateDir) -> None:
    state.close()
    with reopened(state) as after:
        assert after.records() == ()


def test_a_child_process_does_not_keep_the_lock(state: StateDir) -> None:
    with (state.path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not any(os.get_inheritable(int(fd)) for fd in os.listdir("/proc/self/fd") if leads_to_lock(fd))


def leads_to_lock(descriptor: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").endswith("state/lock")
    except OSError:
        return False


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state_dir .*file/state: Not a directory; set `state_dir`"):
        StateDir(tmp_path / "file" / "state")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "/var/lib/x"), "/var/lib/x: Permission denied"),
    ],
)
def test_what_cannot_be_written_down_is_told_with_its_place_where_that_is_known(error: OSError, words: str) -> None:
    assert unwritable(error).message == f"the state directory cannot be written: {words}"


def test_generations_grow_over_restarts(state: StateDir) -> None:
    before = [state.next_generation(), state.next_generation()]
    with reopened(state) as after:
        assert [*before, after.next_generation()] == [1, 2, 3]


@pytest.mark.parametrize("text", [None, "", "seven"], ids=["lost", "empty", "garbage"])
@pytest.mark.parametrize("trace", ["record", "put aside", "log", "old log"])
def test_a_lost_counter_goes_on_above_everything_that_tells_of_generations(
    state: StateDir, text: str | None, trace: str
) -> None:
    log = state.log_path(MODEL, 41)
    if trace == "record":
        state.write_record(a_record(41))
    elif trace == "put aside":
        (state.path / "engine" / "41.unreadable").write_text("")
    else:
        (log if trace == "log" else log.with_name(log.name + ".old")).write_text("")
    if text is not None:
        (state.path / "generation").write_text(text)
    assert state.next_generation() == 42


def test_a_record_is_found_again_as_it_was_written(state: StateDir) -> None:
    state.write_record(a_record(7))
    with reopened(state) as after:
        assert after.records() == (a_record(7),)


def test_records_come_oldest_first_and_the_newest_of_a_generation_counts(state: StateDir) -> None:
    for generation in (10, 9, 100):
        state.write_record(a_record(generation, "old"))
        state.write_record(a_record(generation))
    assert state.records() == (a_record(9), a_record(10), a_record(100))


def test_the_numbers_of_devices_are_known_from_records_by_uuid() -> None:
    one = msgspec.structs.replace(a_record(1), devices=(0, 2), device_uuids=("GPU-a", "GPU-b"))
    two = msgspec.structs.replace(a_record(2), devices=(3,), device_uuids=("",))
    assert numbers_in((one, two, a_record(3))) == {"GPU-a": 0, "GPU-b": 2}


def test_a_removed_record_is_gone_and_a_second_removal_is_nothing(state: StateDir) -> None:
    state.write_record(a_record(7))
    state.remove_record(7)
    state.remove_record(7)
    assert state.records() == ()


def test_what_is_written_down_is_for_nobody_else(state: StateDir) -> None:
    state.write_record(a_record(1))
    state.write_file("counts", b"1")
    for file in (state.path / "engine" / "1.json", state.path / "counts"):
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"model_id": 1}', b"\xff", b'{"generation": 5}', b'{"model_id": "\xff"}', ENDLESS]
)
def test_a_record_that_cannot_be_read_is_put_aside_once(
    state: StateDir, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    state.write_record(a_record(6))
    file = state.path / "engine" / "5.json"
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [state.records(), state.records()] == [(a_record(6),)] * 2
    assert len(caplog.messages) == 1
    assert file.with_suffix(".unreadable").read_bytes() == content


def test_a_record_half_written_when_the_power_failed_is_none(state: StateDir) -> None:
    (state.path / "engine" / ".8.json.new").write_text('{"model_id"')
    assert state.records() == ()


def test_a_write_that_fails_leaves_the_record_as_it_was(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write_record(a_record(7, "old"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        state.write_record(a_record(7))
    assert state.records() == (a_record(7, "old"),)


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        (MODEL, "Qwen%2FQwen3-8B@3.log"),
        ("../../etc/x", "..%2F..%2Fetc%2Fx@3.log"),
        ("a@1.log", "a%401.log@3.log"),
        ("é [x]*", "%C3%A9%20%5Bx%5D%2A@3.log"),
    ],
)
def test_a_log_is_named_by_model_and_generation_and_stays_in_its_folder(
    state: StateDir, model_id: str, name: str
) -> None:
    path = state.log_path(model_id, 3)
    assert (path.parent, path.name) == (state.path / "log", name)


@pytest.mark.parametrize("model_id", [MODEL, "a[bc]*?"])
def test_of_a_models_logs_the_last_few_are_kept_and_of_others_all(state: StateDir, model_id: str) -> None:
    kept = [state.log_path(model_id, generation) for generation in (10, 11, 100)[-LOGS_PER_MODEL:]]
    others = [state.log_path(model_id + "x", 1), state.log_path("x", 1), state.path / "log" / "notes.txt"]
    gone = [state.log_path(model_id, generation) for generation in (9, 2)]
    old = [path.with_name(path.name + ".old") for path in (gone[0], kept[0])]
    for path in (*kept, *others, *gone, *old):
        path.write_text("")
    state.prune_logs(model_id)
    assert set((state.path / "log").iterdir()) == {*kept, *others, old[1]}
