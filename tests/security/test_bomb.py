"""Nothing that is small on the wire becomes large in here: bodies are never unpacked, pictures never decoded."""

import base64
import gzip
import struct
import zlib

import pytest
from tests.integration.gateway.hostile_engine import Turn, good
from tests.integration.gateway.scene import MODEL, Scene, scene

from cortex.gateway.admin.operation import OPERATIONS, PREFIX
from cortex.gateway.data.route import INFERENCE

BOMB = gzip.compress(b'{"model":"org/m","prompt":"' + b" " * (32 << 20) + b'"}')
ADMIN = [PREFIX + one.path.replace("{id}", "m").replace("{name}", "n0") for one in OPERATIONS if one.body is not None]
PATHS = [*(path.decode() for path in INFERENCE), "/v1/messages/count_tokens", "/api/show", *ADMIN]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "identity, gzip"])
@scene(good)
async def test_a_packed_body_is_refused_on_every_path(it: Scene, coding: str) -> None:
    headers = (f"content-encoding: {coding}", "content-type: application/json")
    for path in PATHS:
        answer = await it.ask(BOMB, *headers, path=path)
        assert answer.status == 415, path
    assert it.turns == []


def picture(width: int, height: int) -> bytes:
    """Return a PNG of a few hundred bytes that takes width x height x 8 bytes when it is decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@scene(good)
async def test_a_giant_picture_is_passed_on_and_not_decoded(it: Scene, path: str) -> None:
    data = base64.b64encode(picture(2**31 - 1, 2**31 - 1)).decode()
    if path == "/v1/messages":
        source = {"type": "base64", "media_type": "image/png", "data": data}
        part: dict[str, object] = {"type": "image", "source": source}
    else:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    ask = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": [part]}]}
    await it.ask(ask, "anthropic-version: 2023-06-01", path=path)
    (turn,) = it.turns
    assert data.encode() in turn.text


async def packed(turn: Turn) -> None:
    await turn.body()
    body = gzip.compress(b'{"x":"' + b" " * (32 << 20) + b'"}')
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    await turn.send(head % len(body))
    await turn.finish(body)


@scene(packed)
async def test_an_engine_is_not_asked_to_pack_and_what_it_packs_is_passed_on_as_it_is(it: Scene) -> None:
    answer = await it.ask({"model": MODEL, "messages": []}, "accept-encoding: gzip")
    (turn,) = it.turns
    assert "accept-encoding" not in turn.headers
    assert len(answer.body) < 1 << 20
    assert answer.header("content-encoding") == "gzip" or answer.status >= 500


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"model":' + b"[" * 200_000])
@scene(good)
async def test_a_body_of_nothing_but_depth_is_400(it: Scene, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/v1/messages/count_tokens"):
        assert (await it.ask(body, path=path)).status == 400, path


@scene(good)
async def test_a_number_of_a_million_digits_costs_nobody_anything(it: Scene) -> None:
    body = b'{"model":"org/m","messages":[],"max_tokens":' + b"9" * 1_000_000 + b"}"
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"):
        assert (await it.ask(body, path=path)).status in (200, 400), path
