"""Reads a recorded trace: JSON lines of our own, or the gateway's JSON access log as it is.

Our own line says when a request came and what it took:

    {"at_s": 12.5, "model": "Qwen/Qwen3-8B", "caller": "team-a", "prompt_tokens": 900, "completion_tokens": 200,
     "duration_s": 4.2}

``model`` alone is required besides ``at_s``. Of the access log the records of requests are taken, whatever became of
them; the time that a request waited for its model is not counted as work of the engine. What a line does not say is the
median of its model.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec

from cortex.contract.error import ConfigError

LOGGER = "cortex.access"
USUAL_S = 5.0
"""What a request takes of whose model nothing is known."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded request; ``duration_s`` is the engine's work on it."""

    at_s: float
    model: str
    duration_s: float
    caller: str = ""
    tokens: int = 0


class _Line(msgspec.Struct, kw_only=True):
    """A line as it may be written, of either form."""

    model: str = ""
    at_s: float | None = None
    caller: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_s: float | None = None
    logger: str = ""
    started_s: float | None = None
    peer: str = ""
    outcome: str = ""
    cold_start: bool = False
    tok_per_sec: float | None = None
    time_to_first_token_ms: float | None = None
    total_latency_ms: float | None = None


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Return the requests of a file, in the order in which they came; the first one at 0 s.

    Raises: ConfigError with the first line that is neither.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return arrivals(text.splitlines(), str(path))


def arrivals(lines: Iterable[bytes], source: str) -> tuple[Arrival, ...]:
    """Return the requests of these lines. Raises: ConfigError as above."""
    decoder = msgspec.json.Decoder(_Line)
    read: list[_Line] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise ConfigError(
                f'{source}, line {number}: no line of a trace, nor of a log with log_format = "json": {error}'
            ) from error
        if line.logger and line.logger != LOGGER:
            continue
        if not line.model or (line.at_s is None and line.started_s is None):
            if line.logger:
                continue  # a request that named no model
            raise ConfigError(f"{source}, line {number}: a line of a trace has 'at_s' and 'model'")
        read.append(line)
    return _completed(read)


def _completed(lines: list[_Line]) -> tuple[Arrival, ...]:
    known: dict[str, list[float]] = defaultdict(list)
    durations = [_duration_s(line) for line in lines]
    for line, took_s in zip(lines, durations, strict=True):
        if took_s is not None:
            known[line.model].append(took_s)
    usual = {model: median(values) for model, values in known.items()}
    begin_s = min((_at_s(line) for line in lines), default=0.0)
    found = [
        Arrival(
            at_s=_at_s(line) - begin_s,
            model=line.model,
            caller=line.caller or line.peer,
            tokens=(line.prompt_tokens or 0) + (line.completion_tokens or 0),
            duration_s=usual.get(line.model, USUAL_S) if took_s is None else took_s,
        )
        for line, took_s in zip(lines, durations, strict=True)
    ]
    return tuple(sorted(found, key=lambda arrival: arrival.at_s))


def _at_s(line: _Line) -> float:
    return line.at_s if line.at_s is not None else line.started_s or 0.0


def _duration_s(line: _Line) -> float | None:
    """Return how long an engine worked on a request; None when the line does not tell."""
    if line.duration_s is not None or not line.logger:
        return line.duration_s
    if line.outcome != "ok" or line.total_latency_ms is None:
        return None
    if not line.cold_start:
        return line.total_latency_ms / 1000
    if line.completion_tokens and line.tok_per_sec:
        return line.completion_tokens / line.tok_per_sec
    if line.time_to_first_token_ms is not None:
        return max(0.0, line.total_latency_ms - line.time_to_first_token_ms) / 1000
    return None
