"""Unstreamed answers: passed on at once, renamed when whole, counted along; and refusals that came late."""

import msgspec
import pytest
from tests.unit.gateway.data.desk import TEXT, Desk
from tests.unit.gateway.data.wire import cut_at_random

from cortex.dialects.usage import Usage
from cortex.gateway.data import answer
from cortex.gateway.data.answer import LateAnswer, UnstreamedAnswer
from cortex.gateway.data.exchange import Exchange

USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
COUNTED = Usage(3, 2, 5)
CHAT = b'{"choices":[{"message":{"content":"hi"}}],"model":"engine-id",' + USAGE + b"}"


class Client:
    """One request and what it is answered."""

    def __init__(self) -> None:
        self.desk = Desk(is_slow=True)
        self.desk.send(b"POST /a HTTP/1.1\r\ncontent-length: 0\r\n\r\n")

    @property
    def exchange(self) -> Exchange:
        return self.desk.clerks[0].exchange

    def got(self) -> tuple[bytes, bytes]:
        """Head and raw body received since the last call."""
        head, _, body = self.desk.wire.take().partition(b"\r\n\r\n")
        return head, body

    def answer(
        self, *, length: int | None = None, rename_to: str | None = None, is_json: bool = True
    ) -> UnstreamedAnswer:
        return UnstreamedAnswer(self.exchange, 200, TEXT, length, rename_to=rename_to, is_json=is_json)


def test_an_answer_that_came_whole_is_sent_in_one_go() -> None:
    client = Client()
    found = client.answer(length=len(CHAT))
    found.feed(CHAT, True)
    head, body = client.got()
    assert b"content-length: %d\r\n" % len(CHAT) in head + b"\r\n"
    assert body == CHAT
    assert found.read_usage() == COUNTED


def test_parts_are_passed_on_as_they_come() -> None:
    client = Client()
    found = client.answer(length=len(CHAT))
    found.feed(b"", False)
    assert b"content-length: %d" % len(CHAT) in client.got()[0]
    found.feed(CHAT[:20], False)
    assert client.desk.wire.take() == CHAT[:20]
    found.feed(CHAT[20:], True)
    assert client.desk.wire.take() == CHAT[20:]
    assert found.read_usage() == COUNTED
    assert not client.desk.wire.is_closing()


def test_an_answer_of_unknown_length_is_chunked() -> None:
    client = Client()
    found = client.answer()
    found.feed(b"abc", False)
    found.feed(b"", True)
    head, body = client.got()
    assert b"transfer-encoding: chunked" in head
    assert body == b"3\r\nabc\r\n0\r\n\r\n"


