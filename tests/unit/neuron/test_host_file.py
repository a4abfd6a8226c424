"""Small files of the host: what they hold, and nothing when they cannot be read."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.host_file import read_kib_fields, read_line, read_number, read_text


def test_a_file_that_cannot_be_read_holds_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert (read_text(gone), read_line(gone), read_number(gone), read_kib_fields(gone)) == ("", "", None, {})


@pytest.mark.parametrize(("text", "number"), [("12\n", 12), ("-1\n", -1), ("max\n", None), ("", None), ("1.5", None)])
def test_a_number_is_the_whole_file(tmp_path: Path, text: str, number: int | None) -> None:
    assert read_number(plant(tmp_path, {"file": text}) / "file") == number


def test_fields_are_those_in_kib(tmp_path: Path) -> None:
    file = plant(tmp_path, {"file": "MemTotal:   12 kB\nHugePages_Total:   3\nMemFree: 4 kB\n"}) / "file"
    assert read_kib_fields(file) == {"MemTotal": 12, "MemFree": 4}


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    assert read_line(plant(tmp_path, {"file": b" \xff \n"}) / "file") == "\ufffd"
