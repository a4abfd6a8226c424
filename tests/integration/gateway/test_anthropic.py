"""Anthropic's dialect through a whole gateway: what goes to the engine, what comes back, and every way it may fail."""

import asyncio

import msgspec
import pytest
from tests.integration.gateway.hostile_engine import SSE_HEAD, Turn, event, good, json_answer
from tests.integration.gateway.raw_client import Answer
from tests.integration.gateway.scene import MODEL, Scene, scene

ASK = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
ASK_STREAM = {**ASK, "stream": True}
PATH = "/v1/messages?beta=true"


async def ask(it: Scene, body: object = ASK, *headers: str) -> Answer:
    return await it.ask(body, "anthropic-version: 2023-06-01", "x-api-key: any", *headers, path=PATH)


def told(answer: Answer) -> dict[str, object]:
    return dict(msgspec.json.decode(answer.body))


def kinds(body: bytes) -> list[str]:
    """The types of a stream's events; every event says its type twice."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if lines:
            assert msgspec.json.decode(lines["data"])["type"] == lines["event"]
            found.append(lines["event"])
    return found


@scene()
async def test_anthropic_to_openai_round_trip(it: Scene) -> None:
    answer = await ask(it)
    assert answer.status == 200
    message = told(answer)
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", MODEL)
    assert message["content"] == [{"type": "text", "text": "hello"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    (turn,) = it.turns
    assert (turn.method, turn.path) == ("POST", "/i/nonce/v1/chat/completions")
    assert turn.json()["messages"] == [{"role": "user", "content": "hi"}]
    assert turn.json()["max_tokens"] == 100
    assert not {"anthropic-version", "x-api-key"} & set(turn.headers)
    assert answer.header("request-id")


@scene()
async def test_anthropic_with_system_prompt(it: Scene) -> None:
    await ask(it, {**ASK, "system": "Be brief."})
    await ask(it, {**ASK, "system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]})
    first, second = (turn.json()["messages"] for turn in it.turns)
    assert first == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert second[0] == {"role": "system", "content": "Be\n\nbrief."}


@scene()
async def test_anthropic_with_content_blocks(it: Scene) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    blocks = [{"type": "text", "text": "What is this?"}, picture]
    await ask(it, {**ASK, "messages": [{"role": "user", "content": blocks}]})
    await ask(it, {**ASK, "messages": [{"role": "user", "content": blocks[:1]}]})
    with_picture, without = (turn.json()["messages"] for turn in it.turns)
    assert with_picture[0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    assert without[0]["content"] == "What is this?"


@scene()
async def test_anthropic_model_not_found(it: Scene) -> None:
    answer = await ask(it, {**ASK, "model": "nobody/knows"})
    assert answer.status == 404
    error = told(answer)
    assert (error["type"], error["error"]["type"]) == ("error", "not_found_error")
    assert "nobody/knows" in error["error"]["message"]
    assert error["request_id"] == answer.header("request-id")


@scene()
@pytest.mark.parametrize("body", [b"{", b"[]", {"model": MODEL}, {**ASK, "max_tokens": "many"}, {**ASK, "messages": 1}])
async def test_anthropic_invalid_request(it: Scene, body: object) -> None:
    answer = await ask(it, body)
    assert answer.status == 400
    assert told(answer)["error"]["type"] == "invalid_request_error"
    assert it.turns == []


async def counts_strictly(turn: Turn) -> None:
    """Refuses to be asked for more than there is, as vLLM does, and answers else."""
    await turn.body()
    if turn.json().get("max_tokens", 0) <= 40:
        return await good(turn)
    words = (
        f"'max_tokens' is too large: {turn.json()['max_tokens']}. This model's maximum context length is 100 tokens "
        "and your request has 60 input tokens"
    )
    await turn.finish(json_answer(msgspec.json.encode({"message": words, "code": 400}), "400 Bad Request"))


@scene(counts_strictly)
@pytest.mark.parametrize("body", [{**ASK, "max_tokens": 64000}, {**ASK_STREAM, "max_tokens": 64000}])
async def test_more_than_an_engine_has_room_for_is_asked_for_in_vain_once_only(it: Scene, body: object) -> None:
    for _ in range(2):
        answer = await ask(it, body)
        assert (answer.status, b'"text":"hel' in answer.body) == (200, True)
    assert [turn.json()["max_tokens"] for turn in it.turns] == [64000, 40] * 2
    assert it.replica().in_flight == 0


@scene(loaded=False, heartbeat_after_s=0.01, heartbeat_every_s=0.01)
async def test_a_stream_that_waits_for_its_model_is_pinged(it: Scene) -> None:
    it.neuron.load_gate.clear()
    async with it.client() as client:
        await client.ask(ASK_STREAM, path=PATH)
        assert (await client.head()).status == 200
        assert b"event: ping" in await client.piece()
        it.neuron.load_gate.set()
        rest = await client.body()
    assert kinds(rest)[-1] == "message_stop"
    assert it.records[-1].cold_start


@scene(heartbeat_after_s=0.01, heartbeat_every_s=0.01)
async def test_a_stream_is_pinged_while_its_engine_reads_a_long_prompt(it: Scene) -> None:
    is_pinged = asyncio.Event()

    async def reads_long(turn: Turn) -> None:
        await turn.body()
        await is_pinged.wait()
        await good(turn)

    it.use(reads_long)
    async with it.client() as client:
        await client.ask(ASK_STREAM, path=PATH)
        assert (await client.head()).status == 200
        assert b"event: ping" in await client.piece()
        is_pinged.set()
        rest = await client.body()
    assert kinds(rest)[-1] == "message_stop"


@scene()
async def test_a_client_that_leaves_a_translated_stream_frees_its_place(it: Scene) -> None:
    async def endless(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        while True:
            await turn.events(event("x"))
            await asyncio.sleep(0)

    it.use(endless)
    async with it.client() as client:
        await client.ask(ASK_STREAM, path=PATH)
        assert (await client.head()).status == 200
        assert b"message_start" in await client.piece()
    await it.at_rest()
    assert it.records[-1].outcome == "client_gone"


@scene(nodes=2)
async def test_an_engine_that_dies_before_its_first_word_is_replaced(it: Scene) -> None:
    async def dies(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event(role="assistant"))
        turn.reset()

    it.use(dies, good)
    answer = await ask(it, ASK_STREAM)
    assert kinds(answer.body).count("message_start") == 1
    assert kinds(answer.body)[-1] == "message_stop"
    assert it.records[-1].attempts == 2


@scene()
async def test_a_stream_that_breaks_in_the_middle_ends_with_an_error_event(it: Scene) -> None:
    async def dies(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(event("half"))
        turn.reset()

    it.use(dies)
    answer = await ask(it, ASK_STREAM)
    assert kinds(answer.body)[-1] == "error"
    assert "message_stop" not in kinds(answer.body)


@scene()
async def test_two_streams_at_once_share_nothing(it: Scene) -> None:
    both = await asyncio.gather(ask(it, ASK_STREAM), ask(it, ASK_STREAM))
    ids = set()
    for answer in both:
        assert kinds(answer.body)[0] == "message_start"
        assert kinds(answer.body)[-1] == "message_stop"
        ids.add(answer.body.split(b'"id":"')[1].split(b'"')[0])
    assert len(ids) == 2
