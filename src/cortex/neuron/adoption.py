"""Finds the engines that an earlier neuron left running, by its records, and ends those that nobody can go on with.

An engine is gone on with when its entry is still configured and finds it again; of two with one model the younger. An
engine whose pid was never written down (the neuron died in between) is known by the nonce in its environment. A server
that several models share is never ended for the record of one.
"""

import asyncio
import logging
from collections.abc import Sequence
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
    return list(reversed(found.values()))


async def _end(record: Record, state: StateDir) -> None:
    """End what may still run of a record, and forget it."""
    pid, ticks = record.handle.pid, record.handle.start_ticks
    if record.handle.is_shared:
        pid = 0
    elif not pid:
        pid, ticks = await asyncio.to_thread(_by_nonce, record.nonce)
    child = attach(pid, ticks) if pid else None
    if child is not None:
        log.warning("%s: process %d has no harness to go on with and is stopped", record.model_id, pid)
        if not await child.stop(STOP_GRACE_S):
            log.error("%s: process %d does not end", record.model_id, pid)
            child.let_go()
            return
    state.remove_record(record.generation)


def _by_nonce(nonce: str, proc: Path = Path("/proc")) -> tuple[int, int]:
    """Return pid and start of the process that carries a nonce; zeros when there is none."""
    pid = find_by_environment(f"{NONCE_VARIABLE}={nonce}", proc)
    try:
        return (0, 0) if pid is None else (pid, start_ticks(pid, proc))
    except OSError:  # gone meanwhile
        return 0, 0
