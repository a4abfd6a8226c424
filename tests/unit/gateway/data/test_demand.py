"""What a request tells of itself besides its model, and that the secret it shows is told to nobody."""

import pytest
from tests.unit.gateway.data.rig import Client, rig

from cortex.gateway.data.access import Access
from cortex.gateway.data.demand import (
    ANSWER_TOKENS,
    CONVERSATION_HEADERS,
    MAX_REMEMBERED,
    MAX_TOKENS,
    OPENING_BYTES,
    SHORT_BYTES,
    Callers,
    opening_of,
    tokens_of,
)
from cortex.gateway.data.exchange import Exchange


def asker(*headers: tuple[bytes, bytes]) -> str:
    callers, exchange = Callers(), Exchange(Client("10.0.0.9"), b"POST", b"/", b"", list(headers))  # type: ignore[arg-type]
    assert callers.name_of(exchange) == callers.name_of(exchange), "what was found once is remembered"
    return callers.name_of(exchange)


def test_a_caller_is_an_address_or_a_hash_of_what_it_shows() -> None:
    assert asker() == "10.0.0.9"
    named = asker((b"authorization", b"Bearer sk-secret"))
    assert named.startswith("key-")
    assert "secret" not in named
    assert named == asker((b"x-api-key", b"sk-secret")) == asker((b"api-key", b"sk-secret"))
    assert named != asker((b"authorization", b"Bearer sk-other"))


@pytest.mark.parametrize("value", [b"", b"Bearer "])
def test_an_empty_credential_is_none(value: bytes) -> None:
    assert asker((b"authorization", value)) == "10.0.0.9"


def test_the_tokens_of_a_request_are_those_of_its_question_and_its_answer() -> None:
    assert tokens_of(4000, None) == 1000 + ANSWER_TOKENS
    assert tokens_of(4000, 16) == 1016
    assert tokens_of(4000, 32_000) == 1000 + ANSWER_TOKENS
    assert tokens_of(4000, -1) == 1000
    assert tokens_of(64 << 20, None) == MAX_TOKENS


def test_a_conversation_is_known_by_its_beginning_wherever_that_stands() -> None:
    turns = b'"messages":[{"role":"system","content":"%b"}' % (b"x" * SHORT_BYTES)
    first = b'{"model":"m","temperature":1,' + turns + b"]}"
    later = b'{"model":"m","seed":7,' + turns + b',{"role":"user","content":"more"}]}'
    assert opening_of(first) == opening_of(later)
    assert opening_of(b'{"model":"m","prompt":"p' + b"p" * SHORT_BYTES).startswith(b'{"model":"m","prompt":"p')
    assert opening_of(b"x" * SHORT_BYTES) == b"", "so little is read again for nothing"
    assert len(opening_of(first)) == OPENING_BYTES


def test_all_of_it_reaches_those_who_grant() -> None:
    body = b'{"model":"m","messages":["%b"],"max_tokens":3}' % (b"x" * SHORT_BYTES)
    with rig() as it:
        client = it.post(body, (b"authorization", b"Bearer sk-secret"))
        assert it.leases.about[0] == {
            "caller": asker((b"authorization", b"Bearer sk-secret")),
            "tokens": len(body) // 4 + 3,
            "head": b'"messages":["' + b"x" * (OPENING_BYTES - len(b'"messages":["')),
            "patience_s": 300.0,
            "priority": 0,
            "no_load_s": None,
            "allowance": None,
        }
        client.leave()


def test_what_is_no_chat_has_no_conversation() -> None:
    with rig() as it:
        client = it.post(b'{"model":"m","input":"%b"}' % (b"x" * SHORT_BYTES), path=b"/v1/embeddings")
        assert it.leases.about[0]["head"] == b""
        client.leave()


@pytest.mark.parametrize("name", CONVERSATION_HEADERS)
def test_a_clients_own_name_for_a_conversation_comes_first(name: bytes) -> None:
    with rig() as it:
        client = it.post(b'{"model":"m","messages":[]}', (name, b"tuesday"))
        assert it.leases.about[0]["head"] == b"tuesday"
        client.leave()


def test_behind_a_proxy_the_caller_is_whom_the_proxy_names() -> None:
    with rig(Access(["10.0.0.0/8"], ["10.0.0.9/32"])) as it:
        client = it.post(b'{"model":"m"}', (b"x-forwarded-for", b"10.7.7.7"))
        assert it.leases.about[0]["caller"] == "10.7.7.7"
        client.leave()


def test_callers_are_not_remembered_without_end() -> None:
    callers = Callers()
    for number in range(MAX_REMEMBERED + 10):
        lines = [(b"authorization", b"Bearer %d" % number)]
        callers.name_of(Exchange(Client(), b"POST", b"/", b"", lines))  # type: ignore[arg-type]
    assert len(callers._names) == 10
