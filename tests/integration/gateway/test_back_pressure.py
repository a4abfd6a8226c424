"""Whoever reads slowly slows down whoever writes to him, and costs the gateway no memory."""

import asyncio

from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chunk, event, good
from tests.integration.gateway.raw_client import RawClient, connected
from tests.integration.gateway.scene import ASK_STREAM, Scene, scene, until

MIB = 1 << 20
LARGE = event("x" * (MIB // 2))
COUNT = 96
"""48 MiB: more than the kernel's own buffers for the gateway's two sockets take (32 and 4 MiB at most)."""


class Flood:
    """An engine that says more than anybody takes in one go, and counts what it got rid of."""

    def __init__(self) -> None:
        self.said = 0
        self.turn: Turn | None = None

    async def script(self, turn: Turn) -> None:
        self.turn = turn
        await turn.body()
        await turn.send(SSE_HEAD)
        for _ in range(COUNT):
            await turn.events(LARGE)
            self.said += 1
        await turn.events(DONE)
        await turn.finish()

    def is_held(self) -> bool:
        """Whether it has more to say than its own socket takes."""
        return self.turn is not None and self.turn.line.transport.get_write_buffer_size() > 0


def held_bytes(it: Scene) -> int:
    """Return what the gateway holds for its clients."""
    return sum(taken.transport.get_write_buffer_size() for taken in it.gateway._door.connections)


async def is_stuck(it: Scene, flood: Flood) -> None:
    """Wait until the engine can say nothing more: a page is served meanwhile, so that everything else had its turn."""
    said = -1
    while not flood.is_held() or said != flood.said:
        said = flood.said
        for _ in range(5):
            assert (await it.get("/livez")).status == 200


@scene()
async def test_a_client_that_does_not_read_stops_its_engine_and_then_gets_everything(it: Scene) -> None:
    flood = Flood()
    it.use(flood.script)
    async with connected(it.gateway.port, buffer_bytes=65536) as client:
        await client.ask(ASK_STREAM)
        await is_stuck(it, flood)
        assert flood.said < COUNT
        assert held_bytes(it) < MIB
        assert await length_of(client) == COUNT * len(LARGE) + len(DONE)
    assert flood.said == COUNT


async def length_of(client: RawClient) -> int:
    """Read a whole answer; return how long its body is."""
    await client.head()
    length = 0
    while piece := await client.piece():
        length += len(piece)
    return length


@scene()
async def test_a_client_that_does_not_read_and_leaves_stops_its_engine(it: Scene) -> None:
    flood = Flood()
    it.use(flood.script, good)
    async with connected(it.gateway.port, buffer_bytes=65536) as client:
        await client.ask(ASK_STREAM)
        await is_stuck(it, flood)
        client.vanish()
        await flood.turn.until_lost()
    await it.at_rest()


@scene(client_stall_s=0.05)
async def test_a_client_that_never_reads_is_closed_and_its_engine_freed(it: Scene) -> None:
    flood = Flood()
    it.use(flood.script, good)
    async with connected(it.gateway.port, buffer_bytes=65536) as client:
        await client.ask(ASK_STREAM)
        await it.engine.turn(0)
        await it.turns[0].until_lost()
        await client.rest()


@scene(stall_timeout_s=1)
async def test_a_slow_client_is_not_taken_for_a_stalled_engine(it: Scene) -> None:
    flood = Flood()

    async def stalls(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD + chunk(event("a")))
        await turn.until_lost()

    it.use(flood.script, stalls)
    async with connected(it.gateway.port, buffer_bytes=65536) as client:
        await client.ask(ASK_STREAM)
        await is_stuck(it, flood)
        assert b"upstream_timeout" in (await it.ask(ASK_STREAM)).body, "a stall is noticed meanwhile"
        await client.head()
        said = flood.said
        while flood.said < said + 4:
            assert await client.piece()
        client.vanish()
    await it.at_rest()
    assert sorted(record.outcome for record in it.records) == ["client_gone", "failed"]


@scene()
async def test_an_engine_that_does_not_read_holds_its_client_back(it: Scene) -> None:
    read_on = asyncio.Event()

    async def is_deaf(turn: Turn) -> None:
        await read_on.wait()
        await good(turn)

    it.use(is_deaf)
    head = 'POST /v1/audio/transcriptions HTTP/1.1\r\nhost: g\r\ncontent-type: multipart/form-data; boundary="b"\r\n'
    first = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\norg/m\r\n'
    first += b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    last = b"\r\n--b--\r\n"
    size = 48 * MIB
    sent = 0

    async def upload(client: RawClient) -> None:
        nonlocal sent
        await client.send(f"{head}content-length: {len(first) + size + len(last)}\r\n\r\n".encode() + first)
        for _ in range(size // 65536):
            await client.send(b"x" * 65536)
            sent += 65536
        await client.send(last)

    async with it.client() as client, asyncio.TaskGroup() as group:
        group.create_task(upload(client))
        await it.engine.turn(0)
        await until(lambda: any(not taken.transport.is_reading() for taken in it.gateway._door.connections))
        before = -1
        while before != sent:
            before = sent
            for _ in range(5):
                await it.get("/livez")
        assert sent < size
        read_on.set()
        assert (await client.answer()).status == 200
    assert len(it.turns[0].text) == len(first) + size + len(last)


@scene()
async def test_a_client_that_leaves_while_its_engine_does_not_read_is_noticed(it: Scene) -> None:
    gone = asyncio.Event()

    async def is_deaf(turn: Turn) -> None:
        await gone.wait()
        await turn.body()

    it.use(is_deaf, good)
    async with it.client() as client, asyncio.TaskGroup() as group:
        sending = group.create_task(client.ask({**ASK_STREAM, "x": "y" * (40 * MIB)}))
        turn = await it.engine.turn(0)
        await sending
        client.vanish()
        await until(lambda: it.gateway.in_flight() == 0)
        gone.set()
        await turn.until_lost()
    assert not turn.is_read, "the rest of the request was thrown away"
