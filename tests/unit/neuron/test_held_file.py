"""What was held outlives a process; what was not held is not waited for, and what cannot be read is."""

from pathlib import Path

import pytest

from cortex.neuron.held_file import NAME, HeldFile
from cortex.neuron.state_dir import StateDir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def test_what_was_held_is_known_to_the_next_process_and_nothing_else_is(state: StateDir) -> None:
    first = HeldFile(state)
    first.note({3}, {3, 4})
    assert not first.was_held(3), "the holders of this process are known"
    following = HeldFile(state)
    assert (following.was_held(3), following.was_held(4)) == (True, False)
    state.close()


def test_a_generation_is_written_down_once_and_only_while_it_serves(state: StateDir) -> None:
    file = HeldFile(state)
    file.note({1}, {1})
    before = (state.path / NAME).stat().st_ino
    file.note({1}, {1})
    file.note(set(), {1})
    assert (state.path / NAME).stat().st_ino == before
    file.note({2}, {2})
    assert state.read_file(NAME) == b"[2]"
    state.close()


@pytest.mark.parametrize("content", [b"", b"{", b'["1"]', b"\xff"])
def test_a_file_that_cannot_be_read_may_have_named_every_engine(state: StateDir, content: bytes) -> None:
    state.write_file(NAME, content)
    assert HeldFile(state).was_held(7)
    state.close()


def test_a_full_disk_keeps_nobody_from_holding(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_name: str, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    file = HeldFile(state)
    monkeypatch.setattr(state, "write_file", full)
    file.note({1}, {1})
    assert state.read_file(NAME) is None
    state.close()