def test_an_answer_of_unknown_length_that_came_whole_has_one() -> None:
    client = Client()
    client.answer().feed(b"abc", True)
    assert b"content-length: 3" in client.got()[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_model_is_renamed_whatever_the_parts(seed: int) -> None:
    client = Client()
    found = client.answer(length=len(CHAT), rename_to="alias")
    pieces = cut_at_random(CHAT, seed)
    for piece in pieces[:-1]:
        found.feed(piece, False)
        assert client.desk.wire.take() == b""
    found.feed(pieces[-1], False)
    found.feed(b"", True)
    head, body = client.got()
    assert body == CHAT.replace(b"engine-id", b"alias")
    assert b"content-length: %d" % len(body) in head
    assert found.read_usage() == COUNTED


def test_a_large_answer_is_renamed_too() -> None:
    client = Client()
    large = b'{"x":"' + b"x" * (2 * answer.KEPT_BYTES) + b'","model":"engine-id",' + USAGE + b"}"
    found = client.answer(rename_to="alias")
    found.feed(large[:1000], False)
    found.feed(large[1000:], True)
    assert client.got()[1] == large.replace(b"engine-id", b"alias")
    assert found.read_usage() == COUNTED


def test_usage_is_found_wherever_it_stands_in_an_answer_of_usual_size() -> None:
    client = Client()
    found = client.answer()
    found.feed(b"{" + USAGE + b',"x":"' + b"x" * (answer.KEPT_BYTES // 2), False)
    found.feed(b'"}', True)
    assert found.read_usage() == COUNTED


def test_a_name_that_is_right_is_left() -> None:
    client = Client()
    client.answer(rename_to="engine-id").feed(CHAT, True)
    assert client.got()[1] == CHAT


def test_an_answer_too_large_to_be_renamed_goes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_RENAMED_BYTES", 100)
    client = Client()
    large = b'{"model":"engine-id","x":"' + b"x" * 300 + b'",' + USAGE + b"}"
    found = client.answer(length=len(large), rename_to="alias")
    for at in range(0, len(large), 50):
        found.feed(large[at : at + 50], at + 50 >= len(large))
    head, body = client.got()
    assert body == large
    assert b"content-length: %d" % len(large) in head
    assert found.read_usage() == COUNTED
    assert found._kept == []


@pytest.mark.parametrize("rename_to", [None, "alias"])
def test_what_is_kept_of_a_large_answer_is_bounded(monkeypatch: pytest.MonkeyPatch, rename_to: str | None) -> None:
    monkeypatch.setattr(answer, "MAX_RENAMED_BYTES", 1 << 20)
    client = Client()
    found = client.answer(rename_to=rename_to)
    for _ in range(64):
        found.feed(b"0," * 32768, False)
    assert sum(map(len, found._kept)) + len(found._tail) <= answer.TAIL_BYTES
    found.feed(USAGE + b"}", True)
    assert found.read_usage() == COUNTED


def test_an_answer_that_is_no_json_is_not_kept() -> None:
    client = Client()
    found = client.answer(is_json=False)
    found.feed(CHAT, False)
    found.feed(CHAT, True)
    assert found._kept == []
    assert found.read_usage() is None


@pytest.mark.parametrize("body", [b"", b"not json", b'{"data":[]}', CHAT[:-3]])
def test_an_answer_without_usage_counts_as_unknown(body: bytes) -> None:
    client = Client()
    found = client.answer()
    found.feed(body, True)
    assert found.read_usage() is None
    assert client.got()[1] == body


def late(*pieces: bytes, status: int = 400) -> tuple[bytes, Client]:
    client = Client()
    client.exchange.begin(200, TEXT, None)
    client.exchange.write(b": beat\n\n")
    client.desk.wire.take()
    found = LateAnswer(client.exchange, status)
    for number, piece in enumerate(pieces):
        found.feed(piece, number == len(pieces) - 1)
    assert found.read_usage() is None
    chunk = client.desk.wire.take()
    assert chunk.endswith(b"\r\n0\r\n\r\n")
    return chunk.partition(b"\r\n")[2].removesuffix(b"\r\n0\r\n\r\n"), client


def test_a_late_refusal_becomes_the_last_event_of_the_stream() -> None:
    pretty = b'{\n  "error": {\n    "message": "too\\nlong",\n    "code": 400\n  }\n}'
    event, client = late(pretty[:10], pretty[10:], b"")
    assert event == b'data: {"error":{"message":"too\\nlong","code":400}}\n\n'
    assert not client.desk.wire.is_closed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"", "(nothing)"),
        (b'{"detail":"x"}', '{"detail":"x"}'),
        (b"\xff\xfe", "��"),
        (b"x" * 1000, "x" * 200),
        (b"[" * 60_000, "[" * 200),
    ],
    ids=["html", "nothing", "other json", "no text", "long", "deep"],
)
def test_a_late_answer_that_is_no_error_is_told_of_in_our_words(body: bytes, said: str) -> None:
    event, _ = late(body, status=502)
    error = msgspec.json.decode(event.removeprefix(b"data: "))["error"]
    assert error["message"] == f"The engine answered a streamed request with status 502 and no stream: {said}"
    assert error["code"] == "upstream_broken"


def test_a_late_answer_without_end_is_not_kept_without_end() -> None:
    client = Client()
    found = LateAnswer(client.exchange, 500)
    for _ in range(100):
        found.feed(b"x" * 10_000, False)
    assert len(found._body) < 2 * answer.MAX_LATE_BYTES
