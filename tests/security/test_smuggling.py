"""One request stays one request and one answer one answer, all the way from a client to an engine and back."""

import pytest
from tests.integration.gateway.hostile_engine import Turn, good
from tests.integration.gateway.scene import ASK, MODEL, Scene, scene

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SECOND = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nowned!"

HEADERS = {
    "framing-named-as-hop": ("connection: keep-alive, content-length", 200),
    "host-named-as-hop": ("connection: host, authorization", 200),
    "host-twice": ("host: evil.example", 400),
    "underscore-length": ("content_length: 0", 200),
    "te": ("te: trailers", 200),
    "expectation": ("expect: something-else", 200),
}


@pytest.mark.parametrize("name", HEADERS)
@scene(good)
async def test_a_strange_header_does_not_change_how_an_engine_reads_the_request(it: Scene, name: str) -> None:
    header, status = HEADERS[name]
    assert (await it.ask(ASK, header)).status == status
    for turn in it.turns:
        assert turn.json()["model"] == MODEL
        assert turn.headers["content-length"] == str(len(turn.text))
        assert "transfer-encoding" not in turn.headers
        assert turn.headers["host"] == f"127.0.0.1:{it.engine.port}"
    assert len(it.turns) == (status == 200)


@scene(good)
async def test_a_model_that_is_a_request_stays_a_name(it: Scene) -> None:
    name = "m\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
    assert (await it.ask({"model": name, "messages": []})).status == 404
    assert (await it.ask({**ASK, "user": name})).status == 200
    assert [turn.path.endswith("/v1/chat/completions") for turn in it.turns] == [True]


@scene(good)
async def test_a_query_with_a_line_in_it_reaches_nobody(it: Scene) -> None:
    path = "/v1/chat/completions?a=%0d%0aGET%20/smuggled"
    assert (await it.ask(ASK, path=path)).status == 200
    assert it.turns[0].path.endswith("?a=%0d%0aGET%20/smuggled")


def answers(data: bytes) -> object:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(data)
        await turn.until_lost()

    return script


SPLIT = {
    "length-and-chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + SECOND,
    "two-lengths": HEAD + b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}" + SECOND,
    "folded": HEAD + b"x: a\r\n set-cookie: b\r\ncontent-length: 2\r\n\r\n{}" + SECOND,
    "bare-cr": HEAD + b"x: a\rset-cookie: b\r\ncontent-length: 2\r\n\r\n{}" + SECOND,
}


@pytest.mark.parametrize("name", SPLIT)
def test_an_answer_of_two_minds_reaches_nobody(name: str, request: pytest.FixtureRequest, in_flight_zero: list) -> None:
    @scene(answers(SPLIT[name]))
    async def run(it: Scene) -> None:
        async with it.client() as client:
            await client.ask(ASK)
            answer = await client.answer()
            assert answer.status == 502
            assert answer.header("set-cookie") is None
            assert b"owned" not in answer.body
            await client.ask(b"", path="/livez", method="GET")
            assert b"owned" not in (await client.answer()).body

    run(in_flight_zero=in_flight_zero, loop_factory=None)


def test_what_follows_a_whole_answer_reaches_nobody(in_flight_zero: list) -> None:
    @scene(answers(HEAD + b"content-length: 2\r\n\r\n{}" + SECOND), good)
    async def run(it: Scene) -> None:
        async with it.client() as client:
            for _ in range(2):
                await client.ask(ASK)
                answer = await client.answer()
                assert answer.status == 200
                assert b"owned" not in answer.body

    run(in_flight_zero=in_flight_zero, loop_factory=None)
