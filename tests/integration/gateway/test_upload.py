"""Uploads go through as they come: held only until their model is known, then byte for byte and part by part."""

import asyncio

import pytest
from tests.integration.gateway.hostile_engine import DONE, SSE_HEAD, Turn, chat_body, good, json_answer
from tests.integration.gateway.raw_client import RawClient, request
from tests.integration.gateway.scene import ASK, Scene, scene, until

PATH = "/v1/audio/transcriptions"
TYPE = "content-type: multipart/form-data; boundary=bound"
FILE = bytes(range(256)) * 40


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--bound\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--bound--\r\n"


MODEL_PART = part("model", b"org/m")
FILE_PART = part("file", FILE, '; filename="a.wav"\r\nContent-Type: audio/wav')


async def start(client: RawClient, length: int | None, path: str = PATH) -> None:
    """Send the head of an upload; without a length it will come in chunks."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    await client.send(f"POST {path} HTTP/1.1\r\nhost: g\r\n{TYPE}\r\n{framing}\r\n\r\n".encode())


def framed(data: bytes, is_chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if is_chunked else data


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
@scene()
async def test_the_engine_has_the_first_bytes_before_the_client_has_sent_the_last(it: Scene, is_chunked: bool) -> None:
    whole = form(MODEL_PART, FILE_PART)
    async with it.client() as client:
        await start(client, None if is_chunked else len(whole))
        cut = len(MODEL_PART) + 500
        await client.send(framed(whole[:cut], is_chunked))
        turn = await it.engine.turn(0)
        await until(lambda: len(turn.text) >= cut)
        assert turn.text == whole[:cut]
        await client.send(framed(whole[cut:], is_chunked) + (b"0\r\n\r\n" if is_chunked else b""))
        assert (await client.answer()).body == chat_body()
        await client.send(request(ASK))
        assert (await client.answer()).status == 200, "the connection lives on"
    assert turn.text == whole
    assert turn.headers["content-type"] == TYPE.partition(": ")[2]
    assert ("transfer-encoding" in turn.headers) == is_chunked
    assert turn.path == "/i/nonce" + PATH


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/v1/audio/translations",
        "/v1/images/edits",
        "/v1/images/variations",
    ],
)
@scene()
async def test_an_upload_goes_to_the_same_path_of_the_engine(it: Scene, path: str) -> None:
    assert (await it.ask(form(MODEL_PART, FILE_PART), TYPE, path=path)).status == 200
    assert it.turns[0].path == "/i/nonce" + path
    assert it.turns[0].text == form(MODEL_PART, FILE_PART)


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
@scene()
async def test_a_model_field_behind_the_file_is_found(it: Scene, is_chunked: bool) -> None:
    large = part("file", FILE * 300, '; filename="a.wav"')
    whole = form(part("language", b"en"), large, MODEL_PART, part("prompt", b"hm"))
    async with it.client() as client:
        await start(client, None if is_chunked else len(whole))
        for at in range(0, len(whole), 100_000):
            await client.send(framed(whole[at : at + 100_000], is_chunked))
        await client.send(b"0\r\n\r\n" if is_chunked else b"")
        assert (await client.answer()).status == 200
    assert it.turns[0].text == whole


@scene()
async def test_an_upload_may_come_byte_by_byte(it: Scene) -> None:
    whole = form(part("a", b"--bound"), MODEL_PART, part("file", b"\r\n--boun\r\n--", '; filename="a"'))
    async with it.client() as client:
        await start(client, len(whole))
        for byte in whole:
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200
    assert it.turns[0].text == whole


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
@scene(engine_model="the-engines-own-name")
async def test_the_model_is_renamed_in_the_form_and_its_length_kept_right(it: Scene, is_chunked: bool) -> None:
    def whole(model: bytes) -> bytes:
        return form(FILE_PART, part("model", model), part("model2", b"short"))

    async with it.client() as client:
        sent = whole(b"short")
        await start(client, None if is_chunked else len(sent))
        await client.send(framed(sent, is_chunked) + (b"0\r\n\r\n" if is_chunked else b""))
        assert (await client.answer()).status == 200
    assert it.turns[0].text == whole(b"the-engines-own-name")


@scene()
async def test_json_is_taken_where_an_upload_may_be(it: Scene) -> None:
    assert (await it.ask({"model": "org/m", "prompt": "a cat"}, path="/v1/images/edits")).status == 200
    assert it.turns[0].json() == {"model": "org/m", "prompt": "a cat"}


@pytest.mark.parametrize(
    ("headers", "body", "path", "words"),
    [
        (TYPE, form(FILE_PART), PATH, 'no field "model"'),
        (TYPE, b"", PATH, 'no field "model"'),
        (TYPE, form(part("model", b""), FILE_PART), PATH, 'no field "model"'),
        (TYPE, form(part("model", b"\xff\xfe")), PATH, "not UTF-8"),
        (TYPE, form(part("model", b"x" * 2000)), PATH, "longer than 1024 bytes"),
        ("content-type: multipart/form-data", form(MODEL_PART), PATH, "without a boundary"),
        (TYPE, form(MODEL_PART), "/v1/chat/completions", "takes a JSON body, not a form"),
        ("content-type: multipart/form-data; boundary=other", form(MODEL_PART), PATH, 'no field "model"'),
    ],
    ids=["none", "empty", "blank", "not-text", "long", "no-boundary", "not-here", "other-boundary"],
)
@scene()
async def test_a_form_that_cannot_be_used_is_400(it: Scene, headers: str, body: bytes, path: str, words: str) -> None:
    answer = await it.ask(body, headers, path=path)
    assert answer.status == 400
    assert words in answer.error()["message"]
    assert answer.error()["type"] == "invalid_request_error"
    assert it.turns == []


@scene()
async def test_an_unknown_model_is_refused_before_the_file_was_sent(it: Scene) -> None:
    async with it.client() as client:
        await start(client, 50_000_000)
        await client.send(part("model", b"org/n") + b"--bound\r\nx: y\r\n\r\n" + FILE)
        answer = await client.answer()
        assert (answer.status, answer.error()["code"]) == (404, "model_not_found")
        assert await client.rest() == b""
    assert it.turns == []


@pytest.mark.parametrize("first", [MODEL_PART, b""], ids=["model-first", "model-never"])
@scene(max_body_mb=1)
async def test_an_upload_over_the_limit_is_413(it: Scene, first: bytes) -> None:
    async with it.client() as client:
        await start(client, None)
        await client.send(framed(first + b"--bound\r\n\r\n", True))
        for _ in range(20):
            await client.send(framed(b"x" * 65536, True))
        answer = await client.answer()
        assert (answer.status, answer.error()["code"]) == (413, "body_too_large")
        assert await client.rest() == b""
    for turn in it.turns:
        await turn.until_lost()


async def resets(turn: Turn) -> None:
    await turn.body()
    turn.reset()


@scene(nodes=2)
async def test_a_small_upload_is_sent_to_another_instance_when_the_first_one_dies(it: Scene) -> None:
    it.use(resets, good)
    assert (await it.ask(form(MODEL_PART, FILE_PART), TYPE, path=PATH)).status == 200
    assert [turn.text for turn in it.turns] == [form(MODEL_PART, FILE_PART)] * 2


@scene(nodes=2)
async def test_a_large_upload_is_not_held_so_it_cannot_be_sent_twice(it: Scene) -> None:
    it.use(resets, good)
    answer = await it.ask(form(MODEL_PART, part("file", FILE * 300)), TYPE, path=PATH)
    assert (answer.status, answer.error()["code"]) == (502, "upstream_broken")
    assert len(it.turns) == 1


@scene()
async def test_an_engine_may_answer_while_the_upload_is_under_way(it: Scene) -> None:
    refusal = b'{"error":{"message":"no such language"}}'

    async def answers_early(turn: Turn) -> None:
        await turn.read_some()
        await turn.send(json_answer(refusal, "400 Bad Request"))
        await turn.until_lost()

    it.use(answers_early, good)
    async with it.client() as client:
        await start(client, 50_000_000)
        await client.send(MODEL_PART + b"--bound\r\n")
        answer = await client.answer()
        assert (answer.status, answer.body, answer.header("connection")) == (400, refusal, "close")
        assert await client.rest() == b""
        await it.turns[0].until_lost()
    assert (await it.ask()).status == 200
    assert len(it.engine.lines) == 2, "a connection with half a request in it is not used again"


@scene()
async def test_an_engine_may_answer_a_large_body_early_and_close(it: Scene) -> None:
    """The answer must not get lost behind the failing write of the rest."""
    refusal = b'{"error":{"message":"too large for me"}}'

    async def answers_and_closes(turn: Turn) -> None:
        await turn.send(json_answer(refusal, "413 Content Too Large", "connection: close"))
        await turn.close()

    it.use(answers_and_closes)
    answer = await it.ask({**ASK, "x": "y" * 20_000_000})
    assert (answer.status, answer.body) == (413, refusal)
    assert len(it.turns) == 1


@scene()
async def test_a_connection_on_which_an_answer_overtook_its_request_is_not_used_again(it: Scene) -> None:
    async def answers_early(turn: Turn) -> None:
        await turn.send(json_answer(chat_body("early")))
        await turn.body()

    it.use(answers_early, good)
    async with it.client() as client:
        await client.ask({**ASK, "x": "y" * 20_000_000})
        assert (await client.answer()).body == chat_body("early")
        await client.ask(ASK)
        assert (await client.answer()).body == chat_body()
    assert len(it.engine.lines) == 2


@pytest.mark.parametrize("how", ["vanish", "half_close"])
@scene()
async def test_an_upload_whose_client_leaves_is_broken_off(it: Scene, how: str) -> None:
    async with it.client() as client:
        await start(client, 50_000_000)
        await client.send(MODEL_PART + b"--bound\r\n" + FILE)
        turn = await it.engine.turn(0)
        getattr(client, how)()
        await turn.until_lost()
    assert not turn.is_read


@scene()
async def test_a_form_can_ask_for_a_stream(it: Scene) -> None:
    events = b'data: {"type":"transcript.text.delta","delta":"a"}\n\ndata: {"type":"transcript.text.done"}\n\n'

    async def streams(turn: Turn) -> None:
        await turn.body()
        await turn.send(SSE_HEAD)
        await turn.events(events)
        await turn.finish()

    it.use(streams)
    answer = await it.ask(form(MODEL_PART, part("stream", b"true"), FILE_PART), TYPE, path=PATH)
    assert (answer.status, answer.body) == (200, events)
    assert DONE not in answer.body


@scene(loaded=False)
async def test_a_large_upload_waits_for_its_model_without_being_read_all(it: Scene) -> None:
    it.neuron.load_gate.clear()
    whole = form(MODEL_PART, part("file", b"x" * 40_000_000))
    async with it.client() as client, asyncio.TaskGroup() as group:
        sending = group.create_task(client.send(request(whole, TYPE, path=PATH)))
        await it.neuron.until(lambda: it.neuron.loads != [])
        door = it.gateway._door
        await until(lambda: any(not taken.transport.is_reading() for taken in door.connections))
        assert not sending.done(), "40 MB were taken in for a model that is not there"
        it.neuron.load_gate.set()
        assert (await client.answer()).status == 200
    assert it.turns[0].text == whole
