"""Whatever a caller gets wrong has its status and an OpenAI error that says what to do; no engine hears of it."""

import gzip

import msgspec
import pytest
from tests.integration.gateway.raw_client import Answer, request
from tests.integration.gateway.scene import ASK, Scene, scene

MIB = 1 << 20


def is_told(answer: Answer, status: int, code: str, words: str) -> None:
    assert answer.status == status, answer
    error = answer.error()
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "malformed_request", "no body: send a JSON object"),
        (b" \n", "malformed_request", "no body: send a JSON object"),
        (b"hello", "malformed_request", "not valid JSON"),
        (b'{"model": "org/m"', "malformed_request", "not valid JSON"),
        (b'{"model": "org/m"} trailing', "malformed_request", "not valid JSON"),
        (b'{"model": "\xff"}', "malformed_request", "not valid JSON"),
        (b"[]", "malformed_request", "must be a JSON object"),
        (b'"org/m"', "malformed_request", "must be a JSON object"),
        (b'{"messages": []}', "model_missing", "GET /v1/models lists the ids"),
        (b'{"model": ""}', "model_missing", "GET /v1/models lists the ids"),
        (b'{"model": null}', "malformed_request", '"model" must be a string, not null'),
        (b'{"model": 7}', "malformed_request", '"model" must be a string, not a number'),
        (b'{"model": ["org/m"]}', "malformed_request", '"model" must be a string, not an array'),
        (b'{"model": {"id": "org/m"}}', "malformed_request", '"model" must be a string, not an object'),
    ],
    ids=[
        "empty", "blank", "not-json", "cut-json", "more-than-json", "not-utf8", "array", "string", "model-missing",
        "model-empty", "model-null", "model-number", "model-array", "model-object",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"], ids=["chat", "embeddings"])
@scene()
async def test_a_malformed_body_is_400(it: Scene, path: str, body: bytes, code: str, words: str) -> None:
    async with it.client() as client:
        await client.ask(body, path=path)
        is_told(await client.answer(), 400, code, words)
        await client.ask(ASK)
        assert (await client.answer()).status == 200, "the connection lives on"
    assert len(it.turns) == 1


@scene()
async def test_missing_model_field(it: Scene) -> None:
    answer = await it.ask({"messages": ASK["messages"]})
    is_told(answer, 400, "model_missing", 'add "model": "<id>" to the JSON body')
    assert answer.error()["param"] == "model"


@scene()
async def test_a_model_name_with_control_characters_is_unknown_and_does_no_harm(it: Scene) -> None:
    answer = await it.ask({**ASK, "model": "a\r\nx: y\x00\u2028"})
    is_told(answer, 404, "model_not_found", "a\r\nx: y\x00\u2028")


@scene()
async def test_a_model_name_without_measure_is_400_and_not_told_back(it: Scene) -> None:
    """To look for names like it would take the gateway minutes."""
    answer = await it.ask({**ASK, "model": "z" * 5_000_000})
    is_told(answer, 400, "malformed_request", '"model" is longer than 1024 characters')
    assert len(answer.body) < 1024


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
@scene()
async def test_a_wrong_method_is_405_and_the_right_one_named(it: Scene, method: str) -> None:
    answer = await it.ask(b"", method=method)
    assert answer.status == 405
    assert answer.header("allow") == "POST, OPTIONS"
    if method != "HEAD":
        is_told(answer, 405, "method_not_allowed", f"takes POST, not {method}")


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/org/m", "/"])
@scene()
async def test_a_post_to_a_page_is_405(it: Scene, path: str) -> None:
    answer = await it.ask(b"{}", path=path)
    is_told(answer, 405, "method_not_allowed", "takes GET, HEAD, not POST")
    assert answer.header("allow") == "GET, HEAD, OPTIONS"


@scene()
async def test_options_is_answered_without_a_body(it: Scene) -> None:
    async with it.client() as client:
        await client.ask(b"", method="OPTIONS")
        answer = await client.answer()
        assert (answer.status, answer.header("allow"), answer.body) == (204, "POST, OPTIONS", b"")
        await client.ask(b"", path="/livez", method="GET")
        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nothing", "There is nothing at /nothing"),
        ("/chat/completions", "Did you mean /v1/chat/completions?"),
        ("/models", "Did you mean /v1/models?"),
        ("/v1/v1/chat/completions", "Did you mean /v1/chat/completions?"),
        ("/v1/chat/completions/", "There is nothing at"),
        ("//v1/chat/completions", "There is nothing at"),
        ("/v1/../v1/chat/completions", "There is nothing at"),
        ("/" + "x" * 5000, "There is nothing at"),
    ],
)
@scene()
async def test_an_unknown_path_is_404_and_the_known_ones_named(it: Scene, path: str, words: str) -> None:
    answer = await it.ask(ASK, path=path)
    is_told(answer, 404, "path_not_found", words)
    assert "/v1/chat/completions" in answer.error()["message"]
    assert it.turns == []


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, identity"])
@scene()
async def test_a_compressed_body_is_415(it: Scene, coding: str) -> None:
    answer = await it.ask(gzip.compress(msgspec.json.encode(ASK)), f"content-encoding: {coding}")
    is_told(answer, 415, "unsupported_encoding", "send the body without Content-Encoding")


