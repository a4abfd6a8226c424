"""Reads a recorded trace: JSON lines of our own, or the gateway's JSON access log as it is.

Our own line says when a request came and what it took:

    {"at_s": 12.5, "model": "Qwen/Qwen3-8B", "caller": "team-a", "prompt_tokens": 900, "completion_tokens": 200,
     "duration_s": 4.2}

``model`` alone is required besides ``at_s``; there are no other members, and no number is below 0. Of the access log
the records of requests are taken, whatever became of them; the time that a request waited for its model is not counted
as work of the engine. What a line does not say is the median of its model.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
from msgspec import Meta

from cortex.contract.error import ConfigError
from cortex.kit.strict import convert

LOGGER = "cortex.access"
LONGEST_S = 366 * 86_400.0
"""What a trace may span."""
USUAL_S = 5.0
"""What a request takes of whose model nothing is known."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded request; ``duration_s`` is the engine's work on it."""

    at_s: float
    model: str
    duration_s: float
    caller: str = ""
    tokens: int = 0


Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class _OwnLine(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A line of our own."""

    at_s: Amount
    model: Annotated[str, Meta(min_length=1)]
    caller: str = ""
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    duration_s: Amount | None = None


class _Line(msgspec.Struct, kw_only=True):
    """A line of either form; what only one of a log has is empty in one of our own."""

    model: str = ""
    at_s: float | None = None
    caller: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_s: float | None = None
    logger: str = ""
    number: int = 0
    started_s: float | None = None
    peer: str = ""
    outcome: str = ""
    cold_start: bool = False
    tok_per_sec: float | None = None
    time_to_first_token_ms: float | None = None
    total_latency_ms: float | None = None


_ANY, _OWN = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_OwnLine)


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Return the requests of a file, in the order in which they came; the first one at 0 s.

    Raises: ConfigError with the first line that is neither, or that says what cannot be.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return arrivals(text.splitlines(), str(path))


def arrivals(lines: Iterable[bytes], source: str) -> tuple[Arrival, ...]:
    """Return the requests of these lines. Raises: ConfigError as above, or where there are none, or from two times."""
    read = [
        line
        for number, text in enumerate(lines, 1)
        if text.strip() and (line := _read(text, number, f"{source}, line {number}")) is not None
    ]
    if not read:
        raise ConfigError(f"{source}: no request in it, neither a line of a trace nor one of the gateway's access log")
    first, last = min(read, key=_at_s), max(read, key=_at_s)
    span_s = _at_s(last) - _at_s(first)
    if span_s > LONGEST_S:
        raise ConfigError(
            f"{source}: {span_s / 86_400:.0f} days from line {first.number} to line {last.number}, and "
            f"{LONGEST_S / 86_400:.0f} are the most: times are in seconds, and all of a trace have one beginning"
        )
    return _completed(read)


def _read(text: bytes, number: int, place: str) -> _Line | None:
    """Return what a line says; None for one of a log that is of no request, or of one that named no model."""
    try:
        line = _ANY.decode(text)
        if not line.logger:
            line = _Line(**msgspec.structs.asdict(_OWN.decode(text)))
    except msgspec.MsgspecError as error:
        raise _wrong(text, place, error) from error
    line.number = number
    if line.logger and not (line.logger == LOGGER and line.model and line.started_s is not None):
        return None
    return line


def _wrong(text: bytes, place: str, error: msgspec.MsgspecError) -> ConfigError:
    """Return what is wrong with a line, in words of its members where it is one of ours."""
    try:
        tree = msgspec.json.decode(text)
        if isinstance(tree, dict) and "logger" not in tree:
            convert(tree, _OwnLine, source=place)
    except ConfigError as ours:
        return ours
    except msgspec.MsgspecError:
        pass
    return ConfigError(f'{place}: no line of a trace, nor of a log with log_format = "json": {error}')


def _completed(lines: list[_Line]) -> tuple[Arrival, ...]:
    known: dict[str, list[float]] = defaultdict(list)
    durations = [_duration_s(line) for line in lines]
    for line, took_s in zip(lines, durations, strict=True):
        if took_s is not None:
            known[line.model].append(took_s)
    usual = {model: median(values) for model, values in known.items()}
    begin_s = min(_at_s(line) for line in lines)
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
