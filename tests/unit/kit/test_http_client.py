"""The control calls' client: whole answers, and three errors for whatever the network does."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from cortex.contract.error import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from cortex.kit.http_client import HttpClient

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(
    raw: bytes | None, test: Callable[[HttpClient, str], Awaitable[None]], *, hang: bool = False
) -> list[bytes]:
    """Run a test against a server that answers every connection with ``raw`` and closes it; return what it was sent."""
    received: list[bytes] = []

    async def run() -> None:
        over = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(raw or b"")
            if hang:
                await over.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = HttpClient(user_agent="test")
        try:
            await test(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        finally:
            over.set()
            await client.close()
            server.close()
            await server.wait_closed()

    asyncio.run(run())
    return received


def test_answer_comes_whole_whatever_its_status() -> None:
    async def run(client: HttpClient, url: str) -> None:
        reply = await client.request("GET", f"{url}/x%2Fy?q=1", deadline_s=5, headers={"X-Own": "1"})
        assert (reply.status, reply.body, reply.headers["x-said"]) == (404, b"none", "so")

    (request,) = against(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-Said: so\r\n\r\nnone", run)
    assert request.startswith(b"GET /x%2Fy?q=1 HTTP/1.1\r\n"), "the path is sent as it was quoted"
    assert b"X-Own: 1\r\n" in request
    assert b"User-Agent: test\r\n" in request


def test_redirect_is_an_answer_like_any_other() -> None:
    async def run(client: HttpClient, url: str) -> None:
        assert (await client.request("GET", url, deadline_s=5)).status == 302

    against(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", run)


def test_silence_is_a_time_out() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.05 s"):
            await client.request("GET", url, deadline_s=0.05)

    against(None, run, hang=True)


def test_answer_that_never_ends_is_a_time_out() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamTimeout):
            await client.request("GET", url, deadline_s=0.05)

    against(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", run, hang=True)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x16\x03\x01 garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
    ids=["closed without a word", "not HTTP", "cut in the body"],
)
def test_broken_answer_is_broken(raw: bytes) -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamBroken):
            await client.request("POST", url, deadline_s=5, body=b"{}")

    against(raw, run)


def test_endless_answer_is_cut_off() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamBroken, match="more than 1000 bytes"):
            await client.request("GET", url, deadline_s=5, max_answer_bytes=1000)

    against(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, run)


def test_refused_connection_is_unreachable() -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        client = HttpClient()
        try:
            with pytest.raises(UpstreamUnreachable, match=r"no connection: Connection refused$"):
                await client.request("GET", f"http://127.0.0.1:{port}/", deadline_s=5)
        finally:
            await client.close()

    asyncio.run(run())


def test_closing_an_unused_client_is_nothing() -> None:
    asyncio.run(HttpClient().close())


def test_its_library_is_imported_by_the_first_call_and_not_by_a_neuron_that_loads_nothing() -> None:
    program = "import sys, cortex.neuron.app; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


async def lines_of(client: HttpClient, url: str, *, silence_s: float = 5, max_line_bytes: int = 1000) -> list[bytes]:
    async with client.stream(url, deadline_s=5, silence_s=silence_s) as stream:
        return [line async for line in stream.lines(max_line_bytes)]


def chunked(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_stream_is_read_line_by_line_however_it_is_cut() -> None:
    async def run(client: HttpClient, url: str) -> None:
        assert await lines_of(client, url) == [b"one", b"", b"two three", b"four"]

    against(chunked(b"on", b"e\r", b"\n\ntwo ", b"three\nfour\nunfinished"), run)


def test_line_that_never_ends_is_cut_off() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamBroken, match="a line of more than 1000 bytes"):
            await lines_of(client, url)

    against(chunked(b"x" * 5000), run)


def test_long_line_within_the_bound_comes_whole() -> None:
    async def run(client: HttpClient, url: str) -> None:
        assert await lines_of(client, url, max_line_bytes=1 << 20) == [b"x" * 300_000]

    against(chunked(b"x" * 300_000, b"\n"), run)


def test_silent_stream_is_a_time_out() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamTimeout):
            await lines_of(client, url, silence_s=0.05)

    against(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin\n", run, hang=True)


def test_stream_that_breaks_off_is_broken() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamBroken):
            await lines_of(client, url)

    against(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin\n", run)


def test_stream_that_does_not_begin_is_a_time_out() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(UpstreamTimeout, match=r"0\.05 s"):
            async with client.stream(url, deadline_s=0.05, silence_s=5):
                pytest.fail("it has begun")

    against(None, run, hang=True)


def test_what_turns_out_to_be_no_stream_is_read_whole() -> None:
    async def run(client: HttpClient, url: str) -> None:
        async with client.stream(url, deadline_s=5, silence_s=5, headers={"X-Own": "1"}) as stream:
            reply = await stream.whole()
        assert (stream.status, reply.status, reply.body) == (404, 404, b"none")

    (request,) = against(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", run)
    assert b"X-Own: 1\r\n" in request


def test_errors_of_whoever_reads_a_stream_are_their_own() -> None:
    async def run(client: HttpClient, url: str) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with client.stream(url, deadline_s=5, silence_s=5):
                raise ValueError("mine")

    against(chunked(b"x"), run)
