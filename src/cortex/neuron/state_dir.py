"""What a neuron must remember over a restart, on disk: the generation counter, records of running engines, their logs.

A record is written before its engine is spawned and removed after it is gone; the engine's environment carries its
nonce, so that an engine whose pid was never written down is found as well. One neuron per directory: it is locked.
"""

import contextlib
import fcntl
import glob
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from cortex.contract.error import ConfigError, CortexError
from cortex.contract.instance import LoadRequest
from cortex.kit.json_fault import NOT_JSON

log = logging.getLogger(__name__)

RECORD_VERSION = 1
LOGS_PER_MODEL = 3


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """How a running engine is found again and reached from this host. ``pid`` 0: not spawned yet."""

    pid: int = 0
    start_ticks: int = 0
    port: int = 0
    url: str = ""
    """Base before ``/v1/…``, as reached from this host, fence included."""
    engine_model: str = ""
    """The name that the engine answers to."""
    is_shared: bool = False
    """The process serves other models as well, and is never ended for the sake of this one."""
    memory_pid: int = 0
    """The process whose memory the model is in, where that is another one, which is not ours."""
    credential: str | None = None
    """The key that this generation alone asks for, where that is its fence."""
    context: int | None = None
    """How many tokens one request may have, where the engine itself says so."""

    @property
    def holder_pid(self) -> int:
        """The process that the devices show as the holder of the model's memory."""
        return self.memory_pid or self.pid


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One life of an instance, as another neuron process needs it to go on."""

    version: int = RECORD_VERSION
    model_id: str
    harness: str
    generation: int
    nonce: str
    devices: tuple[int, ...]
    device_uuids: tuple[str, ...] = ()
    """Of each of them, empty where it has none: their numbers may mean others after a restart."""
    need_mb: int
    is_estimate: bool
    parallel: int
    context: int | None = None
    request: LoadRequest
    handle: Handle = Handle()


def numbers_in(records: Iterable[Record]) -> dict[str, int]:
    """Return the numbers that devices had when these were written, by UUID."""
    named = (zip(record.device_uuids, record.devices, strict=False) for record in records)
    return {uuid: index for each in named for uuid, index in each if uuid}


def unwritable(error: OSError) -> CortexError:
    """Return what a caller is told when something cannot be written down, with where that would be, if it says so."""
    where = f"{error.filename}: " if error.filename else ""  # of a full disk it does not
    return CortexError(f"the state directory cannot be written: {where}{error.strerror}")


class StateDir:
    """The directory, locked as long as this object is open."""

    def __init__(self, path: Path) -> None:
        """Make and lock the directory. Raises: ConfigError when that cannot be."""
        self.path = path
        self._records = path / "engine"
        self._logs = path / "log"
        try:
            for folder in (path, self._records, self._logs):
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            raise ConfigError(f"state_dir {path}: {error.strerror}; set `state_dir`", path=str(path)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"state_dir {path} is in use by another neuron: stop that one, or set another `state_dir`",
                path=str(path),
            ) from error

    def close(self) -> None:
        """Unlock the directory; a second time changes nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def next_generation(self) -> int:
        """Return a number that this directory never gave before, and never will again."""
        file = self.path / "generation"
        try:
            last = int(file.read_text())
        except (OSError, ValueError):  # the first one, or the file was lost: what else tells of generations
            last = max(map(_generation_of, (*self._records.iterdir(), *self._logs.iterdir())), default=0)
        _write(file, str(last + 1).encode())
        return last + 1

    def records(self) -> tuple[Record, ...]:
        """Return the records left by this or an earlier neuron, oldest first; one that cannot be read is put aside."""
        found = []
        for file in self._records.glob("*.json"):
            try:
                found.append(msgspec.json.decode(file.read_bytes(), type=Record))
            except (OSError, *NOT_JSON) as error:
                log.warning("record %s cannot be read and is put aside: %s", file, error)
                with contextlib.suppress(OSError):
                    file.rename(file.with_suffix(".unreadable"))
        return tuple(sorted(found, key=lambda record: record.generation))

    def write_record(self, record: Record) -> None:
        """Write or replace the record of a generation."""
        _write(self._records / f"{record.generation}.json", msgspec.json.encode(record))

    def remove_record(self, generation: int) -> None:
        """Forget a generation; one without a record changes nothing."""
        (self._records / f"{generation}.json").unlink(missing_ok=True)

    def read_file(self, name: str) -> bytes | None:
        """Return what was last written under a name of the directory itself; None when nothing can be read."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def write_file(self, name: str, content: bytes) -> None:
        """Write or replace a file of the directory itself, as a whole. Raises: OSError."""
        _write(self.path / name, content)

    def log_path(self, model_id: str, generation: int) -> Path:
        """Return where the engine of a generation writes."""
        return self._logs / f"{quote(model_id, safe='')}@{generation}.log"

    def log_files(self) -> tuple[Path, ...]:
        """Return every log that is kept."""
        return tuple(self._logs.glob("*.log"))

    def prune_logs(self, model_id: str) -> None:
        """Remove the logs of all but the last few generations of a model."""
        logs = sorted(self._logs.glob(f"{glob.escape(quote(model_id, safe=''))}@*.log"), key=_generation_of)
        for file in logs[:-LOGS_PER_MODEL]:
            file.unlink(missing_ok=True)
            file.with_name(file.name + ".old").unlink(missing_ok=True)


def _generation_of(file: Path) -> int:
    """Return the generation that the name of a record or a log ends with; 0 when it is neither."""
    found = re.fullmatch(r"(?:.*@)?(\d+)\.(?:json|unreadable|log|log\.old)", file.name)
    return int(found[1]) if found else 0


def _write(file: Path, content: bytes) -> None:
    """Replace a file as a whole, also if the power fails in between."""
    unfinished = file.with_name(f".{file.name}.new")
    # For nobody else: a record holds what keeps others from its engine.
    with open(unfinished, "wb", opener=_for_us_alone) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # else the name may still mean the old file
    finally:
        os.close(folder)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
