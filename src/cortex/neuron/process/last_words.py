"""Finds, in the last lines of an engine's log, the one line that says why it ended.

Engines say the same thing several times and end with something general ("exiting due to …"): the first line that names
a cause is the best one, and what was said as a mere warning or less counts only where nothing else does. The list grows
with what engines were seen to say; without a match the last line that speaks of an error is taken, else the last line.
"""

import re
import signal
from collections.abc import Sequence

import msgspec

OUT_OF_MEMORY = re.compile(
    r"out of memory|insufficient memory|(failed|unable) to allocate|cannot allocate memory|OutOfMemoryError|bad_alloc"
    # vLLM and SGLang, that were given too little
    r"|free memory on device .* less than|available KV cache memory|no available memory for|not enough memory",
    re.I,
)
PORT_TAKEN = re.compile(r"couldn't bind|address already in use", re.I)
_CAUSES = (
    PORT_TAKEN,
    OUT_OF_MEMORY,
    re.compile(r"invalid magic|failed to (open|read)|no such file|permission denied|corrupted or incomplete", re.I),
    re.compile(r"unknown (model )?architecture|unknown (pre-)?tokenizer|unsupported|unknown quantization", re.I),
    re.compile(r"invalid argument|error while handling argument|unrecognized option", re.I),
    re.compile(r"error loading model|wrong number of tensors|missing tensor|key not found", re.I),
    re.compile(r"(?:^|[\])] |: )(?:\w+\.)*\w+(?:Error|Exception): \S"),  # the first one that a Python server raised
)
_GENERAL = re.compile(r"Engine core initialization failed|see root cause above|See stack trace", re.I)
"""Says only that something else was said."""
_SPEAKS_OF_ERROR = re.compile(r"error|failed|exception|fatal|terminate called", re.I)
_OF_PROCESS = r"^(?:\(\w+ pid=\d+\) +)?"
_QUIET = re.compile(rf"^[\d.:\-TZ ]+ [DIW] |{_OF_PROCESS}(?:DEBUG|INFO|WARNING) \d\d-\d\d ")
"""A line of llama.cpp or vLLM that is a warning, an information or less."""
_PREFIX = re.compile(
    rf"^[\d.:\-TZ ]+ [DIWEF] (\S+:? +)?|{_OF_PROCESS}(?:ERROR|CRITICAL) \d\d-\d\d [\d:]+ \[[\w.]+:\d+\] +"
    r"|^\(\w+ pid=\d+\) +|^\[[^\]]*\] *|^(ERROR|FATAL)[: ]+"
)
"""Time stamp, level letter and component of llama.cpp (``0.00.021.902 E srv  init: …``), vLLM and their like."""


class LastWords(msgspec.Struct, frozen=True, kw_only=True):
    """Why an engine ended: the line that says it (empty: none does), and what kind of reason that is."""

    cause: str
    is_port_taken: bool = False
    is_out_of_memory: bool = False
    is_known: bool = False
    """It is one of the causes that engines were seen to name."""


def last_words(lines: Sequence[str]) -> LastWords:
    """Return the cause that the last lines of a log name."""
    line = _cause_line([line for line in lines if not _GENERAL.search(line)])
    return LastWords(
        cause=_PREFIX.sub("", line).strip(),
        is_port_taken=bool(PORT_TAKEN.search(line)),
        is_out_of_memory=bool(OUT_OF_MEMORY.search(line)),
        is_known=any(pattern.search(line) for pattern in _CAUSES),
    )


def how_it_ended(code: int | None) -> str:
    """Return an exit code in words: ``ended with code 1``, ``was killed by SIGKILL``."""
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (perhaps by the kernel, for want of memory)" if code == -signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def _cause_line(lines: Sequence[str]) -> str:
    loud = [line for line in lines if not _QUIET.match(line)]
    for said in (loud, lines):
        for pattern in _CAUSES:
            for line in said:
                if pattern.search(line):
                    return line
        speaking = [line for line in said if _SPEAKS_OF_ERROR.search(line)]
        if speaking:
            return speaking[-1]
    return next((line for line in reversed(lines) if line.strip()), "")
