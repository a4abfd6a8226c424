"""What is written on a terminal: only what has changed, and in the end what gives it back."""

import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest

from cortex.cli.top.line import Span
from cortex.cli.top.terminal import ENTER, LEAVE, Terminal, can_paint

SIZE = (20, 3)


class Stream:
    """A standard stream on a pty."""

    def __init__(self, fd: int, encoding: str = "utf-8") -> None:
        self._fd = fd
        self.encoding = encoding

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    mode = termios.tcgetattr(slave)
    mode[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    yield master, slave
    os.close(master)
    os.close(slave)


def a_terminal(monkeypatch: pytest.MonkeyPatch, slave: int, encoding: str = "utf-8", **env: str) -> Terminal:
    monkeypatch.setattr(sys, "stdin", Stream(slave))
    monkeypatch.setattr(sys, "stdout", Stream(slave, encoding))
    return Terminal(env)


def written(master: int) -> str:
    return os.read(master, 65536).decode(errors="replace")


def test_only_lines_that_have_changed_are_written(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch, ends[1])
    terminal.paint([(Span("a"),), (Span("b", "red"),), ()], SIZE)
    first = written(ends[0])
    assert first.startswith("\x1b[2J")
    assert "\x1b[2;1H\x1b[0;31mb\x1b[0m\x1b[K" in first
    terminal.paint([(Span("a"),), (Span("c"),), ()], SIZE)
    assert written(ends[0]) == "\x1b[2;1H\x1b[0mc\x1b[0m\x1b[K"
    terminal.paint([(Span("a"),), (Span("c"),), ()], (10, 3))  # of another size: all of it
    assert written(ends[0]).startswith("\x1b[2J\x1b[1;1H")


def test_without_colours_words_stay_bold(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch, ends[1], NO_COLOR="1")
    terminal.paint([(Span("a", "red"), Span("b", "bold"))], SIZE)
    assert "\x1b[0ma\x1b[0;1mb" in written(ends[0])


def test_a_terminal_that_is_no_utf_8_gets_other_signs(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch, ends[1], encoding="ascii")
    terminal.paint([(Span("█▓▒░…漢"),)], SIZE)
    assert "#%+.~?" in written(ends[0])


def test_it_is_given_back_after_an_error(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch, ends[1])
    before = termios.tcgetattr(ends[1])

    def fail() -> None:
        with terminal.taken():
            assert not termios.tcgetattr(ends[1])[3] & termios.ECHO
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    said = written(ends[0])
    while not said.endswith(LEAVE):  # it comes in pieces
        said += written(ends[0])
    assert said == ENTER + LEAVE
    assert termios.tcgetattr(ends[1]) == before


def test_what_cannot_be_painted_on_is_known(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    a_terminal(monkeypatch, ends[1])
    assert [can_paint({"TERM": name}) for name in ("xterm", "dumb", "")] == [True, False, False]
    assert not can_paint({})
