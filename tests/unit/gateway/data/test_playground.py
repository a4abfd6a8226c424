"""The playground's requests: which they are, whose they become, what an engine sees of them."""

from collections.abc import Iterator, Sequence

import pytest
from tests.unit.gateway.data.rig import DONE, EPOCH_S, Client, Rig, rig, token

from cortex.contract.error import CortexError, Forbidden, StoreUnavailable, Unauthorized
from cortex.contract.key import Key
from cortex.gateway.data.access import Access
from cortex.gateway.data.page import Answer, FleetPages, Page
from cortex.gateway.data.router import DataRouter

CHAT, MESSAGES = b"/dashboard/playground/v1/chat/completions", b"/dashboard/playground/v1/messages"
BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
OF_BROWSER = (
    (b"cookie", b"cortex_session=note"),
    (b"x-cortex-token", b"form"),
    (b"origin", b"http://gateway"),
    (b"referer", b"http://gateway/dashboard/playground"),
)


class House:
    """A rig with a dashboard, whose door lets in whom the test says."""

    def __init__(self, it: Rig) -> None:
        self.it = it
        self.key: Key | None = Key(id="key_1", name="olga", shown="ctx-1", scope="admin")
        self.refusal: CortexError | None = None
        self.seen: list[Sequence[tuple[bytes, bytes]]] = []
        pages = FleetPages(it.fleet, created_s=EPOCH_S, is_stopping=bool)
        access = Access(["10.0.0.0/8"], [])
        take = self._take
        it.router = DataRouter(it.plane, pages, it.more, access, None, None, take, players=self)  # type: ignore[arg-type]

    def admit(self, headers: Sequence[tuple[bytes, bytes]]) -> Key | None:
        self.seen.append(headers)
        if self.refusal is not None:
            raise self.refusal
        return self.key

    def _take(self, exchange: object, request_id: bytes, _: object = None) -> Page:
        return Page(exchange, lambda: Answer(200, b"<html>"), request_id)  # type: ignore[arg-type]

    def post(self, path: bytes, body: bytes = BODY, **how: str) -> Client:
        length = (b"content-length", str(len(body)).encode())
        kind = (b"content-type", b"application/json")
        client = self.it.request(b"POST", path, kind, length, *OF_BROWSER, **how)  # type: ignore[arg-type]
        client.body(body)
        client.end()
        return client


@pytest.fixture
def it() -> Iterator[House]:
    with rig() as one:
        yield House(one)


def test_a_request_is_served_like_any_other_as_the_operators_own(it: House) -> None:
    it.it.leases.next(it.it.place())
    client = it.post(CHAT)
    engine = it.it.upstream.accept()
    sent = engine.received()
    engine.stream(token(), DONE, end=True)
    assert client.answer.status == 200
    assert client.answer.is_whole
    assert (it.it.record.key, it.it.record.key_id, it.it.record.path) == ("olga", "key_1", "chat")
    assert sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")


def test_an_engine_sees_nothing_that_is_for_the_gateway(it: House) -> None:
    it.it.leases.next(it.it.place())
    it.post(CHAT)
    engine = it.it.upstream.accept()
    sent = engine.received().lower()
    for name, value in OF_BROWSER:
        assert name not in sent
        assert value not in sent
    assert dict(it.seen[0]).items() >= dict(OF_BROWSER).items(), "the door has seen them"
    engine.stream(token(), DONE, end=True)


def test_the_other_dialect_is_served_too(it: House) -> None:
    it.it.leases.next(it.it.place())
    client = it.post(
        MESSAGES, b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'
    )
    engine = it.it.upstream.accept()
    engine.stream(token(), b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', DONE, end=True)
    assert b"content_block_delta" in client.answer.body
    assert it.it.record.path == "messages"


def test_where_nobody_has_to_sign_in_it_is_nobodys(it: House) -> None:
    it.key = None
    it.it.leases.next(it.it.place())
    it.post(CHAT)
    it.it.upstream.accept().stream(token(), DONE, end=True)
    assert (it.it.record.key, it.it.record.peer) == ("", "10.0.0.9")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(Unauthorized("Sign in first."), 401), (Forbidden("reload it"), 403), (StoreUnavailable("gone"), 503)],
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_refusal_is_told_in_the_dialect_and_put_on_record(
    it: House, path: bytes, refusal: CortexError, status: int
) -> None:
    it.refusal = refusal
    client = it.post(path)
    assert (client.answer.status, client.answer.error["message"]) == (status, refusal.message)
    assert (it.it.record.status, it.it.record.outcome, it.it.record.key) == (status, "refused", "")


def test_who_is_from_a_foreign_network_is_not_asked_for_a_session(it: House) -> None:
    assert it.post(CHAT, peer="203.0.113.5").answer.status == 403
    assert it.seen == []


@pytest.mark.parametrize("path", [b"/dashboard/playground", b"/dashboard/playground/v1/models", CHAT + b"/", CHAT[:-1]])
def test_other_paths_are_pages(it: House, path: bytes) -> None:
    assert it.post(path).answer.body == b"<html>"
    assert it.seen == []


def test_reading_is_no_request_of_the_playground(it: House) -> None:
    client = it.it.request(b"GET", CHAT)
    client.end()
    assert client.answer.body == b"<html>"
