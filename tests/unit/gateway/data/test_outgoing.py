"""The request as an engine gets it: what is changed, what is not, and how often it can be sent."""

import msgspec
import pytest

from cortex.dialects.openai_request import read_head
from cortex.fleet.effect import Target
from cortex.gateway.data.outgoing import HeldBody

LINES = b"POST /v1/x HTTP/1.1\r\nhost: engine\r\n"


class Sink:
    """Takes what is sent to an engine."""

    def __init__(self) -> None:
        self.head = self.body = b""

    def send(self, owner: object, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body


def held(body: bytes, *, counts_usage: bool = True) -> HeldBody:
    return HeldBody(body, read_head(body), counts_usage=counts_usage)


def sent(outgoing: HeldBody, engine_model: str = "") -> Sink:
    sink = Sink()
    target = Target(node="a", model="m", generation=1, url="http://x", engine_model=engine_model)
    outgoing.send(sink, None, LINES, target)  # type: ignore[arg-type]
    return sink


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","stream":false}',
        b'{"model":"m"}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        b' {"model" : "m", "x":1.50 }\n',
    ],
)
@pytest.mark.parametrize("engine_model", ["", "m"])
def test_a_body_that_needs_no_change_is_sent_as_the_very_same_bytes(body: bytes, engine_model: str) -> None:
    outgoing = held(body)
    sink = sent(outgoing, engine_model)
    assert sink.body is body
    assert sink.head == LINES + b"content-length: %d\r\n\r\n" % len(body)
    assert not outgoing.hides_usage


def test_usage_is_asked_for_and_hidden_when_the_client_did_not_ask() -> None:
    outgoing = held(b'{"model":"m","stream":true}')
    assert outgoing.hides_usage
    assert outgoing.is_stream
    sink = sent(outgoing)
    assert sink.body == b'{"stream_options":{"include_usage":true},"model":"m","stream":true}'
    assert sink.head.endswith(b"content-length: %d\r\n\r\n" % len(sink.body))


@pytest.mark.parametrize("body", [b'{"model":"m"}', b'{"model":"m","stream":true}'])
def test_usage_is_not_asked_for_where_that_means_nothing(body: bytes) -> None:
    outgoing = held(body, counts_usage=False)
    assert not outgoing.hides_usage
    assert sent(outgoing).body is body


def test_the_engines_own_name_is_put_in() -> None:
    outgoing = held(b'{"model":"alias","stream":true,"messages":[]}')
    assert outgoing.model == "alias"
    sink = sent(outgoing, 'Qwen/Qwen3 "8B"')
    assert msgspec.json.decode(sink.body) == {
        "model": 'Qwen/Qwen3 "8B"',
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [],
    }
    assert sink.head.endswith(b"content-length: %d\r\n\r\n" % len(sink.body))


def test_it_can_be_sent_to_one_engine_after_another() -> None:
    outgoing = held(b'{"model":"alias"}')
    assert sent(outgoing, "one").body == b'{"model":"one"}'
    assert sent(outgoing, "other").body == b'{"model":"other"}'
    assert sent(outgoing, "alias").body == b'{"model":"alias"}'
    assert outgoing.can_send()
    assert outgoing.is_sent()


def test_what_the_caller_asks_for_in_its_own_words_is_not_ours_to_lessen() -> None:
    assert not held(b'{"model":"m","max_tokens":9}').ask_for_less(5)


@pytest.mark.parametrize(
    ("members", "kind", "untold"),
    [
        (b'"n":4', "llamacpp", 4),
        (b'"n_cmpl":4', "llamacpp", 4),
        (b'"n":1', "llamacpp", 1),
        (b'"n":null', "llamacpp", 1),
        (b'"n":-2', "llamacpp", 1),
        (b'"n":4', "vllm", 1),
        (b'"n":4', "", 1),
    ],
)
def test_it_knows_of_how_many_answers_the_engine_tells_one(members: bytes, kind: str, untold: int) -> None:
    outgoing = held(b'{"model":"m",' + members + b"}")
    target = Target(node="a", model="m", generation=1, url="http://x", engine_model="", kind=kind)
    outgoing.send(Sink(), None, LINES, target)  # type: ignore[arg-type]
    assert outgoing.untold == untold


def test_once_released_it_holds_nothing() -> None:
    outgoing = held(b'{"model":"m"}')
    outgoing.release()
    assert not outgoing.can_send()
    assert sent(outgoing).body == b""


def test_the_client_has_nothing_more_to_add() -> None:
    outgoing = held(b'{"model":"m"}')
    outgoing.on_body(b"x")
    outgoing.on_end()
    outgoing.on_lost()
    assert sent(outgoing).body == b'{"model":"m"}'
