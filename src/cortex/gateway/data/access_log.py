"""The access log: one line per request, made when the request is over and written in batches.

Level info, error where there was no answer or a broken one. Lines look like those of ``kit/log.py``. No prompt and no
answer is ever in one. A line that cannot be written is lost and counted; requests go on.
"""

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, TextIO

import msgspec

from cortex.gateway.data.record import RequestRecord
from cortex.kit.log import LogFormat, Stamp, escaped

if TYPE_CHECKING:
    from collections.abc import Callable

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
    ) -> None:
        self._loop = loop
        self.has_only_failures = has_only_failures
        self._stream = stream
        self._held: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        stamp = Stamp()
        self._format: Callable[[RequestRecord], str] = _Json(stamp) if fmt == "json" else _Plain(stamp)

    def record(self, record: RequestRecord) -> None:
        """Note one request. Formatted now: a batch formatted at once would hold up every stream for milliseconds."""
        if self.has_only_failures and not _is_failure(record):
            return
        held = self._held
        held.append(self._format(record))
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
    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp

    def __call__(self, record: RequestRecord) -> str:
        model = record.model if record.model.isprintable() else escaped(record.model)
        level = "ERROR  " if _is_failure(record) else "INFO   "
        words = (
            f"{self._stamp(record.started_s)} {level} access: {record.path} {record.status} {record.outcome}"
            f" model={model or '-'} node={record.node or '-'} ms={record.total_latency_ms:.1f}"
        )
        if record.time_to_first_token_ms is not None:
            words += f" ttft_ms={record.time_to_first_token_ms:.1f}"
        if record.prompt_tokens is not None or record.completion_tokens is not None:
            words += f" tokens={_shown(record.prompt_tokens)}+{_shown(record.completion_tokens)}"
        if record.cold_start:
            words += " cold"
        if record.error is not None:
            words += f" error={record.error}"
        if record.key:
            words += f" key={record.key}"
        return f"{words} peer={record.peer or 'local'} id={record.request_id}\n"


def _is_failure(record: RequestRecord) -> bool:
    return record.outcome == "failed"


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
        return f'{{{when},"logger":"cortex.access","message":"request",{fields[1:]}\n'
