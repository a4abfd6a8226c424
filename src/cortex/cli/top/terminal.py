"""Paints lines on a terminal, only those that have changed, and gives the terminal back as it was, whatever happens.

Every line is put where it belongs, without wrapping: a character that a terminal finds wider than we do spoils nothing
else.
"""

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence

from cortex.cli.top.line import Line

STYLES = {"bold": "1", "dim": "2", "reverse": "7", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
COLOURS = frozenset({"red", "green", "yellow", "cyan"})
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
ASCII = str.maketrans("█▓▒░…·°↑↓←→", "#%+.~|^^v<>")
"""For terminals that are no UTF-8."""


def can_paint(env: Mapping[str, str]) -> bool:
    """Return whether there is a terminal that can be painted on."""
    return sys.stdout.isatty() and env.get("TERM", "dumb") not in ("", "dumb", "unknown")


class Terminal:
    """The terminal of standard output, and the keys of standard input where that is one too."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._out = sys.stdout.fileno()
        self._in = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._encoding = sys.stdout.encoding or "ascii"
        self._is_coloured = not env.get("NO_COLOR")
        self._painted: list[str] = []
        self._size = (0, 0)

    @property
    def keyboard(self) -> int | None:
        """Return the descriptor from which keys are read."""
        return self._in

    def size(self) -> tuple[int, int]:
        """Return columns and rows; 80 by 24 where the terminal does not say."""
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._out)
            if columns > 0 and rows > 0:
                return columns, rows
        return 80, 24

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Have the terminal for oneself."""
        before = termios.tcgetattr(self._in) if self._in is not None else None
        try:
            if self._in is not None:
                tty.setcbreak(self._in)
            self._write(ENTER)
            self._painted = []
            yield
        finally:
            with contextlib.suppress(OSError):  # it may be gone
                self._write(LEAVE)
            if self._in is not None and before is not None:
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(self._in, termios.TCSADRAIN, before)

    def paint(self, lines: Sequence[Line], size: tuple[int, int]) -> None:
        """Show these lines from the top on. Raises: OSError when the terminal is gone."""
        drawn = [self._drawn(line) for line in lines]
        pieces = []
        if size != self._size:
            self._size, self._painted = size, []
            pieces.append("\x1b[2J")
        for row, text in enumerate(drawn):
            if row >= len(self._painted) or self._painted[row] != text:
                pieces.append(f"\x1b[{row + 1};1H{text}\x1b[0m\x1b[K")
        self._painted = drawn
        if pieces:
            self._write("".join(pieces))

    def _drawn(self, line: Line) -> str:
        pieces = []
        for text, style in line:
            code = STYLES.get(style, "") if self._is_coloured or style not in COLOURS else ""
            pieces.append(f"\x1b[0;{code}m{text}" if code else f"\x1b[0m{text}")
        return "".join(pieces)

    def _write(self, text: str) -> None:
        if not self._encoding.lower().replace("-", "").startswith("utf8"):
            text = text.translate(ASCII)
        data = text.encode(self._encoding, "replace")
        while data:
            data = data[os.write(self._out, data) :]
