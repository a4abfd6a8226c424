"""The last lines of a file that another process writes, and how it is kept from growing without end."""

import os
from pathlib import Path

import pytest

from cortex.neuron.process.log_tail import size_bytes, tail, trim


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


def test_the_last_lines_are_given_with_the_unfinished_one(log: Path) -> None:
    log.write_text("one\ntwo\nthree\nfour")
    assert tail(log, 2) == ("three", "four")


def test_nothing_is_given_of_a_file_that_is_not_there(log: Path) -> None:
    assert (tail(log), size_bytes(log)) == ((), 0)


def test_of_a_long_file_only_whole_lines_of_its_end_are_read(log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert tail(log, 500, limit_bytes=25) == ("line 998", "line 999")


@pytest.mark.parametrize("end", ["", "\n"])
def test_of_a_line_longer_than_all_that_is_read_the_end_is_given(log: Path, end: str) -> None:
    log.write_text("short\n" + "x" * 500 + end)
    assert tail(log, limit_bytes=100) == ("x" * (100 - len(end)),)


def test_only_what_came_later_is_given(log: Path) -> None:
    log.write_text("an earlier engine\n")
    begin = size_bytes(log)
    assert tail(log, since_byte=begin) == ()
    with log.open("a") as file:
        file.write("this one\n")
    assert tail(log, since_byte=begin) == ("this one",)


def test_a_file_that_was_cut_meanwhile_is_read_from_its_new_start(log: Path) -> None:
    log.write_text("after the cut\n")
    assert tail(log, since_byte=10_000) == ("after the cut",)


def test_colours_and_bytes_that_are_no_text_do_no_harm(log: Path) -> None:
    log.write_bytes(b"\x1b[31;1merror\x1b[0m \xff\xc3\r\nnext \xe2\x82")
    assert tail(log) == ("error \ufffd\ufffd", "next \ufffd")


def test_a_small_file_is_not_trimmed(log: Path) -> None:
    log.write_bytes(b"x" * 100)
    assert not trim(log, limit_bytes=100)
    assert size_bytes(log) == 100


def test_a_large_file_is_cut_and_its_end_kept_beside_it(log: Path) -> None:
    log.write_bytes(b"a" * 200 + b"b" * 50)
    assert trim(log, limit_bytes=100, kept_bytes=50)
    assert (size_bytes(log), log.with_name("engine.log.old").read_bytes()) == (0, b"b" * 50)


def test_its_writer_goes_on_at_the_new_end(log: Path) -> None:
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(writer, b"x" * 200)
        assert trim(log, limit_bytes=100, kept_bytes=50)
        os.write(writer, b"more\n")
    finally:
        os.close(writer)
    assert log.read_bytes() == b"more\n"


def test_a_file_that_is_gone_is_not_trimmed(log: Path) -> None:
    assert not trim(log)
