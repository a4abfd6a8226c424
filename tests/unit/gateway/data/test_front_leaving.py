"""A door that is being left: nobody's request is lost, and everybody goes."""

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest
from tests.unit.gateway.data.test_front import GET, Door, answer, at_door, certified, leave

from cortex.gateway.data import front
from cortex.gateway.data.front import FrontLimit


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "ACCEPTED_S", 0)


async def some_turns(until: Callable[[], bool] = lambda: False) -> None:
    """Let the loop turn, a good many times or until something is so."""
    for _ in range(1000):
        if not until():
            await asyncio.sleep(0)


@at_door()
async def test_an_idle_connection_gets_one_more_answer_which_says_that_it_is_the_last(door: Door) -> None:
    reader, writer = await door.client()
    writer.write(GET)
    assert b"connection: close" not in await answer(reader)
    door.front.leave(accepts=True)
    writer.write(GET)
    assert b"connection: close" in await answer(reader)
    assert await reader.read() == b""
    await leave(writer)


@at_door(is_slow=True)
async def test_an_answer_that_has_not_begun_says_that_it_is_the_last(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    door.front.leave(accepts=True)
    clerk.answer()
    assert b"connection: close" in await reader.read()
    await leave(writer)


@at_door(is_slow=True)
async def test_one_that_has_begun_is_not_cut_and_its_connection_is_good_for_one_more(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    clerk.exchange.begin(200, b"", 4)
    clerk.exchange.write(b"he")
    door.front.leave(accepts=True)
    clerk.exchange.finish(b"re")
    first = await answer(reader)
    assert first.endswith(b"here")
    assert b"connection: close" not in first
    writer.write(GET)
    (await door.clerks.get()).answer()
    assert b"connection: close" in await reader.read()
    await leave(writer)


@at_door(is_slow=True)
async def test_requests_that_wait_behind_a_running_one_are_all_answered(door: Door) -> None:
    reader, writer, clerk = await door.visit(GET + GET + GET)
    await asyncio.sleep(0)
    door.front.leave(accepts=True)
    for _ in range(2):
        clerk.answer()
        assert b"connection: close" not in await answer(reader)
        clerk = await door.clerks.get()
    clerk.answer()
    assert b"connection: close" in await reader.read()
    await leave(writer)


@at_door(limit=FrontLimit(keep_alive_s=0, sweep_s=0.001))
async def test_idle_connections_are_gone_after_a_while(door: Door) -> None:
    reader, writer = await door.client()
    door.front.leave(accepts=False)
    await door.front.left()
    assert await reader.read() == b""
    await leave(writer)


@at_door(is_slow=True)
async def test_it_is_left_when_the_last_answer_is_written(door: Door) -> None:
    reader, writer, clerk = await door.visit()
    door.front.leave(accepts=False)
    left = asyncio.ensure_future(door.front.left())
    await some_turns()
    assert not left.done()
    clerk.answer()
    await left
    assert b"200 OK" in await reader.read()
    await leave(writer)


@at_door()
async def test_new_connections_are_taken_where_it_is_said_so(door: Door) -> None:
    door.front.leave(accepts=True)
    reader, writer = await door.client()
    writer.write(GET)
    assert b"connection: close" in await reader.read()
    await leave(writer)


@at_door()
async def test_new_connections_wait_for_whoever_listens_on_the_same_socket(door: Door) -> None:
    with door.socket.dup() as same:
        door.front.leave(accepts=False)
        connecting = socket.create_connection(("127.0.0.1", door.port))
        same.setblocking(True)
        accepted, _ = await asyncio.to_thread(same.accept)
        accepted.close()
        connecting.close()


@at_door(tls=(True,))
async def test_it_is_not_left_while_a_client_shakes_hands(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port)) as connection:
        connection.setblocking(False)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = certified()[0].trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        await asyncio.get_running_loop().sock_sendall(connection, outgoing.read()[:10])
        await some_turns(until=lambda: len(door.front._shaking) > 0)
        door.front.leave(accepts=False)
        left = asyncio.ensure_future(door.front.left())
        await some_turns()
        assert not left.done()
    await left


def test_a_leaving_front_is_as_patient_with_idle_connections_as_it_may_be() -> None:
    async def run() -> None:
        door = Door(FrontLimit(keep_alive_s=2), is_slow=False)
        assert door.front.idle_s == 2
        door.front.is_leaving = True
        assert door.front.idle_s == 2
        door.front.limit = FrontLimit(keep_alive_s=75)
        assert door.front.idle_s == 5
        door.socket.close()

    asyncio.run(run())