@scene()
async def test_a_body_coded_as_identity_is_served(it: Scene) -> None:
    assert (await it.ask(ASK, "content-encoding: identity")).status == 200


@scene(max_body_mb=1)
async def test_a_body_that_declares_too_much_is_413_before_a_byte_of_it_is_sent(it: Scene) -> None:
    async with it.client() as client:
        await client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 2000000\r\n\r\n")
        answer = await client.answer()
        is_told(answer, 413, "body_too_large", "larger than 1 MiB. Send less, or have the operator raise max_body_mb")
        assert answer.header("connection") == "close"
        assert await client.rest() == b""
    assert await it.metric("cortex_requests_total", model="unknown") == 1
    assert await it.metric("cortex_request_errors_total") == 0
    assert await it.metric("cortex_client_connections") == 0


@scene(max_body_mb=1)
async def test_a_client_that_sends_all_of_a_too_large_body_can_still_read_the_413(it: Scene) -> None:
    """Closing at once would reset the connection under the client's feet and lose the answer."""
    async with it.client() as client:
        await client.ask(b"x" * (3 * MIB))
        is_told(await client.answer(), 413, "body_too_large", "larger than 1 MiB")
        assert await client.rest() == b""


@scene(max_body_mb=1)
async def test_a_chunked_body_is_413_once_it_is_over_the_limit(it: Scene) -> None:
    async with it.client() as client:
        await client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(17):
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        is_told(await client.answer(), 413, "body_too_large", "larger than 1 MiB")


@scene(max_body_mb=1)
async def test_a_body_of_just_the_limit_is_served(it: Scene) -> None:
    body = msgspec.json.encode(ASK)
    assert (await it.ask(body + b" " * (MIB - len(body)))).status == 200
    assert len(it.turns[0].text) == MIB
    assert (await it.ask(body + b" " * (MIB + 1 - len(body)))).status == 413


@scene(max_header_kb=1)
async def test_headers_over_the_limit_are_431(it: Scene) -> None:
    async with it.client() as client:
        await client.ask(ASK, "x-large: " + "x" * 2000)
        is_told(await client.answer(), 431, "headers_too_large", "larger than 1024 bytes. Send fewer or shorter ones")
        assert await client.rest() == b""


@scene(max_header_kb=1)
async def test_a_head_without_an_end_is_431_once_it_is_over_the_limit(it: Scene) -> None:
    async with it.client() as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        for _ in range(40):
            await client.send(b"x-more: " + b"y" * 40 + b"\r\n")
        is_told(await client.answer(), 431, "headers_too_large", "larger than 1024 bytes")


@scene(max_header_kb=1)
async def test_a_path_without_an_end_is_431_once_it_is_over_the_limit(it: Scene) -> None:
    async with it.client() as client:
        await client.send(b"GET /")
        for _ in range(40):
            await client.send(b"y" * 40)
        is_told(await client.answer(), 431, "headers_too_large", "larger than 1024 bytes")


@scene(max_header_kb=1)
async def test_many_requests_on_one_connection_do_not_add_up_to_too_large_headers(it: Scene) -> None:
    async with it.client() as client:
        for _ in range(20):
            await client.ask(ASK, "x-some: " + "x" * 200)
            assert (await client.answer()).status == 200
        await client.send(request(ASK, "x-some: " + "x" * 200) * 20)
        for _ in range(20):
            assert (await client.answer()).status == 200


@scene(trusted_networks=("10.0.0.0/8",))
async def test_a_caller_from_nowhere_trusted_is_403(it: Scene) -> None:
    answer = await it.ask()
    is_told(answer, 403, "forbidden", "add its network to trusted_networks")
    assert it.turns == []


@scene()
async def test_a_forwarded_request_from_no_proxy_of_ours_is_403(it: Scene) -> None:
    is_told(
        await it.ask(ASK, "x-forwarded-for: 10.0.0.1"),
        403,
        "forbidden",
        "not one of trusted_proxies: have the operator add it",
    )
