"""Starts programs as systemd does that holds their sockets for them."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import socket

BECOME = """
import os, sys
high = [os.dup(int(one)) for one in sys.argv[1].split(",") for _ in range(9)][8::9]  # out of the way of 3, 4, ...
for number, one in enumerate(high, 3):
    os.dup2(one, number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def started(
    command: Sequence[str], sockets: Mapping[str, socket], *, cwd: Path, env: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a program with these sockets, by name, and its output in ``log``; whoever calls this ends it."""
    descriptors = [sock.fileno() for sock in sockets.values()]
    if sockets:
        command = [sys.executable, "-I", "-S", "-c", BECOME, ",".join(map(str, descriptors)), *command]
        env = {**env, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    with log.open("ab") as sink:
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=sink, stderr=sink, pass_fds=descriptors)
