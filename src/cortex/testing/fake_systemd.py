"""A systemd for tests: units that really start and stop programs, by its own ``systemctl`` and ``journalctl``.

    with FakeSystemd(folder) as systemd:
        systemd.install("mistralrs.service", [sys.executable, "-m", "cortex.testing.fake_mistralrs", "serve", …])
        ...  # run something with systemd.environment() in its environment

Programs say what the real ones say, also to a user whom no polkit rule allows to act (``denied``). A unit's program has
a watcher, as it has a real systemd, which notes how it ended and restarts nothing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

VARIABLE = "FAKE_SYSTEMD"
STOP_LIMIT_S = 10.0
POLL_S = 0.01
NO_SUCH_UNIT, NO_LEAVE = 5, 4
"""Exit codes of systemctl. Source: systemctl(1) and systemd.exec(5)."""


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One unit. ``load``: what ``LoadState`` says; ``denied``: systemctl's words when this user may not act;
    ``files``: more variables, which it does not start without."""

    command: list[str]
    env: dict[str, str] = {}
    load: str = "loaded"
    denied: str = ""
    files: list[str] = []


class FakeSystemd:
    """Units in a folder, and a folder of programs to put on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True, exist_ok=True)
        for name in ("systemctl", "journalctl"):
            script = self.programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cortex.testing.fake_systemd {name} "$@"\n')
            script.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def install(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None, **more: Any) -> None:
        """Define a unit, or define it anew."""
        unit = Unit(command=list(command), env=dict(env or {}), **more)
        (self.folder / f"{name}.json").write_bytes(msgspec.json.encode(unit))

    def environment(self) -> dict[str, str]:
        """Return this process's variables, and those that make a program find this systemd."""
        return {**os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}", VARIABLE: str(self.folder)}

    def pid(self, name: str) -> int:
        """Return the main process of a unit; 0 when it does not run."""
        return _pid(self.folder, name)

    def close(self) -> None:
        """End every program that still runs."""
        for file in self.folder.glob("*.pid"):
            _stop(self.folder, file.stem)


def main(argv: Sequence[str]) -> int:
    """Be ``systemctl``, ``journalctl`` or a unit's watcher, as the first word says; return the exit code."""
    folder = Path(os.environ[VARIABLE])
    program, *words = argv
    if program == "watch":
        return _watch(folder, words[0])
    if program == "journalctl":
        return _journal(folder, words)
    verb, name = [word for word in words if not word.startswith("-")]
    if verb == "show":
        wanted = next(word for word in words if word.startswith("--property=")).partition("=")[2].split(",")
        state = _state(folder, name)
        print("\n".join(f"{key}={state[key]}" for key in wanted if key in state))
        unit = _unit(folder, name)
        for file in unit.files if unit is not None and "EnvironmentFiles" in wanted else ():
            print(f"EnvironmentFiles={file} (ignore_errors=no)")
        return 0
    return _act(folder, verb, name)


def _act(folder: Path, verb: str, name: str) -> int:
    unit = _unit(folder, name)
    if unit is None or unit.load == "not-found":
        return _fail(NO_SUCH_UNIT, f"Failed to {verb} {name}: Unit {name} not found.")
    if unit.denied:
        hint = f"See system logs and 'systemctl status {name}' for details."
        return _fail(NO_LEAVE, f"Failed to {verb} {name}: {unit.denied}\n{hint}")
    if verb in ("stop", "restart"):
        _stop(folder, name)
    if verb in ("start", "restart") and not _pid(folder, name):
        _start(folder, name)
    return 0


def _fail(code: int, words: str) -> int:
    print(words, file=sys.stderr)
    return code


def _unit(folder: Path, name: str) -> Unit | None:
    try:
        return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Unit)
    except FileNotFoundError:
        return None


def _start(folder: Path, name: str) -> None:
    """Start a unit's program below a watcher of its own, and wait until it has a process."""
    (folder / f"{name}.code").unlink(missing_ok=True)
    subprocess.Popen(
        [sys.executable, "-P", "-m", "cortex.testing.fake_systemd", "watch", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (folder / f"{name}.pid").exists() and not (folder / f"{name}.code").exists():
        time.sleep(POLL_S)


def _watch(folder: Path, name: str) -> int:
    """Run a unit's program to its end, its output in the journal."""
    unit = _unit(folder, name)
    assert unit is not None
    env = {key: value for key, value in os.environ.items() if key != VARIABLE}
    with (folder / f"{name}.log").open("ab") as journal:
        process = subprocess.Popen(
            unit.command, env={**env, **unit.env}, stdin=subprocess.DEVNULL, stdout=journal, stderr=journal
        )
        file = folder / f"{name}.pid"
        file.with_suffix(".new").write_text(str(process.pid))
        file.with_suffix(".new").rename(file)
        code = process.wait()
    (folder / f"{name}.code").write_text(str(code))
    file.unlink()
    return 0


def _stop(folder: Path, name: str) -> None:
    pid = _pid(folder, name)
    for number, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, STOP_LIMIT_S)):
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end_s = time.clock_gettime(time.CLOCK_MONOTONIC) + limit_s
        while _pid(folder, name) and time.clock_gettime(time.CLOCK_MONOTONIC) < end_s:
            time.sleep(POLL_S)


def _pid(folder: Path, name: str) -> int:
    try:
        return int((folder / f"{name}.pid").read_text())
    except FileNotFoundError:
        return 0


def _state(folder: Path, name: str) -> dict[str, str | int]:
    unit, pid = _unit(folder, name), _pid(folder, name)
    try:
        code = int((folder / f"{name}.code").read_text())
    except FileNotFoundError:
        code = 0
    is_failed = not pid and code not in (0, -signal.SIGTERM)
    active, sub = ("active", "running") if pid else ("failed", "failed") if is_failed else ("inactive", "dead")
    return {
        "LoadState": "not-found" if unit is None else unit.load,
        "ActiveState": active,
        "SubState": sub,
        "Result": "exit-code" if is_failed and code > 0 else "signal" if is_failed else "success",
        "MainPID": pid,
        "Environment": " ".join(f"{key}={value}" for key, value in unit.env.items()) if unit else "",
    }


def _journal(folder: Path, words: Sequence[str]) -> int:
    """Print a unit's last lines, and with ``--follow`` what comes after them, until it is ended."""
    name, lines = words[words.index("--unit") + 1], int(words[words.index("--lines") + 1])
    file = folder / f"{name}.log"
    file.touch()
    with file.open(errors="replace") as journal:
        print("".join(journal.readlines()[-lines:]), end="", flush=True)
        while "--follow" in words:
            print(journal.read(), end="", flush=True)
            time.sleep(POLL_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
