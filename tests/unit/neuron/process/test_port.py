"""Ports for engines: what somebody listens on is not handed out, and what was given back is."""

import socket
from collections.abc import Iterator

import pytest

from cortex.neuron.process.port import HostPorts, free_port, is_free

HOST = "127.0.0.1"


@pytest.fixture
def busy() -> Iterator[int]:
    """Yield a port that somebody listens on."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port(HOST)
    assert port is not None
    assert is_free(HOST, port)


@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_not_free(busy: int, host: str) -> None:
    assert not is_free(host, busy)


def test_a_port_whose_last_connection_still_lingers_is_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)):
            server.accept()[0].close()  # the side that closes first has the port linger
    assert is_free(HOST, port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"], ids=["not ours", "no address"])
def test_on_a_host_that_is_not_this_one_no_port_is_free(host: str) -> None:
    assert (is_free(host, 0), free_port(host)) == (False, None)


def test_without_a_range_any_free_port_is_taken() -> None:
    ports = HostPorts(HOST, None)
    port = ports.take()
    assert port is not None
    assert is_free(HOST, port)
    ports.claim(port)
    ports.give_back(port)


def test_a_range_hands_out_each_port_once_and_again_when_it_was_given_back() -> None:
    first = adjoining_free_ports()
    ports = HostPorts(HOST, (first, first + 1))
    assert [ports.take(), ports.take(), ports.take()] == [first, first + 1, None]
    ports.give_back(first)
    assert ports.take() == first


def test_a_port_of_the_range_that_somebody_listens_on_is_passed_over(busy: int) -> None:
    assert HostPorts(HOST, (busy, busy)).take() is None


def test_a_port_that_a_running_engine_has_is_passed_over() -> None:
    first = adjoining_free_ports()
    ports = HostPorts(HOST, (first, first + 1))
    ports.claim(first)
    assert [ports.take(), ports.take()] == [first + 1, None]


def adjoining_free_ports() -> int:
    """Return the first of two free ports side by side."""
    while True:
        port = free_port(HOST)
        assert port is not None
        if port < 65535 and is_free(HOST, port + 1):
            return port
