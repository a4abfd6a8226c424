"""One process takes the place of another: programs that play the new one, real sockets and signals."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest

from cortex.kit.successor import NoSuccessor, Successor, own_command, start_successor

LIMIT_S = 60.0

TAKES_OVER = """
import asyncio, os, socket, sys
from cortex.kit.handed_socket import LINE, take_handed
from cortex.kit.successor import Predecessor
handed = take_handed(os.environ, ("api",))
async def run():
    line, door = handed[LINE][0], handed["api"][0]
    await Predecessor(line).relieve()
    door.setblocking(True)
    connection, _ = door.accept()
    connection.sendall(os.environ["MORE"].encode())
asyncio.run(run())
"""
HANGS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); signal.pause()"


def running(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), LIMIT_S))


def start(program: str, door: socket.socket) -> Successor:
    return start_successor({"api": [door]}, {"MORE": "hello"}, [sys.executable, "-c", program])


def reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_successor_has_the_sockets_and_speaks_when_it_is_the_service() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            successor = start(TAKES_OVER, door)
            await successor.ready(LIMIT_S)
            successor.take_over()
            reader, writer = await asyncio.open_connection(*door.getsockname())
            assert await reader.read() == b"hello"
            writer.close()
            assert await asyncio.to_thread(reap, successor.pid) == 0

    running(run)


def test_one_whose_predecessor_dies_goes_on_alone() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            successor = start(TAKES_OVER, door)
            await successor.ready(LIMIT_S)
            successor._line.close()  # as the kernel does it for a process that is killed
            reader, writer = await asyncio.open_connection(*door.getsockname())
            assert await reader.read() == b"hello"
            writer.close()
            assert await asyncio.to_thread(reap, successor.pid) == 0

    running(run)


def test_one_that_ends_before_it_is_ready_is_told_with_its_exit_code() -> None:
    async def run() -> None:
        refused = pytest.raises(NoSuccessor, match=r"ended \(exit code 3\)")
        with socket.create_server(("127.0.0.1", 0)) as door, refused:
            await start("raise SystemExit(3)", door).ready(LIMIT_S)

    running(run)


def test_one_that_says_nothing_is_ended_by_force_if_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortex.kit.successor.STOP_S", 0.01)

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            successor = start(HANGS, door)
            with pytest.raises(NoSuccessor, match=r"is not ready after 0\.01 s"):
                await successor.ready(0.01)
            with pytest.raises(ChildProcessError):  # it was waited for already
                reap(successor.pid)

    running(run)


def test_a_program_that_is_not_there_is_no_successor() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door, pytest.raises(NoSuccessor, match="exit code 127"):
            await start_successor({"api": [door]}, {}, ["/no/such/program"]).ready(LIMIT_S)

    running(run)


def test_what_is_started_holds_the_signals_that_it_cannot_handle_yet() -> None:
    program = "import signal; raise SystemExit(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as door, pytest.raises(NoSuccessor, match=r"exit code 2\)"):
            await start(program, door).ready(LIMIT_S)

    running(run)


def test_the_same_program_is_started_with_the_same_arguments() -> None:
    assert own_command()[0] == sys.executable
    assert own_command()[1:] == sys.orig_argv[1:]
