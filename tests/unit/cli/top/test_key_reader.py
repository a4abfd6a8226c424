"""Keys from bytes, however they are cut."""

import pytest

from cortex.cli.top.key_reader import KeyReader

TYPED = "a\x1b[A\x1bOB\x1b[5~é\r\x7f\x1b[1;5D\x1b[Zq".encode()
KEYS = ["a", "up", "down", "page-up", "é", "enter", "backspace", "back-tab", "q"]


def test_keys_are_named_and_unknown_sequences_are_nothing() -> None:
    assert KeyReader().feed(TYPED) == KEYS


def test_they_are_the_same_byte_by_byte() -> None:
    reader = KeyReader()
    assert [key for byte in TYPED for key in reader.feed(bytes([byte]))] == KEYS


@pytest.mark.parametrize(("after", "keys"), [(b"", []), (b"\x1b", ["escape"]), (b"x", ["escape", "x"])])
def test_an_escape_by_itself_is_a_key_once_nothing_follows(after: bytes, keys: list[str]) -> None:
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.is_waiting
    assert reader.feed(after) == keys
    assert reader.settle() == (["escape"] if after in (b"", b"\x1b") else [])


def test_half_a_sequence_is_no_escape() -> None:
    reader = KeyReader()
    assert reader.feed(b"\x1b[") == []
    assert reader.settle() == []
