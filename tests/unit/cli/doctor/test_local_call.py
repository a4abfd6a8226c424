"""A port of this host is asked what it is; whoever does not speak HTTP, or nobody, is None."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.certificate import Authority, Pair
from tests.port import free_port
from tests.unit.cli.desk import desk

from cortex.cli.doctor.examination import in_thread
from cortex.cli.doctor.local_call import get, has_certificate, place_of


def test_an_answer_has_status_body_and_headers() -> None:
    with desk(GET_readyz={"status": "ok"}) as here:
        said = get(f"{here.url}/readyz", {"authorization": "Bearer k"}, 30.0)
        assert said is not None
        assert (said[0], said[1], said[2]["content-length"]) == (200, b'{"status":"ok"}', "15")
        assert here.credentials == ["Bearer k"]
        assert get(f"{here.url}/none", {}, 30.0)[:1] == (404,)  # type: ignore[index]


def test_nobody_and_who_speaks_something_else_are_none() -> None:
    assert get(f"http://127.0.0.1:{free_port()}/", {}, 30.0) is None

    async def run() -> object:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 smtp ready\r\n")
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await in_thread(get, f"http://127.0.0.1:{port}/", {}, 30.0)

    assert asyncio.run(run()) is None


@pytest.mark.parametrize(
    ("host", "place"),
    [("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("10.0.0.1", "10.0.0.1:8000"), ("fd00::1", "[fd00::1]:8000")],
)
def test_a_wildcard_is_reached_on_loopback(host: str, place: str) -> None:
    assert place_of(host, 8000) == place


@asynccontextmanager
async def closed_door(shown: Pair, authority: Authority, port: int = 0) -> AsyncIterator[int]:
    """Let nobody in who has no certificate of the authority; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*shown)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED

    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", port, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def test_a_door_that_asks_for_a_certificate_is_known_by_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, other = authority.issue("ours"), authority.issue("other")

    async def run() -> tuple[bool, bool]:
        async with closed_door(ours, authority) as port:
            place = f"127.0.0.1:{port}"
            return (
                await in_thread(has_certificate, place, ours.cert, 30.0),
                await in_thread(has_certificate, place, other.cert, 30.0),
            )

    assert asyncio.run(run()) == (True, False)


def test_a_port_without_tls_has_no_certificate(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("ours")
    with desk() as here:
        assert not has_certificate(here.url.removeprefix("http://"), pair.cert, 30.0)
    assert not has_certificate("127.0.0.1:1", str(tmp_path / "none"), 30.0)
