"""Takes over listening sockets that whoever started this process has opened: systemd, or a predecessor.

They stay open while no process accepts, so no connection is refused meanwhile. The variables are taken out of the
environment. Source: sd_listen_fds(3).
"""

import contextlib
import os
import socket
from collections.abc import Collection, MutableMapping

from cortex.contract.error import ConfigError

FIRST = 3
"""The first descriptor that is handed over. Source: sd_listen_fds(3), SD_LISTEN_FDS_START."""
LINE = "handover"
"""Name of the connection to a predecessor; it is no listening socket."""
LOG_FORMAT = "HANDOVER_LOG_FORMAT"
"""How the predecessor's log is written, which a successor's first words go to before it knows its configuration."""

Handed = dict[str, list[socket.socket]]
"""By name, in the order of their descriptors."""


def take_handed(env: MutableMapping[str, str], names: Collection[str], *, pid: int | None = None) -> Handed:
    """Return the sockets meant for this process, none where nothing was handed over. They are not inherited any more.

    ``names``: what each may be called (``FileDescriptorName=`` of the socket unit). A lone one of another name, as
    without that setting, counts as the first. Raises: ConfigError for what is not a listening stream socket.
    """
    said_pid, count, said = (env.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    env.pop("LISTEN_PIDFDID", None)
    if said_pid != str(os.getpid() if pid is None else pid) or not (count.isascii() and count.isdigit()):
        return {}
    called = said.split(":") if said else []
    called += ["unknown"] * (int(count) - len(called))
    if int(count) == 1 and called[0] not in names:
        called = [next(iter(names))]
    handed: Handed = {}
    try:
        for descriptor, name in enumerate(called[: int(count)], FIRST):
            handed.setdefault(name, []).append(_taken(descriptor, name, names))
    except ConfigError:
        close_all(handed)
        raise
    return handed


def close_all(handed: Handed) -> None:
    """Let go of every one."""
    for sock in (sock for socks in handed.values() for sock in socks):
        sock.close()


def shown(sock: socket.socket) -> str:
    """Return where a socket listens, for people."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name if isinstance(name, str) else name.decode(errors='replace')}"
    host = f"[{name[0]}]" if sock.family is socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def _taken(descriptor: int, name: str, names: Collection[str]) -> socket.socket:
    def wrong(what: str) -> ConfigError:
        return ConfigError(f"the socket that was handed over as '{name}' (descriptor {descriptor}) {what}", socket=name)

    if name not in names and name != LINE:
        expected = " or ".join(f"FileDescriptorName={one}" for one in names)
        raise wrong(f"has no use here: expected {expected} in the socket unit")
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise wrong(f"cannot be used: {error.strerror}") from error
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        if sock.type is not socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise wrong("is no stream socket: expected ListenStream=")
        if name != LINE and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise wrong("does not listen: expected Accept=no in the socket unit")
        sock.set_inheritable(False)
        sock.setblocking(False)
        undo.pop_all()
    return sock
