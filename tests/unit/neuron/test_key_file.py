"""A key from a file: how it is written down, and that it can be changed."""

import logging
from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.neuron.key_file import KeyFile

WHERE = "harnesses: 'lab' of kind openai"


def test_the_key_is_the_files_only_word(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  sk-abc_1\n\n")
    assert KeyFile(file, WHERE).read() == "sk-abc_1"


def test_a_key_that_was_changed_is_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    key = KeyFile(file, WHERE)
    file.write_text("new")
    assert key.read() == "new"


def test_while_the_file_has_none_the_last_one_is_used_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    key = KeyFile(file, WHERE)
    with caplog.at_level(logging.WARNING):
        file.unlink()
        assert [key.read(), key.read()] == ["old", "old"]
        file.write_text("new")
        assert key.read() == "new"
        file.write_text("")
        assert key.read() == "new"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{WHERE}: key_file {file}: cannot be read: No such file or directory; the last key is used on",
        f"{WHERE}: key_file {file}: expected a key, the file is empty; the last key is used on",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\n", "expected a key, the file is empty"),
        (b"two words", "expected one key without spaces in it"),
        (b"a\r\nX-Evil: 1", "expected one key without spaces in it"),
        ("schl\u00fcssel".encode(), "expected one key without spaces in it"),
        (b"\xff", "cannot be read: "),
    ],
    ids=["missing", "empty", "two words", "a header", "not ASCII", "no text"],
)
def test_a_file_without_a_key_is_a_mistake_in_the_configuration(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        KeyFile(file, WHERE)
    assert refusal.value.message.startswith(f"{WHERE}: key_file {file}: {words}")
    assert "Evil" not in refusal.value.message
