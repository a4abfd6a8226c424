"""A terminal for a command: a pty, and what stands on its screen as far as ``cortex top`` writes it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

LIMIT_S = 60.0
LINE = re.compile(r"\x1b\[(\d+);1H(.*?)\x1b\[0m\x1b\[K", re.DOTALL)
LEAVE = b"\x1b[?25h\x1b[?1049l"


class Screen:
    """One command on a terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int, slave: int) -> None:
        self.process = process
        self.written = b""
        self.settings = termios.tcgetattr(slave)
        self._master = master
        self._slave = slave

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings_now(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def text(self) -> str:
        """Return what stands there."""
        rows: dict[int, str] = {}
        painted = self.written.decode(errors="replace").rpartition("\x1b[2J")[2]
        for row, line in LINE.findall(painted):
            rows[int(row)] = re.sub(r"\x1b\[[\d;]*m", "", line)
        return "\n".join(rows.get(row, "") for row in range(1, max(rows, default=0) + 1))

    def wait_until(self, words: str, *, is_there: bool = True) -> str:
        """Read until a pattern is on the screen, or is not; return the screen."""
        return self._read_until(lambda: bool(re.search(words, self.text())) == is_there, words)

    def wait_until_high(self, rows: int) -> str:
        """Read until the screen has so many lines."""
        return self._read_until(lambda: len(self.text().splitlines()) == rows, f"{rows} lines")

    def wait_until_written(self, data: bytes) -> None:
        self._read_until(lambda: data in self.written, repr(data))

    def wait_until_stopped(self) -> None:
        """Wait until the process stands still; it is not reaped by that."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(LIMIT_S)
        while select.select([self._master], (), (), 0)[0]:
            self.written += os.read(self._master, 65536)
        return code

    def _read_until(self, is_so: Any, words: str) -> str:
        end_s = time.monotonic() + LIMIT_S
        while not is_so():
            left_s = end_s - time.monotonic()
            ready, _, _ = select.select([self._master], (), (), max(0.0, left_s))
            assert ready, f"{words} did not come; the screen:\n{self.text()}"
            self.written += os.read(self._master, 65536)
        return self.text()


@contextlib.contextmanager
def on_screen(*argv: str, columns: int = 100, rows: int = 30, **env: str) -> Iterator[Screen]:
    """Run a command of ``cortex`` on a terminal; whatever the test does, it is not left running."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_") and key != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cortex", *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=clean | {"TERM": "xterm", "PYTHONUTF8": "1"} | env,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that it is told of a new size, and of Ctrl-C
    )
    try:
        yield Screen(process, master, slave)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(slave)
        os.close(master)
