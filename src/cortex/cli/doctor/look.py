"""Edges of checks that both daemons have: files with secrets, the firewall. Each gathers, and has it judged."""

import socket
from collections.abc import Mapping
from pathlib import Path

from cortex.cli.doctor.examination import RIGHTS, Check, Fact, in_thread
from cortex.cli.doctor.file import judge_credential, judge_secret
from cortex.cli.doctor.finding import Finding, Skip, ok, skipped
from cortex.cli.doctor.firewall import Ports, judge_firewall, zones_in
from cortex.cli.doctor.host import FileState, Identity, file_state
from cortex.cli.doctor.program import Programs
from cortex.cli.doctor.tls import Certificate, judge_expiry, judge_names, judge_pair
from cortex.kit.clock import Clock
from cortex.kit.credential import FLEET_TOKEN, credential_file, is_credential

NOT_RUNNING = 252
"""firewall-cmd's exit code. Source: firewalld 2, src/firewall/errors.py."""


async def secret_files(files: Mapping[str, Path], identity: Identity, env: Mapping[str, str]) -> list[Finding]:
    """Judge files with secrets, by their keys; of what is in them nothing is told."""

    def one(key: str, path: Path) -> Finding:
        try:
            state = file_state(path)
        except PermissionError:
            return skipped(f"{path} cannot be seen by this user", key, RIGHTS)
        content = _content(path, state)
        if is_credential(path, env):
            return judge_credential(key, path, state, content)
        return judge_secret(key, path, state, identity, content)

    given = credential_file(FLEET_TOKEN, env)
    files = {**files, **({} if given is None else {FLEET_TOKEN: given})}
    found = [await in_thread(one, key, path) for key, path in files.items()]
    return found or [ok("no file with a secret is configured")]


def _content(path: Path, state: FileState | None) -> str | None:
    return path.read_text(errors="replace") if state is not None and state.is_readable else None


def tls_checks(certificate: Fact[Certificate | None], clock: Clock) -> tuple[Check, ...]:
    """Return the checks of a door's certificate; None of it: there is none."""

    async def pair() -> Finding:
        return judge_pair(await certificate())

    async def expiry() -> Finding:
        return judge_expiry(await certificate(), clock.epoch_s())

    async def name() -> Finding:
        hosts = tuple(dict.fromkeys((socket.gethostname(), await in_thread(socket.getfqdn))))
        return judge_names(await certificate(), hosts)

    return Check("tls.pair", pair), Check("tls.expiry", expiry), Check("tls.name", name)


async def firewall(programs: Programs, ports: Mapping[str, Ports], services: Mapping[str, str]) -> list[Finding]:
    """Judge what firewalld lets through to ``ports``, those that are served to other hosts. Raises: Skip."""
    try:
        state = await programs.run("firewall-cmd", "--state")
    except Skip:
        return [ok("firewalld is not installed")]
    if state.code == NOT_RUNNING:
        return [ok("firewalld does not run")]
    said = await programs.run("firewall-cmd", "--list-all-zones")
    zones = None if state.code or said.code else zones_in(said.out)
    if zones is None:
        raise Skip("this user may not ask firewalld", RIGHTS)
    return judge_firewall(zones, ports, services)
