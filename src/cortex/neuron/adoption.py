"""Finds the engines that an earlier neuron left running, by its records, and ends those that nobody can go on with.

An engine is gone on with when its entry is still configured and finds it again; of two with one model the younger. An
engine whose pid was never written down (the neuron died in between) is known by the nonce in its environment, and one
whose record cannot be read by the log that it writes. A server that several models share is never ended for the record
of one.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.harness.interface import Engine, Harness
from cortex.neuron.process.child import attach, find_by_environment, start_ticks
from cortex.neuron.state_dir import Record, StateDir

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0
NONCE_VARIABLE = "CORTEX_INSTANCE"
"""Where an engine's environment says which generation it is."""


class Found(NamedTuple):
    """One engine that goes on."""

    record: Record
    harness: Harness
    engine: Engine


async def find_engines(state: StateDir, harnesses: Sequence[Harness]) -> list[Found]:
    """Return the engines to go on with, oldest first; the rest are ended and their records removed."""
    by_name = {harness.name: harness for harness in harnesses}
    found: dict[str, Found] = {}
    orphans = []
    for record in sorted(state.records(), key=lambda record: -record.generation):
        harness = by_name.get(record.harness)
        engine = None
        # A server of someone else's is known by its address alone; without either no engine was ever seen.
        is_known = record.handle.pid or record.handle.url
        if harness is not None and record.model_id not in found and is_known:
            engine = await harness.recover(record, state.log_path(record.model_id, record.generation))
        if harness is None or engine is None:
            orphans.append(record)
        else:
            log.info("%s: its engine still runs (process %s)", record.model_id, record.handle.pid or "unknown")
            found[record.model_id] = Found(record, harness, engine)
    await asyncio.gather(*(_end(record, state) for record in orphans))
    known = {record.nonce for record in state.records()}
    nameless = await asyncio.to_thread(_nameless, state.log_files(), known)
    await asyncio.gather(*(_stop("an engine without a record", pid, ticks) for pid, ticks in nameless))
    return list(reversed(found.values()))


async def _end(record: Record, state: StateDir) -> None:
    """End what may still run of a record, and forget it."""
    pid, ticks = record.handle.pid, record.handle.start_ticks
    if record.handle.is_shared:
        pid = 0
    elif not pid:
        pid, ticks = await asyncio.to_thread(_by_nonce, record.nonce)
    if await _stop(record.model_id, pid, ticks):
        state.remove_record(record.generation)


async def _stop(name: str, pid: int, ticks: int) -> bool:
    """End a process if it is still there; False when it does not end."""
    child = attach(pid, ticks) if pid else None
    if child is None:
        return True
    log.warning("%s: process %d has no harness to go on with and is stopped", name, pid)
    if await child.stop(STOP_GRACE_S):
        return True
    log.error("%s: process %d does not end", name, pid)
    child.let_go()
    return False


def _nameless(logs: Iterable[Path], known: Collection[str], proc: Path = Path("/proc")) -> list[tuple[int, int]]:
    """Return pid and start of the engines that write one of these logs and carry none of the known nonces."""
    files = set()
    for file in logs:
        with contextlib.suppress(OSError):
            files.add(_identity(file))
    found = []
    for entry in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            pid, nonce = int(entry.name), _nonce_of(entry)
            is_ours = nonce is not None and nonce not in known and _identity(entry / "fd/1") in files
            if is_ours and os.getsid(pid) == pid:
                found.append((pid, start_ticks(pid, proc)))
    return found


def _nonce_of(entry: Path) -> str | None:
    """Return the nonce that a process carries, by its folder below ``/proc``. Raises: OSError."""
    begin = f"{NONCE_VARIABLE}=".encode()
    words = (entry / "environ").read_bytes().split(b"\0")
    return next((word.removeprefix(begin).decode(errors="replace") for word in words if word.startswith(begin)), None)


def _identity(file: Path) -> tuple[int, int]:
    """Return what tells a file from all others, whatever it is called."""
    status = file.stat()
    return status.st_dev, status.st_ino


def _by_nonce(nonce: str, proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return pid and start of the process that carries a nonce; zeros when there is none."""
    pid = find_by_environment(f"{NONCE_VARIABLE}={nonce}", proc)
    try:
        return (0, 0) if pid is None else (pid, start_ticks(pid, proc))
    except OSError:  # gone meanwhile
        return 0, 0
