"""A port is free, ours, or somebody's, who is named where the kernel tells."""

import errno
import os
import socket
from pathlib import Path

import pytest

from cortex.cli.doctor.port import PortState, judge_port, look_at


def test_a_free_port_is_free_and_one_of_this_process_is_its() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        state = look_at("127.0.0.1", port)
        assert (state.refusal, state.pid) == (errno.EADDRINUSE, os.getpid())
        assert state.process == Path("/proc/self/comm").read_text().strip()
    assert look_at("127.0.0.1", port) == PortState("127.0.0.1", port)


def test_an_address_of_another_host_is_none_of_this_one() -> None:
    assert look_at("192.0.2.1", 8000).refusal == errno.EADDRNOTAVAIL
    assert look_at("no.such.host.invalid", 8000).refusal == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("state", "result", "words"),
    [
        (PortState("0.0.0.0", 0), "ok", "any free port"),
        (PortState("0.0.0.0", 8000), "ok", "is free"),
        (PortState("0.0.0.0", 8000, errno.EADDRINUSE, 7, "cortex", "1.2.0"), "ok", "cortex 1.2.0 runs"),
        (PortState("0.0.0.0", 8000, errno.EADDRINUSE, 7, "cortex", "?"), "ok", "unknown version"),
        (PortState("0.0.0.0", 8000, errno.EADDRINUSE, 7, "cortex", "1.1.0"), "warn", "cortex 1.1.0 runs"),
        (PortState("0.0.0.0", 9090, errno.EADDRINUSE, 1, "systemd"), "fail", "systemd (process 1); this is"),
        (PortState("0.0.0.0", 9100, errno.EADDRINUSE), "fail", "another user; this is the port of Prometheus'"),
        (PortState("0.0.0.0", 80, errno.EACCES), "fail", "may not be taken"),
        (PortState("10.9.9.9", 8000, errno.EADDRNOTAVAIL), "fail", "no address of this host"),
        (PortState("0.0.0.0", 8000, errno.EIO), "fail", "EIO"),
    ],
)  # fmt: skip
def test_who_has_a_port_is_told(state: PortState, result: str, words: str) -> None:
    found = judge_port(state, "listen", "1.2.0", daemon="cortex")
    assert (found.result, found.about) == (result, "listen")
    assert words in found.found
    assert bool(found.do) == (result != "ok")


def test_a_port_that_gateways_share_may_be_anothers() -> None:
    state = PortState("0.0.0.0", 8000, errno.EADDRINUSE, 7, "python3")
    assert judge_port(state, "listen", "1.2.0", daemon="cortex", is_shared=True).result == "warn"
