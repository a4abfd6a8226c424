"""Who has the ports of a daemon: nobody, the daemon itself, or somebody else, who is named."""

import contextlib
import errno
import socket
from pathlib import Path
from typing import NamedTuple

from cortex.cli.doctor.finding import Finding, fail, ok, warn
from cortex.cli.doctor.host import process_name
from cortex.kit.listener import USUAL, occupant_pid

CLOSED = "closed"
"""In place of a daemon's readiness: it lets in only who has a certificate, and doctor has none."""
WHY_CLOSED = "it lets in only callers with a certificate (tls_client_ca), and was not asked"


class PortState(NamedTuple):
    """A port of this host as it was a moment ago. ``refusal``: the number of the error of binding it; 0: it is free.

    ``pid`` 0: nobody has it, or another user's process, whose number is hidden. ``version``: what a daemon of ours has
    answered there; empty: it is none.
    """

    host: str
    port: int
    refusal: int = 0
    pid: int = 0
    process: str = ""
    version: str = ""


def look_at(host: str, port: int, root: Path = Path("/")) -> PortState:
    """Ask the kernel; who listens there is not asked yet."""
    refusal = _refusal(host, port)
    pid = occupant_pid(port, root / "proc") if refusal == errno.EADDRINUSE else 0
    return PortState(host, port, refusal, pid, process_name(pid, root) if pid else "")


def _refusal(host: str, port: int) -> int:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.closing(socket.socket(family, kind, proto)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)  # and never listens: nobody is to be answered
    except (socket.gaierror, UnicodeError):
        return errno.EADDRNOTAVAIL
    except OSError as exc:
        return exc.errno or errno.EIO
    return 0


def judge_port(state: PortState, key: str, installed: str, *, daemon: str, is_shared: bool = False) -> Finding:
    """Whether ``daemon`` has this port, or could have it. ``is_shared``: others may have it as well."""
    place = f"{state.host}:{state.port}"
    if state.port == 0:
        return ok("any free port", key)
    if state.version:
        return _ours(state, key, installed, daemon)
    if not state.refusal:
        return ok(f"{place} is free: no {daemon} runs there", key)
    if state.refusal == errno.EADDRINUSE:
        return _taken(state, key, place, is_shared=is_shared)
    if state.refusal in (errno.EACCES, errno.EPERM):
        means = "ports below 1024 are for who has the right to them"
        return fail(f"{place} may not be taken by this user", means, f"set `{key}` to a port from 1024 on", key)
    if state.refusal == errno.EADDRNOTAVAIL:
        return fail(
            f"{state.host} is no address of this host", f"{daemon} cannot start", f"set `{key}`; `ip addr`", key
        )
    return fail(
        f"{place}: {errno.errorcode.get(state.refusal, state.refusal)}", f"{daemon} cannot start", "ip addr", key
    )


def _ours(state: PortState, key: str, installed: str, daemon: str) -> Finding:
    version = "of an unknown version" if state.version == "?" else state.version
    said = f"{daemon} {version} runs on {state.host}:{state.port}" + (f" (process {state.pid})" if state.pid else "")
    if state.version not in (installed, "?"):
        means = f"{installed} is installed: what runs is another version"
        return warn(said, means, f"systemctl restart {daemon}", key)
    return ok(said, key)


def _taken(state: PortState, key: str, place: str, *, is_shared: bool) -> Finding:
    usual = f"; this is the port of {USUAL[state.port]}" if state.port in USUAL else ""
    if not state.pid:
        who, do = "a process of another user", f"ss -ltnp 'sport = :{state.port}', as root, names it"
    else:
        who, do = f"{state.process} (process {state.pid})", f"stop it, or set `{key}` to another port"
    said = f"{place} is held by {who}{usual}"
    if is_shared:
        return warn(said, "reuse_port is set: fine if that is a gateway of yours, which does not answer", do, key)
    return fail(said, "this daemon cannot start there", do, key)
