"""Sets up logging for a process: one line per record, for people or for machines.

Everything of ours logs below the logger ``cortex`` through the standard library; what other packages say is shown from
warnings on. What is passed as ``extra=`` comes out as fields: ``key=value`` in plain lines, keys in JSON; and so does
the request that the running task works for (``cause.py``). Line breaks and whatever moves a cursor or turns the
direction of text are escaped, so nobody can forge a record or a field; only a traceback in plain format spans lines,
which are set in. To systemd's journal plain lines go with their priority before them.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Literal, TextIO

import msgspec

from cortex.kit.cause import cause_of_now

LogLevel = Literal["debug", "info", "warn", "warning", "error"]
LogFormat = Literal["plain", "json"]

REPEATED_S = 10.0
MAX_REMEMBERED = 256
MAX_MESSAGE = 16_384
"""Characters of a message; a journal breaks lines of three times that."""

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_CONTROLS = (*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
"""C0, DEL, C1; separators of lines; what turns the direction of text (Unicode's Bidi_Control); the byte order mark."""
_ESCAPES = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _CONTROLS if code > 126}
"""Below that JSON escapes itself."""
_INDENT = "    "
_LOUDEST_FIRST = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def configure(
    level: LogLevel, fmt: LogFormat = "plain", stream: TextIO | None = None, *, env: Mapping[str, str] | None = None
) -> None:
    """Send every record to ``stream`` (default: stderr), replacing whatever logging was set up before.

    ``env`` tells whether that is systemd's journal.
    """
    handler = logging.StreamHandler(stream)
    has_priority = goes_to_journal(env or {}, stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if fmt == "json" else PlainFormatter(has_priority=has_priority))
    handler.addFilter(Repetition())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("cortex").setLevel(level.upper())
    logging.captureWarnings(True)


def is_json() -> bool:
    """Whether this process logs for machines, so that every line has to be JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def escaped(text: str) -> str:
    """Return text on one line: what would break the line or move the cursor is written as an escape."""
    return text.translate(_ESCAPES)


def shown(value: object) -> str:
    """Return a value for ``key=value``: on one line, and in quotes where it could be taken for more than one field."""
    text = escaped(str(value))
    if text and " " not in text and '"' not in text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def harmless(json_text: str) -> str:
    """Return JSON in which nothing is left that moves a cursor or turns text; a reader gets the same from it."""
    return json_text if json_text.isprintable() else json_text.translate(_JSON_ESCAPES)


def goes_to_journal(env: Mapping[str, str], stream: TextIO) -> bool:
    """Tell whether what is written to ``stream`` lands in systemd's journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = env.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def priority(level: int) -> str:
    """Return the mark by which the journal knows how bad a line is (sd-daemon(3))."""
    return f"<{next((number for least, number in _LOUDEST_FIRST if level >= least), 7)}>"


class Repetition(logging.Filter):
    """Lets asyncio say the same only so often: without free descriptors it fails thousands of times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "asyncio":
            return True
        said, now_s = record.getMessage(), record.created
        if 0 <= now_s - self._said_s.get(said, -REPEATED_S) < REPEATED_S:
            return False
        if len(self._said_s) >= MAX_REMEMBERED:
            self._said_s.clear()
        self._said_s[said] = now_s
        return True


class Stamp:
    """Formats UTC times as ``2026-11-24T08:41:22.123Z``; the part before the dot is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, epoch_s: float) -> str:
        second, milliseconds = divmod(round(epoch_s * 1000), 1000)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{milliseconds:03d}Z"


class PlainFormatter(logging.Formatter):
    """``<time> <LEVEL> <logger>: <message> key=value``, a traceback on the lines after it, set in."""

    def __init__(self, *, has_priority: bool = False) -> None:
        super().__init__()
        self._stamp = Stamp()
        self._has_priority = has_priority

    def format(self, record: logging.LogRecord) -> str:
        words = escaped(_message(record))
        for key, value in _fields(record).items():
            words += f" {key}={shown(value)}"
        name = record.name.removeprefix("cortex.")
        lines = [f"{self._stamp(record.created)} {record.levelname:<7} {name}: {words}"]
        if record.exc_info:
            lines += [_INDENT + escaped(line) for line in self.formatException(record.exc_info).split("\n")]
        mark = priority(record.levelno) if self._has_priority else ""
        return "\n".join([mark + line for line in lines])


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", …fields, "traceback"}`` on one line."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = Stamp()
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self._stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        line |= {key: value for key, value in _fields(record).items() if key not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            text = self._encoder.encode(line).decode()
        except UnicodeEncodeError:  # half of a surrogate pair, as in a file's name that is no UTF-8
            plain = {key: str(value).encode(errors="backslashreplace").decode() for key, value in line.items()}
            text = self._encoder.encode(plain).decode()
        return harmless(text)


def _message(record: logging.LogRecord) -> str:
    words = record.getMessage()
    return words if len(words) <= MAX_MESSAGE else f"{words[:MAX_MESSAGE]}… ({len(words)} characters)"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    own = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    return {**cause_of_now().fields(), **own}
