"""What an engine says reaches the client as it was said: verbatim, at once, under the name that was asked for."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import (
    DONE,
    SSE_HEAD,
    Turn,
    chat_body,
    event,
    good,
    json_answer,
    last_event,
    usage_event,
)
from tests.integration.gateway.scene import ASK, ASK_STREAM, Scene, scene


@scene()
async def test_chat_proxy(it: Scene) -> None:
    answer = await it.ask()
    assert answer.status == 200
    assert answer.body == chat_body()
    (turn,) = it.turns
    assert (turn.method, turn.path) == ("POST", "/i/nonce/v1/chat/completions")
    assert turn.json() == ASK


class Gate:
    """Lets an engine say one thing at a time."""

    def __init__(self) -> None:
        self.open = asyncio.Semaphore(0)

    async def script(self, turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        for said in (*(event(f"t{number}") for number in range(5)), last_event(), DONE):
            await self.open.acquire()
            await turn.events(said)
        await turn.finish()


@scene()
async def test_streaming_sse_passthrough(it: Scene) -> None:
    """Chunk n + 1 is sent only after the client has chunk n: whoever collects chunks waits here for ever."""
    gate = Gate()
    it.engine.scripts = [gate.script]
    async with it.client() as client:
        await client.ask(ASK_STREAM)
        gate.open.release()
        head = await client.head()
        assert head.header("content-type") == "text/event-stream"
        got = [await client.piece()]
        for _ in range(6):
            gate.open.release()
            got.append(await client.piece())
        assert await client.piece() == b""
    assert got == [*(event(f"t{number}") for number in range(5)), last_event(), DONE]


@scene()
async def test_streaming_done_terminator(it: Scene) -> None:
    answer = await it.ask(ASK_STREAM)
    assert answer.body.endswith(b"\n\ndata: [DONE]\n\n")
    assert answer.body.count(b"[DONE]") == 1


ODDITIES = (
    b": a comment\n\n",
    b"data: " + b'{"choices":[{"index":0,"delta":{"content":"a"}}],  "unknown" : [1e0, 1.50]}' + b"\n\n",
    b'id: 7\nevent: message\nretry: 10\ndata: {"choices":\ndata: [{"delta":{"content":"b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"c"}}]}\r\n\r\n',
    'data: {"choices":[{"index":0,"delta":{"content":"é€😀"}}]}\n\n'.encode(),
    b'data:{"choices":[{"index":0,"delta":{"content":"d"}}]}\n\n',
    DONE,
)


async def says_oddities(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    await turn.events(*ODDITIES)
    await turn.finish()


async def says_oddities_byte_by_byte(turn: Turn) -> None:
    await turn.body()
    await turn.send(SSE_HEAD)
    for byte in b"".join(ODDITIES):
        await turn.events(bytes([byte]))
        await asyncio.sleep(0)
    await turn.finish()


@pytest.mark.parametrize("script", [says_oddities, says_oddities_byte_by_byte], ids=["whole", "byte-by-byte"])
@scene()
async def test_a_stream_is_passed_on_to_the_byte(it: Scene, script) -> None:
    it.engine.scripts = [script]
    assert (await it.ask(ASK_STREAM)).body == b"".join(ODDITIES)


@scene()
async def test_usage_is_asked_for_upstream_and_kept_from_a_client_that_did_not_ask(it: Scene) -> None:
    answer = await it.ask(ASK_STREAM)
    assert it.turns[0].json() == {**ASK_STREAM, "stream_options": {"include_usage": True}}
    assert answer.body == event() + event("hel") + event("lo") + last_event() + DONE
    assert await it.metric("cortex_prompt_tokens_total", model="org/m") == 3
    assert await it.metric("cortex_completion_tokens_total", model="org/m") == 5


@scene()
async def test_a_client_that_asks_for_usage_gets_it_once(it: Scene) -> None:
    answer = await it.ask({**ASK_STREAM, "stream_options": {"include_usage": True}})
    assert answer.body == event() + event("hel") + event("lo") + last_event() + usage_event() + DONE
    assert await it.metric("cortex_completion_tokens_total", model="org/m") == 5


@scene()
async def test_usage_on_the_last_content_event_is_kept_for_the_client(it: Scene) -> None:
    """Some engines tell it on the finish event: only a usage-only event is our own doing."""
    both = last_event().replace(b'"choices"', b'"usage":{"prompt_tokens":1,"completion_tokens":2},"choices"')

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("a"), both, DONE)
        await turn.finish()

    it.engine.scripts = [script]
    assert (await it.ask(ASK_STREAM)).body == event("a") + both + DONE


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@scene(engine_model="the-engines-own")
async def test_an_alias_is_rewritten_both_ways(it: Scene, is_stream: bool) -> None:
    async def foreign(turn: Turn) -> None:
        await turn.body()
        if turn.json().get("stream"):
            await turn.send(SSE_HEAD)
            said = (event("a", model="the-engines-own"), event("b", model="the-engines-own"), DONE)
            await turn.events(*said)
            await turn.finish()
        else:
            await turn.finish(json_answer(chat_body(model="the-engines-own")))

    it.engine.scripts = [foreign]
    answer = await it.ask({**ASK, "model": "short", "stream": is_stream})
    assert it.turns[0].json()["model"] == "the-engines-own"
    assert answer.body == (
        event("a", model="short") + event("b", model="short") + DONE if is_stream else chat_body(model="short")
    )


@scene(engine_model="the-engines-own")
async def test_an_answer_that_comes_in_parts_is_renamed_too(it: Scene) -> None:
    body = chat_body("x" * 300_000, model="the-engines-own")

    async def script(turn: Turn) -> None:
        await turn.body()
        whole = json_answer(body)
        for at in range(0, len(whole), 50_000):
            await turn.send(whole[at : at + 50_000])
        await turn.finish(b"")

    it.engine.scripts = [script]
    assert (await it.ask()).body == chat_body("x" * 300_000)


@scene()
async def test_the_word_model_inside_a_prompt_is_left_alone(it: Scene) -> None:
    said = 'say "model": "short" and {"model":"short"}'
    await it.ask({**ASK, "model": "short", "messages": [{"role": "user", "content": said}]})
    assert it.turns[0].json()["messages"][0]["content"] == said
    assert it.turns[0].json()["model"] == "org/m"


@scene()
async def test_a_body_that_needs_no_rewriting_reaches_the_engine_to_the_byte(it: Scene) -> None:
    body = b' {"temperature" : 0.70 , "model":\t"org/m", "x": [1E2, "\\u00e9"], "messages":[] } '
    await it.ask(body)
    assert it.turns[0].text == body


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 Bad Request", b'{"error":{"code":400,"message":"no","type":"invalid_request_error"}}'),
        ("429 Too Many Requests", b'{"error":{"message":"slow down"}}'),
        ("501 Not Implemented", b'{"error":{"code":501,"message":"no infill","type":"not_supported_error"}}'),
    ],
)
@scene()
async def test_an_engines_own_refusal_is_passed_on(it: Scene, status: str, body: bytes) -> None:
    async def refuses(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(body, status, "x-detail: yes"))

    it.engine.scripts = [refuses]
    answer = await it.ask(ASK_STREAM)
    assert (answer.status, answer.body) == (int(status[:3]), body)
    assert answer.header("x-detail") == "yes"
    assert len(it.turns) == 1


@scene()
async def test_a_refusal_that_openais_clients_would_not_understand_is_put_into_their_envelope(it: Scene) -> None:
    async def refuses(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(b"not json at all", "422 Unprocessable Entity"))

    it.engine.scripts = [refuses]
    answer = await it.ask(ASK_STREAM)
    assert (answer.status, answer.error()["code"]) == (400, "engine_refused")
    assert "not json at all" in answer.error()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/audio/speech",
        "/v1/images/generations",
        "/tokenize",
        "/infill",
    ],
)
@scene()
async def test_every_path_goes_to_the_same_path_of_the_engine(it: Scene, path: str) -> None:
    answer = await it.ask({"model": "org/m", "input": "a"}, path=f"{path}?a=1&b=%2F")
    assert answer.status == 200
    assert it.turns[0].path == f"/i/nonce{path}?a=1&b=%2F"
    assert it.turns[0].json() == {"model": "org/m", "input": "a"}


@scene()
async def test_an_engine_that_does_not_stream_though_asked_to_is_passed_on_as_it_is(it: Scene) -> None:
    async def answers_whole(turn: Turn) -> None:
        await turn.body()
        await turn.finish(json_answer(chat_body()))

    it.engine.scripts = [answers_whole]
    answer = await it.ask(ASK_STREAM)
    assert (answer.header("content-type"), answer.body) == ("application/json", chat_body())


@scene()
async def test_a_stream_with_a_length_or_without_any_framing_is_a_stream_too(it: Scene) -> None:
    said = event("a") + DONE
    sse = b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n"

    async def with_length(turn: Turn) -> None:
        await turn.body()
        await turn.finish(sse + b"content-length: %d\r\n\r\n" % len(said) + said)

    async def until_the_end(turn: Turn) -> None:
        await turn.body()
        await turn.send(sse + b"\r\n" + said)
        await turn.close()

    it.use(with_length, until_the_end)
    for _ in range(2):
        answer = await it.ask(ASK_STREAM)
        assert answer.body == said
        assert answer.header("transfer-encoding") == "chunked"
    assert [record.outcome for record in it.records] == ["ok", "ok"]


@scene()
async def test_a_binary_answer_is_passed_on_in_parts_with_its_length(it: Scene) -> None:
    sound = bytes(range(256)) * 2000

    async def speaks(turn: Turn) -> None:
        await turn.body()
        await turn.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: %d\r\n\r\n" % len(sound))
        for at in range(0, len(sound), 100_000):
            await turn.send(sound[at : at + 100_000])
        await turn.finish(b"")

    it.engine.scripts = [speaks]
    answer = await it.ask({"model": "org/m", "input": "a"}, path="/v1/audio/speech")
    assert answer.header("content-length") == str(len(sound))
    assert answer.header("content-type") == "audio/wav"
    assert answer.body == sound


@scene(good)
async def test_one_connection_carries_request_after_request(it: Scene) -> None:
    async with it.client() as client:
        for _ in range(5):
            await client.ask(ASK)
            assert (await client.answer()).status == 200
            await client.ask(ASK_STREAM)
            assert (await client.answer()).body.endswith(DONE)
    assert len(it.turns) == 10
    assert len(it.engine.lines) == 1
