"""Pictures by URL: from public hosts only, over https, within bounds, and only pictures."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from tests.unit.gateway.data.hand_loop import LateLoop

from cortex.contract.error import ImageUnavailable
from cortex.gateway.data import image_fetch
from cortex.gateway.data.image_fetch import ImageFetch, ImagePolicy, checked_url, is_public, picture_kind

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.example/a.png",
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "https://",
        "https://user:word@pictures.example/a.png",
        "https://[::1/a.png",
        "https://pictures.example:99999/a.png",
        "gopher://x",
        "//pictures.example/a.png",
        "",
    ],
)
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(ImageUnavailable):
        checked_url(url, ())


def test_an_excepted_host_may_be_asked_by_http() -> None:
    assert checked_url("http://nas.lan/a.png", ("nas.lan",)).hostname == "nas.lan"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:0a00:0001::1", False),
        ("::127.0.0.1", False),
        ("::", False),
        ("::ffff:0:127.0.0.1", False),
        ("::ffff:0:93.184.216.34", True),
        ("64:ff9b:1::127.0.0.1", False),
        ("64:ff9b:1:5db8:d822::", False),
        ("fec0::1", False),
    ],
)
def test_an_address_is_public_or_it_is_not(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(data: bytes, kind: str | None) -> None:
    assert picture_kind(data) == kind


def served(
    test: Callable[[str], Awaitable[None]], handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    """Run a test against a server on loopback, whose base URL it gets."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            await test(f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    with asyncio.Runner(loop_factory=LateLoop) as loop:
        loop.run(run())


def fetcher(**policy: object) -> ImageFetch:
    return ImageFetch(ImagePolicy(**({"hosts": ("127.0.0.1",)} | policy)))  # type: ignore[arg-type]


async def picture(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=PNG)


def test_a_picture_comes_as_a_data_url() -> None:
    async def test(base: str) -> None:
        assert (await fetcher().fetch(f"{base}/a.png")).startswith(b"data:image/png;base64,iVBORw0KGgo")

    served(test, picture)


def test_a_host_that_is_not_public_is_not_asked() -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(body=PNG)

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable, match="not a public one"):
            await fetcher(hosts=()).fetch(base.replace("http:", "https:"))

    served(test, handler)
    assert asked == []


def test_a_public_name_that_leads_inside_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(self: object, host: str, port: int, **_: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port)),
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)
    with pytest.raises(ImageUnavailable, match="not a public one"):
        asyncio.run(fetcher().fetch("https://rebound.example/a.png"))


def test_a_redirect_is_checked_like_a_url() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://localhost/secret")

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable, match="no https URL"):
            await fetcher().fetch(base)

    served(test, handler)


def test_redirects_have_an_end() -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPFound(f"/{len(asked)}")

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable, match="too often"):
            await fetcher().fetch(base)

    served(test, handler)
    assert len(asked) == image_fetch.MAX_REDIRECTS + 1


def test_a_redirect_to_a_picture_is_followed() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/a":
            raise web.HTTPFound("/b")
        return web.Response(body=PNG)

    async def test(base: str) -> None:
        assert (await fetcher().fetch(f"{base}/a")).startswith(b"data:image/png")

    served(test, handler)


@pytest.mark.parametrize(("status", "body"), [(404, b"no"), (200, b"<html>"), (200, b"<svg/>")])
def test_what_is_no_picture_is_told(status: int, body: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable):
            await fetcher().fetch(base)

    served(test, handler)


def test_a_picture_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "MAX_IMAGE_BYTES", 100)

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=PNG + b"\0" * 200)

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable, match="larger than"):
            await fetcher().fetch(base)

    served(test, handler)


def test_a_server_that_is_slow_is_given_up() -> None:
    given_up = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await given_up.wait()
        return web.Response(body=PNG)

    async def test(base: str) -> None:
        with pytest.raises(ImageUnavailable, match="did not come within"):
            await fetcher(timeout_s=0.05).fetch(base)
        given_up.set()

    served(test, handler)


def test_nobody_there_is_told() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ImageUnavailable, match="cannot be fetched"):
            asyncio.run(fetcher().fetch(f"http://127.0.0.1:{held.getsockname()[1]}/a.png"))


def test_fetching_can_be_switched_off() -> None:
    with pytest.raises(ImageUnavailable, match="inline"):
        asyncio.run(fetcher(is_on=False).fetch("https://pictures.example/a.png"))


@pytest.mark.parametrize("host", ["x" * 300 + ".example", "a..b", "\u3002.example", "xn--\u00e4"])
def test_a_name_that_cannot_be_is_unknown(host: str) -> None:
    with pytest.raises(ImageUnavailable):
        asyncio.run(fetcher().fetch(f"https://{host}/a.png"))


def test_who_waits_for_a_turn_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_fetch, "MAX_AT_ONCE", 1)
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/first":
            arrived.set()
            await may_answer.wait()
        return web.Response(body=PNG)

    async def test(base: str) -> None:
        fetch, loop = fetcher(timeout_s=60), asyncio.get_running_loop()
        assert isinstance(loop, LateLoop)
        first = loop.create_task(fetch.fetch(f"{base}/first"))
        await arrived.wait()
        second = loop.create_task(fetch.fetch(f"{base}/second"))
        await asyncio.sleep(0)
        loop.skipped_s = 61
        with pytest.raises(ImageUnavailable, match="did not come within"):
            await first
        may_answer.set()
        assert (await second).startswith(b"data:image/png")

    served(test, handler)


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says something else the second time is not asked a second time."""
    asked: list[str] = []
    look_up = asyncio.BaseEventLoop.getaddrinfo

    async def found(self: Any, host: str, port: int, **more: Any) -> Any:
        asked.append(host)
        assert asked.count("pictures.example") < 2
        return await look_up(self, "127.0.0.1" if host == "pictures.example" else host, port, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)

    async def test(base: str) -> None:
        url = base.replace("127.0.0.1", "pictures.example")
        assert (await fetcher(hosts=("pictures.example",)).fetch(url)).startswith(b"data:image/png")

    served(test, picture)
    assert asked.count("pictures.example") == 1
