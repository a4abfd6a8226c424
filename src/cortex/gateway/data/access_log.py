"""The access log: one line per request, made when the request is over and written in batches.

Level info, error where there was no answer or a broken one. Lines look like those of ``kit/log.py``. No prompt and no
answer is ever in one; where an operator has asked for prompts, each is a line of its own. A line that cannot be written
is lost and counted; requests go on.
"""

import asyncio
import logging
import sys
from functools import lru_cache
from typing import TextIO

import msgspec

from cortex.gateway.data.prompt_excerpt import excerpt
from cortex.gateway.data.record import RequestRecord
from cortex.kit.log import LogFormat, Stamp, harmless, priority, shown

FLUSH_S = 0.25
MAX_HELD = 200
"""Lines written at once at the latest."""

log = logging.getLogger(__name__)


class AccessLog:
    """Takes records and writes them to ``stream`` (default: stderr) soon; only failures where no more is wanted."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fmt: LogFormat,
        stream: TextIO | None = None,
        *,
        has_only_failures: bool = False,
        has_priority: bool = False,
    ) -> None:
        """``has_priority``: plain lines go to systemd's journal, each with its priority before it."""
        self._loop = loop
        self.has_only_failures = has_only_failures
        self._stream = stream
        self._held: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        stamp = Stamp()
        self._format = _Json(stamp) if fmt == "json" else _Plain(stamp, has_priority)

    def record(self, record: RequestRecord) -> None:
        """Note one request. Formatted now: a batch formatted at once would hold up every stream for milliseconds."""
        if not self.has_only_failures or _is_failure(record):
            self._hold(self._format(record))

    def note_prompt(self, started_s: float, request_id: str, body: bytes) -> None:
        """Note what a request says to its model: a line of its own, of which nobody else hears."""
        self._hold(self._format.prompt(started_s, request_id, excerpt(body)))

    def _hold(self, line: str) -> None:
        held = self._held
        held.append(line)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self.flush)
        elif len(held) >= MAX_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, []
        if not held:
            return
        stream = self._stream or sys.stderr
        try:
            stream.write("".join(held))
            stream.flush()
        except (OSError, ValueError) as exc:  # ValueError: the stream is closed
            log.warning("%d lines of the access log are lost: %s", len(held), exc)


class _Plain:
    def __init__(self, stamp: Stamp, has_priority: bool) -> None:
        self._stamp = stamp
        self._usual = (priority(logging.INFO) if has_priority else "", "INFO   ")
        self._failed = (priority(logging.ERROR) if has_priority else "", "ERROR  ")

    def __call__(self, record: RequestRecord) -> str:
        first_ms, prompt, completion = record.time_to_first_token_ms, record.prompt_tokens, record.completion_tokens
        first = "" if first_ms is None else f" ttft_ms={first_ms:.1f}"
        if prompt is None or completion is None:
            tokens = "" if prompt is completion else f" tokens={_shown(prompt)}+{_shown(completion)}"
        else:
            tokens = f" tokens={prompt}+{completion}"
        is_plain = record.error is None and not (record.cold_start or record.key or record.trace_id)
        more = "" if is_plain else _more(record)
        mark, level = self._failed if record.outcome == "failed" else self._usual
        return (
            f"{mark}{self._stamp(record.started_s)} {level} access: {record.path} {record.status} {record.outcome}"
            f" model={_named(record.model)} node={record.node or '-'} ms={record.total_latency_ms:.1f}"
            f"{first}{tokens}{more} peer={record.peer or 'local'} id={record.request_id}\n"
        )

    def prompt(self, epoch_s: float, request_id: str, text: str) -> str:
        return f"{self._usual[0]}{self._stamp(epoch_s)} INFO    access: prompt id={request_id} text={shown(text)}\n"


def _is_failure(record: RequestRecord) -> bool:
    return record.outcome == "failed"


def _more(record: RequestRecord) -> str:
    """Return what is told of few requests, or of none where nobody has keys."""
    words = " cold" if record.cold_start else ""
    if record.error is not None:
        words += f" error={record.error}"
    if record.key:
        words += f" key={_named(record.key)}"
    if record.trace_id:
        words += f" trace_id={record.trace_id}"
    return words


@lru_cache(maxsize=1024)
def _named(name: str) -> str:
    """Return a name that may be a caller's."""
    return name if name.isprintable() and " " not in name and '"' not in name and name else shown(name or "-")


def _shown(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)


class _Json:
    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, record: RequestRecord) -> str:
        fields = self._encode(record).decode()
        level = "error" if _is_failure(record) else "info"
        when = f'"time":"{self._stamp(record.started_s)}","level":"{level}"'
        return harmless(f'{{{when},"logger":"cortex.access","message":"request",{fields[1:]}') + "\n"

    def prompt(self, epoch_s: float, request_id: str, text: str) -> str:
        """What a request says, in a line with the same keys."""
        line = {"level": "info", "logger": "cortex.access", "message": "prompt", "request_id": request_id, "text": text}
        fields = self._encode(line).decode()
        return harmless(f'{{"time":"{self._stamp(epoch_s)}",{fields[1:]}') + "\n"
