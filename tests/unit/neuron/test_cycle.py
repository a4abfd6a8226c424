"""Unloads are counted by harness, and the counts outlive a neuron."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex.neuron.cycle import FILE, CycleBook, Cycles
from cortex.neuron.state_dir import StateDir


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDir]:
    directory = StateDir(tmp_path)
    yield directory
    directory.close()


def test_unloads_are_counted_by_harness(state: StateDir) -> None:
    book = CycleBook(["a", "b"], state)
    book.count("a", is_memory_back=True)
    book.count("a", is_memory_back=False)
    assert (book.of("a"), book.of("b")) == (Cycles(2, 1), Cycles())


def test_the_next_neuron_counts_on(state: StateDir) -> None:
    CycleBook(["a", "gone"], state).count("a", is_memory_back=False)
    book = CycleBook(["new", "a"], state)
    assert (book.of("a"), book.of("new")) == (Cycles(1, 1), Cycles())


def test_after_a_restart_of_its_engines_a_harness_begins_again(state: StateDir) -> None:
    book = CycleBook(["a", "b"], state)
    book.count("a", is_memory_back=False)
    book.count("b", is_memory_back=True)
    book.reset("a")
    assert (book.of("a"), CycleBook(["a"], state).of("a"), book.of("b")) == (Cycles(), Cycles(), Cycles(1))


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 3}'])
def test_a_file_that_cannot_be_read_begins_again(state: StateDir, content: bytes) -> None:
    (state.path / FILE).write_bytes(content)
    assert CycleBook(["a"], state).of("a") == Cycles()


def test_a_disk_that_cannot_be_written_loses_no_count_of_this_neuron(
    state: StateDir, caplog: pytest.LogCaptureFixture
) -> None:
    book = CycleBook(["a"], state)
    (state.path / f".{FILE}.new").mkdir()
    book.count("a", is_memory_back=True)
    assert book.of("a") == Cycles(1)
    assert "cannot be written down" in caplog.text
