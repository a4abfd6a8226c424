"""One systemd unit, by ``systemctl``: what state it is in, start, restart, its journal. Never as root, never with sudo.

That a user other than root may start units is granted by a polkit rule; systemctl is told not to ask for a password,
and says "Access denied" or "Interactive authentication required" where there is none.
"""

import asyncio
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cortex.neuron.process.child import Child, spawn
from cortex.neuron.process.program import Said
from cortex.neuron.refusal import SystemdRefused

ASK_DEADLINE_S = 10.0
ACT_DEADLINE_S = 120.0
"""A start of a unit of Type=notify returns when it is up; one of Type=simple, as mistral.rs', at once."""
JOURNAL_LINES = 40
DENIED = re.compile(r"access denied|interactive authentication required|not authorized|permission denied", re.I)
PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "Environment", "EnvironmentFiles")
_NEEDED_FILE = re.compile(r"(/.*) \(ignore_errors=no\)")


class UnitState(NamedTuple):
    """What ``systemctl show`` tells. ``load``: ``loaded``, ``not-found``, ``masked`` …; ``main_pid`` 0: none."""

    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    main_pid: int = 0
    environment: Mapping[str, str] = {}
    """What the unit itself sets."""
    needed_files: tuple[str, ...] = ()
    """Files with more variables, without which it does not start."""


class SystemdUnit:
    """One unit. ``env`` has the PATH on which the programs are found."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._env = {**env, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}

    async def state(self) -> UnitState | None:
        """Return the unit's state; None when systemd cannot be asked."""
        try:
            said = await self._run("systemctl", "show", "--property=" + ",".join(PROPERTIES), self.name)
        except OSError:
            return None
        if said.code:
            return None
        lines = [line.split("=", 1) for line in said.out.splitlines() if "=" in line]
        values, files = dict(lines), [value for key, value in lines if key == "EnvironmentFiles"]
        pid = values.get("MainPID", "0")
        load, active, sub, result = (values.get(key, "") for key in PROPERTIES[:4])
        return UnitState(
            load,
            active,
            sub,
            result,
            int(pid) if pid.isdigit() else 0,
            _assignments(values.get("Environment", "")),
            tuple(found[1] for file in files if (found := _NEEDED_FILE.fullmatch(file))),
        )

    async def start(self) -> None:
        """Start the unit, unless it runs. Raises: SystemdRefused."""
        await self._act("start")

    async def restart(self) -> None:
        """Stop the unit if it runs, and start it. Raises: SystemdRefused."""
        await self._act("restart")

    async def journal(self, lines: int = JOURNAL_LINES) -> tuple[str, ...]:
        """Return the last lines that the unit wrote; nothing when this user may not read them."""
        try:
            said = await self._run(
                "journalctl", "--unit", self.name, "--lines", str(lines), "--output", "cat", "--no-pager", "--quiet"
            )
        except OSError:
            return ()
        return tuple(said.out.splitlines()[-lines:]) if said.code == 0 else ()

    def follow(self, log: Path) -> Child | None:
        """Have what the unit writes, and its last lines before, written to a file too, until the returned process ends.

        It ends with this process in any case. None where there is no journal to be read.
        """
        argv = [
            "journalctl",
            "--unit",
            self.name,
            "--lines",
            str(JOURNAL_LINES),
            "--output",
            "cat",
            "--quiet",
            "--follow",
        ]
        try:
            return spawn(argv, self._env, log, is_tethered=True)
        except OSError:
            return None

    async def _act(self, verb: str) -> None:
        try:
            said = await self._run("systemctl", "--no-ask-password", verb, self.name, deadline_s=ACT_DEADLINE_S)
        except OSError as error:
            raise SystemdRefused(f"systemctl {verb} {self.name}: {error.strerror or error}", unit=self.name) from error
        if said.code == 0:
            return
        words = " ".join((said.err.strip() or said.out.strip() or f"it ended with code {said.code}").split())
        if DENIED.search(words):
            words += (
                f"; this user may not {verb} it: install the polkit rule of cortex-neuron, and give the unit a name "
                "that the rule covers"
            )
        raise SystemdRefused(f"systemctl {verb} {self.name}: {words}", unit=self.name)

    async def _run(self, program: str, *args: str, deadline_s: float | None = None) -> Said:
        """Run a program to its end. Raises: OSError when it cannot be started or takes too long."""
        process = await asyncio.create_subprocess_exec(
            program,
            *args,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(ASK_DEADLINE_S if deadline_s is None else deadline_s):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


async def missing_file(state: UnitState) -> str | None:
    """Return a file that the unit does not start without and that is surely not there; None for none."""
    for file in state.needed_files:
        try:
            await asyncio.to_thread(os.stat, file)
        except FileNotFoundError:
            return file
        except OSError:  # not for this user to see
            continue
    return None


def _assignments(text: str) -> dict[str, str]:
    """Return the variables of a unit, which systemctl quotes where they have spaces."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)
