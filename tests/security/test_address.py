"""Whoever has no address is no local socket: a client that resets its connection at once is not let in as one."""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.gateway.data.desk import TEXT, Clerk
from tests.unit.gateway.data.test_front import GET, loops

from cortex.gateway.data.door_room import DoorRoom, peer_of
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.front import Front, FrontLimit

RESET = struct.pack("ii", 1, 0)


class Door:
    """A front that writes down from where it was asked."""

    def __init__(self, room: DoorRoom) -> None:
        self.peers: list[str] = []
        self.front = Front(self._route, FrontLimit(), asyncio.get_running_loop(), room=room)

    def _route(self, exchange: Exchange) -> Clerk:
        self.peers.append(exchange.connection.peer)
        exchange.reply(200, TEXT, b"here")
        return Clerk(exchange, is_slow=False)


@pytest.mark.parametrize("loop", loops(), ids=["asyncio", "uvloop"][: len(loops())])
def test_a_client_that_resets_at_once_does_not_pass_for_a_local_socket(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def run() -> None:
        room = DoorRoom()
        door = Door(room)
        listener = socket.create_server(("127.0.0.1", 0))
        for _ in range(3):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(GET)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await door.front.start([listener])
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(GET)
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 1), "it comes after the others"
        await door.front.stop(0)
        assert set(door.peers) == {"127.0.0.1"}
        assert room.taken == 0

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", loops(), ids=["asyncio", "uvloop"][: len(loops())])
def test_a_local_socket_is_one(loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    async def run() -> None:
        door = Door(DoorRoom())
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        await door.front.start([listener])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(GET)
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 1)
        await door.front.stop(0)
        assert door.peers == [""]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


class Transport:
    """Tells what it is given to tell."""

    def __init__(self, **info: object) -> None:
        self._info = info

    def get_extra_info(self, name: str) -> object:
        return self._info.get(name)


def test_only_a_socket_of_the_local_kind_may_have_no_address() -> None:
    with socket.socket(socket.AF_UNIX) as local, socket.socket() as other:
        found = [
            peer_of(Transport(**info))  # type: ignore[arg-type]
            for info in ({"socket": local}, {"socket": other}, {}, {"socket": other, "peername": ("192.0.2.1", 1)})
        ]
    assert found == ["", None, None, "192.0.2.1"]
