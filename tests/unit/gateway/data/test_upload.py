"""A form on its way to an engine: searched for its model, then streamed; held only as long as that is cheap."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import DONE, Client, Engine, Rig, rig, token, whole

from cortex.contract.error import NoHealthyNode
from cortex.fleet.effect import Target
from cortex.gateway.data.upload import HELD_BYTES

PATH = b"/v1/audio/transcriptions"
KIND = (b"content-type", b"multipart/form-data; boundary=cut")
MODEL = b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
FILE = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\x00\xff\r\n'
END = b"--cut--\r\n"
BEGIN = MODEL + FILE[:-2]
"""The model is known when the line after it has come."""
MORE = b"x" * 60_000
MANY = HELD_BYTES // len(MORE) + 1
"""How many of these are too many to be held."""
REPLY = b'{"text":"hello"}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(max_body_bytes=3 << 20) as one:
        yield one


def form(it: Rig, size: int | None = None, *pieces: bytes) -> Client:
    """Begin an upload of a declared size (None: in chunks), and send some of it."""
    headers = () if size is None else ((b"content-length", str(size).encode()),)
    client = it.request(b"POST", PATH, KIND, *headers)
    for piece in pieces:
        client.body(piece)
    return client


def place(it: Rig, node: str = "a", url: str = "http://x:1") -> Target:
    """A place whose engine takes the name that the client used."""
    return it.place(node, url, engine_model="")


def fill(client: Client, pieces: int = MANY) -> None:
    for _ in range(pieces):
        client.body(MORE)


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def dechunked(data: bytes) -> bytes:
    """Read a body in chunks, which must be complete."""
    found = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        found += data[: int(size, 16)]
        assert data[int(size, 16) :][:2] == b"\r\n"
        data = data[int(size, 16) + 2 :]
        if size == b"0":
            assert data == b""
            return found


# searched, then streamed


def test_nothing_is_asked_before_the_model_is_known(it: Rig) -> None:
    client = form(it, 10_000, FILE, MODEL[:-2])
    assert it.leases.asked == []
    client.body(b"\r\n--cut--")
    assert it.leases.asked == [("whisper", ())]
    client.leave()


def test_a_form_passes_as_it_is_and_as_it_comes(it: Rig) -> None:
    it.leases.next(place(it))
    whole_form = MODEL + FILE + END
    client = form(it, len(whole_form), MODEL + FILE[:30])
    engine = it.upstream.accept()
    head, _, body = engine.received().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/audio/transcriptions HTTP/1.1\r\n")
    assert b"content-length: %d" % len(whole_form) in head
    assert b"content-type: multipart/form-data; boundary=cut" in head
    assert b"transfer-encoding" not in head
    for piece in (FILE[30:], END):
        client.body(piece)
        body += engine.received()
    client.end()
    assert body == whole_form
    engine.say(whole(REPLY))
    assert client.answer.body == REPLY
    assert (it.record.path, it.record.outcome, it.record.is_stream) == ("transcription", "ok", False)


def test_a_form_in_chunks_stays_one_in_chunks(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, None, MODEL, FILE)
    engine = it.upstream.accept()
    head, _, body = engine.received().partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    client.body(END)
    client.end()
    assert dechunked(body + engine.received()) == MODEL + FILE + END
    engine.say(whole(REPLY))
    assert client.answer.body == REPLY


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "with a length"])
def test_a_form_that_is_whole_before_there_is_a_place_is_sent_whole(it: Rig, is_chunked: bool) -> None:
    whole_form = FILE + MODEL + END
    client = form(it, None if is_chunked else len(whole_form), whole_form)
    client.end()
    it.leases.grant(place(it))
    engine = it.upstream.accept()
    body = body_of(engine.received())
    assert (dechunked(body) if is_chunked else body) == whole_form
    engine.say(whole(REPLY))
    assert client.answer.body == REPLY


@pytest.mark.parametrize("name", [b"w", b"a/much-longer-name"])
def test_the_model_is_renamed_where_it_stands_and_the_length_with_it(it: Rig, name: bytes) -> None:
    it.leases.next(it.place(engine_model=name.decode()))
    whole_form = FILE + MODEL + END
    client = form(it, len(whole_form), whole_form)
    client.end()
    request = it.upstream.accept()
    sent = request.received()
    wanted = whole_form.replace(b"whisper", name)
    assert body_of(sent) == wanted
    assert b"content-length: %d\r\n" % len(wanted) in sent
    request.say(whole(REPLY))


def test_a_connection_is_used_again_after_a_whole_form(it: Rig) -> None:
    it.leases.next(one := place(it), one)
    whole_form = MODEL + END
    form(it, len(whole_form), whole_form).end()
    engine = it.upstream.accept()
    engine.say(whole(REPLY))
    client = form(it, len(whole_form), whole_form)
    client.end()
    engine.say(whole(REPLY))
    assert client.answer.body == REPLY


# refused


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((FILE, END), "model_missing"),
        ((END,), "model_missing"),
        ((FILE,), "model_missing"),
        ((), "model_missing"),
        ((MODEL.replace(b"whisper", b""), END), "model_missing"),
        ((MODEL.replace(b"whisper", b"\xff"), END), "malformed_request"),
        ((MODEL.replace(b"whisper", b"w" * 2000), END), "malformed_request"),
    ],
    ids=["no field", "nothing", "cut short", "empty", "empty value", "no text", "too long"],
)
def test_a_form_that_names_no_model_is_refused(it: Rig, pieces: tuple[bytes, ...], code: str) -> None:
    client = form(it, None, *pieces)
    client.end()
    assert client.answer.status == 400
    assert client.answer.error["code"] == code
    assert client.answer.error["param"] == "model"
    assert client.ended == 1
    assert (it.record.outcome, it.record.status, it.record.path) == ("refused", 400, "transcription")


def test_a_form_without_a_boundary_is_refused(it: Rig) -> None:
    client = it.request(b"POST", PATH, (b"content-type", b"multipart/form-data"))
    client.end()
    assert client.answer.status == 400
    assert client.answer.error["param"] == "Content-Type"


def test_a_form_whose_answer_begins_before_it_ends_is_not_held_but_sent_on(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    engine.stream(token("hi"))
    it.loop.advance(1)
    engine.received()
    client.body(MORE)
    client.body(END)
    assert MORE in engine.received()
    client.end()
    engine.more(DONE, end=True)
    assert client.answer.body.endswith(DONE)


def test_a_form_that_grows_too_large_before_its_model_is_seen_is_refused(it: Rig) -> None:
    client = form(it, None, FILE)
    fill(client, (3 << 20) // len(MORE) + 1)
    assert client.answer.status == 413
    assert client.answer.error["details"]["limit_bytes"] == 3 << 20
    assert not client.exchange.is_keep_alive
    assert (it.record.outcome, it.record.status) == ("refused", 413)


def test_a_form_that_grows_too_large_on_its_way_is_cut(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    fill(client, (3 << 20) // len(MORE) + 1)
    assert client.answer.status == 413
    assert engine.is_dropped
    assert it.leases.released == [1]
    assert (it.record.outcome, it.record.error) == ("refused", "body_too_large")


@pytest.mark.parametrize("is_known_first", [True, False], ids=["model first", "model last"])
def test_a_form_of_just_the_limit_is_taken(it: Rig, is_known_first: bool) -> None:
    it.leases.next(place(it))
    rest = (3 << 20) - len(MODEL + FILE + END)
    pieces = (
        (MODEL, FILE[:-2], b"x" * rest + b"\r\n", END)
        if is_known_first
        else (FILE[:-2], b"x" * rest + b"\r\n", MODEL, END)
    )
    client = form(it, None, *pieces)
    client.end()
    assert not client.ended
    client.leave()


def test_a_client_that_leaves_before_its_model_is_seen_leaves_nothing(it: Rig) -> None:
    form(it, None, FILE).leave()
    assert it.records == []


def test_a_gateway_that_stops_does_not_wait_for_a_model(it: Rig) -> None:
    client = form(it, None, FILE)
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    assert client.is_aborted


# sent again, or not


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "with a length"])
def test_a_small_form_is_sent_again_with_what_came_meanwhile(it: Rig, is_chunked: bool) -> None:
    it.leases.next(place(it, "a"), "wait")
    whole_form = MODEL + FILE + MORE + END
    client = form(it, None if is_chunked else len(whole_form), MODEL, FILE)
    it.upstream.accept().lose()
    client.body(MORE)
    it.leases.grant(place(it, "b", "http://y:1"))
    engine = it.upstream.accept()
    client.body(END)
    client.end()
    body = body_of(engine.received())
    assert (dechunked(body) if is_chunked else body) == whole_form
    engine.say(whole(REPLY))
    assert client.answer.status == 200
    assert it.record.node == "b"


def test_a_large_form_cannot_be_sent_again(it: Rig) -> None:
    it.leases.next(place(it, "a"), place(it, "b"))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    fill(client)
    engine.lose()
    assert client.answer.status == 502
    assert not it.upstream.connecting
    assert it.leases.suspicions() == [("a", "died")]
    assert it.record.outcome == "failed"


def test_a_large_form_on_a_connection_that_was_stale_cannot_be_sent_again(it: Rig) -> None:
    it.leases.next(one := place(it), one)
    form(it, None, MODEL + END).end()
    engine = it.upstream.accept()
    engine.say(whole(REPLY))
    client = form(it, None, BEGIN)
    fill(client)
    engine.lose()
    assert client.answer.status == 502
    assert not it.upstream.connecting


def test_a_form_that_grew_large_while_it_waited_cannot_be_sent_again_either(it: Rig) -> None:
    client = form(it, None, BEGIN)
    fill(client)
    it.leases.grant(place(it))
    it.upstream.accept().lose()
    assert client.answer.status == 502


def test_what_a_fence_answers_to_a_large_form_is_passed_on(it: Rig) -> None:
    it.leases.next(place(it, "a", "http://x:1/i/n"))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    fill(client)
    engine.say(whole(b'{"error":{"message":"gone"}}', 404))
    assert client.answer.status == 404
    assert not it.upstream.connecting


def test_an_engine_may_answer_before_the_form_is_whole(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, 10_000, MODEL, FILE)
    engine = it.upstream.accept()
    engine.say(whole(b'{"error":{"message":"bad file"}}', 400))
    assert client.answer.status == 400
    assert not client.exchange.is_keep_alive
    assert engine.transport.is_closed, "the rest of the form would be read as the next request"
    assert it.record.outcome == "engine_error"


# back-pressure


def test_no_more_than_is_held_is_read_while_there_is_no_place(it: Rig) -> None:
    client = form(it, None, BEGIN)
    fill(client, MANY - 1)
    assert not client.is_held
    fill(client, 1)
    assert client.is_held
    it.leases.grant(place(it))
    assert client.is_held
    engine = it.upstream.accept()
    assert not client.is_held
    assert len(engine.received()) > HELD_BYTES
    client.leave()


def test_a_form_that_waits_in_vain_is_let_go_of(it: Rig) -> None:
    client = form(it, None, BEGIN)
    fill(client)
    assert client.is_held
    it.leases.refuse(NoHealthyNode("down"))
    assert client.answer.status == 503
    assert not client.is_held


def test_the_time_an_engine_has_for_its_answer_begins_with_the_last_of_the_form(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    for _ in range(3):
        it.loop.advance(400)
        client.body(MORE)
    client.end()
    it.loop.advance(500)
    assert not client.is_over
    it.loop.advance(101)
    assert engine.is_dropped
    assert client.answer.error["code"] == "upstream_timeout"


def test_an_engine_that_reads_slowly_slows_its_client_down(it: Rig) -> None:
    it.leases.next(place(it))
    client = form(it, None, BEGIN)
    engine = it.upstream.accept()
    engine.connection.pause_writing()
    assert client.is_held
    engine.connection.resume_writing()
    assert not client.is_held
    client.leave()


def test_an_engine_that_is_slow_from_the_first_write_on_slows_its_client_down(it: Rig) -> None:
    client = form(it, None, BEGIN)
    fill(client)
    assert client.is_held
    it.leases.grant(place(it))

    def fill_up(engine: Engine) -> None:
        engine.connection.pause_writing()

    it.upstream.accept(on_write=fill_up)
    assert client.is_held
    client.leave()


def test_a_client_that_was_slowed_down_is_read_again_when_its_engine_dies(it: Rig) -> None:
    it.leases.next(place(it, "a"), place(it, "b", "http://y:1"))
    client = form(it, None, BEGIN)
    first = it.upstream.accept()
    first.connection.pause_writing()
    first.lose()
    assert not client.is_held
    second = it.upstream.accept()
    client.body(b"\r\n" + END)
    client.end()
    assert dechunked(body_of(second.received())) == MODEL + FILE + END
    second.say(whole(REPLY))
    assert client.answer.status == 200


def test_a_client_that_was_slowed_down_is_read_again_when_its_place_is_gone(it: Rig) -> None:
    it.leases.next(place(it, "a", "http://x:1/i/n"), "wait")
    client = form(it, None, BEGIN)
    first = it.upstream.accept()
    first.connection.pause_writing()
    first.say(whole(b"", 404))
    assert not client.is_held
    client.body(b"\r\n" + END)
    client.end()
    it.leases.grant(place(it, "b", "http://y:1"))
    second = it.upstream.accept()
    assert dechunked(body_of(second.received())) == MODEL + FILE + END
    second.say(whole(REPLY))
