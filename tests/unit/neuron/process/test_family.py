"""Which processes belong to an engine: those of its session, and its descendants."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.process.family import family_of, owner_of

LEADERS = frozenset({7, 9})


@pytest.mark.parametrize(
    ("stat", "owner"),
    [
        ("71 (worker) S 1 7 7 0 -1", 7),
        ("71 (a) b) S 1 71 9 0 -1", 9),
        ("71 (worker) S 7 9 71 0 -1", 9),
        ("71 (worker) S 7 71 71 0 -1", None),
        ("71 (worker", None),
        ("", None),
    ],
    ids=["its session", "a name with parentheses", "its group", "a session of its own", "cut", "gone"],
)
def test_a_process_belongs_to_the_leader_of_its_session_or_group(tmp_path: Path, stat: str, owner: int | None) -> None:
    assert owner_of(71, LEADERS, plant(tmp_path, {"proc/71/stat": stat})) == owner


def test_a_leader_belongs_to_itself_even_when_it_is_gone(tmp_path: Path) -> None:
    assert owner_of(7, LEADERS, tmp_path) == 7


def test_a_real_child_belongs_to_the_leader_of_its_session() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert owner_of(child.pid, frozenset({os.getsid(0)}), Path("/")) == os.getsid(0)
        assert child.pid in family_of(os.getpid(), Path("/"))
    finally:
        child.communicate()


def test_a_family_is_a_process_with_all_its_descendants_each_once(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/7/task/7/children": "71 ",
            "proc/7/task/8/children": "72 71 ",
            "proc/71/task/71/children": "711 ",
            "proc/711/task/711/children": "7 ",
        },
    )
    assert sorted(family_of(7, tmp_path)) == [7, 71, 72, 711]
    assert list(family_of(9, tmp_path)) == [9]


def test_a_process_that_ends_while_it_is_looked_at_has_no_descendants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, {"proc/7/task/7/children": "71 "})

    def ended(path: object = ".") -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr("os.listdir", ended)
    monkeypatch.setattr("os.scandir", ended)
    assert list(family_of(7, tmp_path)) == [7]
