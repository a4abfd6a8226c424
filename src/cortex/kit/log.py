"""Sets up logging for a process: one line per record, for people or for machines.

Everything of ours logs below the logger ``cortex`` through the standard library; what other packages say is shown from
warnings on. What is passed as ``extra=`` comes out as fields: ``key=value`` in plain lines, keys in JSON. A line break
in a message is escaped, so nobody can forge a record; only a traceback in plain format spans lines.
"""

import logging
import time
from typing import Literal, TextIO

import msgspec

LogLevel = Literal["debug", "info", "warn", "warning", "error"]
LogFormat = Literal["plain", "json"]

REPEATED_S = 10.0
MAX_REMEMBERED = 256

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(32), 127, 0x85, 0x2028, 0x2029)}


def configure(level: LogLevel, fmt: LogFormat = "plain", stream: TextIO | None = None) -> None:
    """Send every record to ``stream`` (default: stderr), replacing whatever logging was set up before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if fmt == "json" else PlainFormatter())
    handler.addFilter(Repetition())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("cortex").setLevel(level.upper())
    logging.captureWarnings(True)


def escaped(text: str) -> str:
    """Return text on one line: what would break the line or move the cursor is written as an escape."""
    return text.translate(_ESCAPES)


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
    """``<time> <LEVEL> <logger>: <message> key=value``, a traceback on the lines after it."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = Stamp()

    def format(self, record: logging.LogRecord) -> str:
        words = record.getMessage()
        for key, value in _fields(record).items():
            words += f" {key}={value}"
        name = record.name.removeprefix("cortex.")
        line = f"{self._stamp(record.created)} {record.levelname:<7} {name}: {escaped(words)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return self._encoder.encode(line).decode()


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
