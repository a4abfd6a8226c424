"""What is read again while a process runs can stop it in no way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.fleet_token import fleet_token
from cortex.kit.plain_file import read_plain
from cortex.kit.settings import read_toml
from cortex.kit.trace_setting import read_headers


def test_the_text_of_a_file_is_returned_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("grün\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "link") == "grün\n"


def test_what_is_no_file_is_told_and_nothing_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "Not a file"), (tmp_path, "Is a directory"), ("/dev/zero", "Not a file")):
        with pytest.raises(OSError, match=words):
            read_plain(path)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    "read", [read_toml, lambda path: fleet_token(str(path), {}), lambda path: read_headers(str(path))]
)
def test_nobody_waits_for_a_writer_where_a_pipe_is_in_a_files_place(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"pipe:? cannot be read: Not a file"):
        read(tmp_path / "pipe")
