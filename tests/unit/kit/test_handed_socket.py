"""Sockets that come with a process. Each test runs a process of its own, since their numbers begin with 3."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cortex.kit.handed_socket import shown, take_handed

TAKE = """
import json, os, sys
from cortex.contract.error import ConfigError
from cortex.kit.handed_socket import shown, take_handed
if "LISTEN_PID" in os.environ:
    os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"].replace("own", str(os.getpid()))
try:
    handed = take_handed(os.environ, ("api", "metrics"))
except ConfigError as error:
    sys.exit(error.message)
left = sorted(name for name in os.environ if name.startswith("LISTEN_"))
inheritable = [sock.get_inheritable() for socks in handed.values() for sock in socks]
print(json.dumps([{name: list(map(shown, socks)) for name, socks in handed.items()}, left, inheritable]))
"""


def taken(*sockets: socket.socket, names: str | None = None, pid: str = "own") -> subprocess.CompletedProcess[str]:
    """Run a process that has these sockets from descriptor 3 on, and takes them."""
    high = [os.dup2(sock.fileno(), 40 + number, inheritable=True) for number, sock in enumerate(sockets)]
    moved = "".join(f"os.dup2({one}, {number}); " for number, one in enumerate(high, 3))
    env = os.environ | {"LISTEN_PID": pid, "LISTEN_FDS": str(len(sockets))}
    if names is not None:
        env["LISTEN_FDNAMES"] = names
    try:
        return subprocess.run(
            [sys.executable, "-c", f"import os; {moved}exec({TAKE!r})"],
            env=env, pass_fds=high, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        for one in high:
            os.close(one)


def a_listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_named_sockets_are_taken_and_their_variables_too() -> None:
    with a_listener() as first, a_listener() as second, a_listener() as third:
        done = taken(first, second, third, names="api:metrics:api")
        expected = f'{{"api": ["{shown(first)}", "{shown(third)}"], "metrics": ["{shown(second)}"]}}'
        assert done.stdout.strip() == f"[{expected}, [], [false, false, false]]"


@pytest.mark.parametrize("names", [None, "", "unknown", "cortex.socket"])
def test_a_lone_socket_without_a_name_of_ours_is_the_first_door(names: str | None) -> None:
    with a_listener() as only:
        assert f'"api": ["{shown(only)}"]' in taken(only, names=names).stdout


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    with a_listener() as only:
        assert taken(only, names="api", pid="1").stdout.strip() == "[{}, [], []]"


def test_a_name_that_nobody_knows_is_a_mistake() -> None:
    with a_listener() as first, a_listener() as second:
        said = taken(first, second, names="api:admin").stderr
        assert "'admin' (descriptor 4) has no use here" in said
        assert "FileDescriptorName=api or FileDescriptorName=metrics" in said


def test_a_socket_that_does_not_listen_is_a_mistake() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        assert "'api' (descriptor 3) does not listen" in taken(idle, names="api").stderr


def test_a_socket_of_datagrams_is_a_mistake() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        assert "is no stream socket: expected ListenStream=" in taken(datagrams, names="api").stderr


def test_what_is_no_socket_is_a_mistake() -> None:
    with open(os.devnull) as nothing:
        env = os.environ | {"LISTEN_PID": "own", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}
        program = f"import os; os.dup2({nothing.fileno()}, 3); exec({TAKE!r})"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=env, pass_fds=[nothing.fileno()], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "'api' (descriptor 3) cannot be used" in done.stderr


def test_without_variables_there_is_nothing() -> None:
    assert take_handed({}, ("api",)) == {}
    assert take_handed({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}, ("api",)) == {}


def test_sockets_are_shown_as_people_write_addresses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        assert shown(local) == f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_INET6) as six:
        six.bind(("::1", 0))
        assert shown(six) == f"[::1]:{six.getsockname()[1]}"
