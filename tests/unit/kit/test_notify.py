"""What the service manager is told, heard at a socket of the test's own."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex.kit.notify import Notifier, notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        yield heard


def hear(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def a_notifier(manager: socket.socket, watchdog_s: float | None = None) -> Notifier:
    return Notifier(manager.getsockname(), watchdog_s)


def test_every_state_is_told_as_sd_notify_has_it(manager: socket.socket) -> None:
    it = a_notifier(manager, 10.0)
    it.ready("2 of 2\nnodes")
    assert hear(manager) == ["READY=1", "STATUS=2 of 2 nodes"]
    it.reloading()
    first, second = hear(manager)
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0
    it.status("fine")
    assert hear(manager) == ["STATUS=fine"]
    it.alive()
    assert hear(manager) == ["WATCHDOG=1"]
    it.alive(extend_s=30)
    assert hear(manager) == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"]
    it.main_process(17)
    assert hear(manager) == ["MAINPID=17"]
    it.stopping("bye")
    assert hear(manager) == ["STOPPING=1", "STATUS=bye"]
    it.close()


def test_without_a_watchdog_a_sign_of_life_says_nothing(manager: socket.socket) -> None:
    it = a_notifier(manager)
    it.alive()
    it.status("the first to be heard")
    assert hear(manager) == ["STATUS=the first to be heard"]
    it.close()


def test_an_abstract_socket_is_spoken_to() -> None:
    name = f"cortex-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(30)
        it = notifier({"NOTIFY_SOCKET": "@" + name})
        it.status("hello")
        assert hear(manager) == ["STATUS=hello"]
        it.close()


def test_the_variables_are_taken_so_that_nobody_inherits_them() -> None:
    env = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/h"}
    it = notifier(env)
    assert env == {"HOME": "/h"}
    assert (it.address, it.watchdog_s) == ("/run/n", 30.0)
    assert it.handed_on() == {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"NOTIFY_SOCKET": "/run/n"},
        {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "5"},
    ],
    ids=["nothing", "no-watchdog", "zero", "no-number", "another-process", "nobody-to-tell"],
)
def test_a_watchdog_that_is_not_this_process_s_is_not_fed(env: dict[str, str]) -> None:
    assert notifier(dict(env)).watchdog_s is None


def test_without_anybody_to_tell_nothing_is_said_or_handed_on() -> None:
    it = notifier({})
    it.ready("well")
    assert not it.is_heard
    assert it.handed_on() == {}


def test_an_address_of_another_kind_is_told_once_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert not notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).is_heard
    assert "vsock:2:1234" in caplog.text


def test_a_manager_that_is_gone_is_told_of_once_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = Notifier(str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        it.status("one")
        it.status("two")
    assert len(caplog.records) == 1
    it.close()
