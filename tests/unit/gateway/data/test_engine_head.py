"""The head of a request as an engine gets it."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import Rig, rig, whole
from tests.unit.kit.test_tracer import Kept, a_tracer

CALLER = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        yield one


def head(it: Rig, path: bytes, body: bytes) -> bytes:
    it.leases.next(it.place())
    it.post(body, CALLER, (b"x-request-id", b"mine"), (b"x-own", b"1"), path=path, query=b"q=1")
    engine = it.upstream.accept()
    said = engine.received().partition(b"\r\n\r\n")[0]
    engine.say(whole(b'{"model":"m","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'))
    return said


def test_what_is_passed_on_has_the_callers_headers_and_query(it: Rig) -> None:
    said = head(it, b"/v1/chat/completions", b'{"model":"m","messages":[]}')
    assert said.startswith(b"POST /v1/chat/completions?q=1 HTTP/1.1\r\n")
    for line in (b"x-own: 1", b"x-request-id: mine", b"%b: %b" % CALLER):
        assert said.count(line) == 1


@pytest.mark.parametrize("is_traced", [False, True])
def test_of_what_is_translated_only_those_of_tracing(it: Rig, is_traced: bool) -> None:
    if is_traced:
        it.plane.tracer = a_tracer(Kept())
    body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    said = head(it, b"/v1/messages", body)
    assert said.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"x-own" not in said
    assert said.count(b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-") == 1
    assert (b"%b: %b" % CALLER in said) is not is_traced
