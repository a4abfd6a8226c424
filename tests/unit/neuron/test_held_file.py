"""What was held outlives a process; what was not held is not waited for, and what cannot be read is."""

from pathlib import Path

import pytest

from cortex.neuron.held_file import ANYBODY, NAME, NOBODY, HeldFile
from cortex.neuron.state_dir import StateDir

A = frozenset({"a"})


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def test_what_was_held_is_known_to_the_next_process_and_nothing_else_is(state: StateDir) -> None:
    first = HeldFile(state)
    first.note({3: A}, {3, 4})
    assert not first.held_before(3), "the holders of this process are known"
    following = HeldFile(state)
    assert (following.held_before(3), following.held_before(4)) == (A, NOBODY)
    state.close()


def test_a_holder_is_written_down_once_and_only_while_it_holds(state: StateDir) -> None:
    file = HeldFile(state)
    file.note({1: A}, {1})
    before = (state.path / NAME).stat().st_ino
    file.note({1: A}, {1})
    assert (state.path / NAME).stat().st_ino == before
    file.note({}, {1})
    assert not HeldFile(state).held_before(1), "it has left"
    file.note({2: A | {"b"}}, {2})
    assert state.read_file(NAME) == b'{"2":["a","b"]}'
    state.close()


def test_the_holders_of_an_engine_that_does_not_serve_yet_are_kept_while_their_leases_may_live(state: StateDir) -> None:
    HeldFile(state).note({1: A, 2: A}, {1, 2})
    file = HeldFile(state)
    file.note({2: A}, {2})
    assert HeldFile(state).held_before(1) == A
    file.note({2: A}, {2}, is_past=True)
    assert not HeldFile(state).held_before(1)
    state.close()


def test_a_file_of_an_earlier_version_names_generations_that_anybody_may_hold(state: StateDir) -> None:
    state.write_file(NAME, b"[7]")
    file = HeldFile(state)
    assert (file.held_before(7), file.held_before(8)) == (ANYBODY, NOBODY)
    state.close()


@pytest.mark.parametrize("content", [b"", b"{", b'["1"]', b"\xff"])
def test_a_file_that_cannot_be_read_may_have_named_every_engine(state: StateDir, content: bytes) -> None:
    state.write_file(NAME, content)
    assert HeldFile(state).held_before(7) == ANYBODY
    state.close()


def test_a_full_disk_keeps_nobody_from_holding(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_name: str, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    file = HeldFile(state)
    monkeypatch.setattr(state, "write_file", full)
    file.note({1: A}, {1})
    assert state.read_file(NAME) is None
    state.close()
