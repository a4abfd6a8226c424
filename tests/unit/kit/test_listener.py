"""Ports: bound at once, or said why not and who has them."""

import os
import socket
import struct
from pathlib import Path

import pytest

from cortex.contract.error import ConfigError
from cortex.kit.listener import BACKLOG, USUAL, bind, occupant, occupant_pid


def waiting_room(listener):
    """How many connections the kernel keeps for a listening socket: tcpi_sacked of Linux' struct tcp_info."""
    return struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]


def test_a_busy_port_names_whose_it_usually_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cockpit's is held by process 1, which tells nobody anything."""
    with bind("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        monkeypatch.setitem(USUAL, port, "Cockpit")
        with pytest.raises(ConfigError, match=r"; this is the port of Cockpit; stop that process"):
            bind("127.0.0.1", port)
    assert "Cockpit" in USUAL[9090]
    assert "node_exporter" in USUAL[9100]


def test_a_busy_port_names_the_process_that_has_it():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as refusal:
            bind("127.0.0.1", port)
    assert f"port {port} on 127.0.0.1 is in use by process {os.getpid()} (" in refusal.value.message
    program = Path("/proc/self/cmdline").read_bytes().partition(b"\0")[0].decode()
    assert f"({program} " in refusal.value.message


def test_a_port_can_be_shared_when_both_ask_for_it():
    with bind("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        bind("127.0.0.1", port, reuse_port=True).close()
        with pytest.raises(ConfigError):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("203.0.113.7", 0, "203.0.113.7 is not an address of this machine"),
        ("no such host", 1, "cannot listen on no such host:1"),
        ("127.0.0.1", 99999999, "port 99999999 is out of range"),
    ],
)
def test_an_impossible_address_is_a_clear_error(host, port, words):
    with pytest.raises(ConfigError) as refusal:
        bind(host, port)
    assert words in refusal.value.message


def test_many_connections_may_wait_to_be_accepted():
    with bind("127.0.0.1", 0) as listener:
        assert waiting_room(listener) == min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def test_an_empty_host_listens_everywhere():
    with bind("", 0) as listener:
        assert listener.getsockname()[0] in {"0.0.0.0", "::"}


def test_nobody_on_the_port_means_no_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert occupant(port) == ""
    assert occupant(port, proc=tmp_path) == ""
    assert occupant_pid(port) == 0


def test_who_listens_is_found():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert occupant_pid(port) == os.getpid()
        assert f"by process {os.getpid()} (" in occupant(port)


def test_who_serves_is_named_and_not_the_service_manager_that_holds_the_socket_too(tmp_path: Path) -> None:
    line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(f"  sl  local_address\n{line}\n")
    hold(tmp_path, 1, 4711)
    assert occupant_pid(8000, tmp_path) == 1
    hold(tmp_path, 4242, 4711)
    hold(tmp_path, 999, 12)
    assert occupant_pid(8000, tmp_path) == 4242
    assert occupant_pid(8001, tmp_path) == 0


def hold(proc: Path, pid: int, inode: int) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "fd/3").symlink_to(f"socket:[{inode}]")
