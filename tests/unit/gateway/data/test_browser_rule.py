"""What web pages may do: their own origin's all, a listed one's the API, a foreign one's nothing with an effect."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import EPOCH_S, Rig, rig, whole
from tests.unit.gateway.data.test_key_door import BEARER, record

from cortex.gateway.data.access import Access
from cortex.gateway.data.browser_rule import BrowserRule
from cortex.gateway.data.key_book import MemoryKeyBook
from cortex.gateway.data.page import Answer, FleetPages, Page
from cortex.gateway.data.router import DataRouter
from cortex.gateway.ports import KeyRecord

Header = tuple[bytes, bytes]

CHAT = b"/v1/chat/completions"
CHATS = b"https://chat.example.org"
FOREIGN = (b"origin", b"https://evil.example")
LISTED = (b"origin", CHATS)
OWN = (b"origin", b"http://gateway")
FIREFOX = (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
PREFLIGHT = (b"access-control-request-method", b"POST")
BODY = b'{"model":"m"}'


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        put(one, BrowserRule([CHATS.decode()], ["*.example.net"], ["beast.example.com"]))
        yield one


def put(it: Rig, rule: BrowserRule, *records: KeyRecord) -> None:
    """Put a rule at the door, and keys."""
    pages = FleetPages(it.fleet, created_s=EPOCH_S, is_stopping=bool)

    def admin(exchange: object, request_id: bytes) -> Page:
        return Page(exchange, lambda: Answer(200, b"{}"), request_id)  # type: ignore[arg-type]

    book = MemoryKeyBook()
    book.take(records)
    access = Access(["10.0.0.0/8"], [])
    it.router = DataRouter(it.plane, pages, it.more, access, admin, book, None, rule)  # type: ignore[arg-type]


def asked(
    it: Rig, method: bytes, path: bytes, *headers: Header, host: bytes = b"gateway"
) -> tuple[int, dict[str, str]]:
    """Return status and headers of the answer to a request without a body."""
    client = it.request(method, path, *headers, host=host)
    client.end()
    return client.answer.status, client.answer.headers


def chat(it: Rig, *headers: Header) -> tuple[int, dict[str, str]]:
    """Return status and headers of the answer to a chat, which an engine answers when it gets that far."""
    it.leases.next(it.place())
    client = it.post(BODY, *headers)
    if not client.is_over:
        it.upstream.accept().say(whole(b"{}"))
    return client.answer.status, client.answer.headers


# 2. foreign pages


@pytest.mark.parametrize(
    "headers",
    [
        (FOREIGN,),
        ((b"origin", b"null"),),
        ((b"origin", b"http://gateway.evil.example"),),
        ((b"origin", b"http://gateway:8000"),),
        ((b"origin", b"gateway"),),
        ((b"origin", b""), (b"sec-fetch-site", b"cross-site")),
        ((b"origin", CHATS + b".evil.example"),),
        ((b"sec-fetch-site", b"cross-site"),),
        ((b"sec-fetch-site", b"same-site"),),
        (FOREIGN, (b"content-type", b"text/plain")),
    ],
    ids=repr,
)
def test_a_foreign_page_starts_no_inference(it: Rig, headers: tuple[Header, ...]) -> None:
    client = it.post(BODY, *headers)
    assert client.answer.status == 403
    assert client.answer.error["code"] == "forbidden"
    assert "access-control-allow-origin" not in client.answer.headers
    assert it.leases.asked == []


@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"PUT", b"PATCH"])
@pytest.mark.parametrize("path", [CHAT, b"/admin/v1/models/load", b"/v1/responses/resp_1", b"/nowhere"])
def test_a_foreign_page_changes_nothing_anywhere(it: Rig, method: bytes, path: bytes) -> None:
    assert asked(it, method, path, FOREIGN)[0] == 403


def test_a_foreign_page_with_a_key_is_a_foreign_page(it: Rig) -> None:
    put(it, BrowserRule(), record())
    assert it.post(BODY, FOREIGN, BEARER).answer.status == 403


def test_what_a_foreign_page_gets_it_cannot_read(it: Rig) -> None:
    status, headers = asked(it, b"GET", b"/v1/models", FOREIGN)
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_page_of_our_own_may_do_what_anybody_may(it: Rig) -> None:
    assert chat(it, OWN, (b"sec-fetch-site", b"same-origin"))[0] == 200
    assert chat(it, (b"origin", b"https://cortex.example.org"), (b"x-forwarded-host", b"Cortex.example.org"))[0] == 200
    assert chat(it, (b"sec-fetch-site", b"none"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"user-agent", b"node"), (b"sec-fetch-mode", b"cors"), (b"accept-language", b"*")),
        ((b"user-agent", b"OpenAI/Python 3.0"),),
        ((b"referer", b"https://evil.example/"),),
    ],
)
def test_what_is_no_browser_is_asked_nothing(it: Rig, headers: tuple[Header, ...]) -> None:
    assert chat(it, *headers)[0] == 200
    assert asked(it, b"GET", b"/v1/models", *headers, host=b"cortex.example.org")[0] == 200


# 1. listed pages


def test_a_listed_page_may_use_the_api_and_read_the_answer(it: Rig) -> None:
    status, headers = chat(it, LISTED)
    assert status == 200
    assert headers["access-control-allow-origin"] == CHATS.decode()
    assert headers["vary"] == "origin"


def test_a_listed_page_reads_why_it_is_refused(it: Rig) -> None:
    put(it, BrowserRule([CHATS.decode()]), record())
    client = it.post(BODY, LISTED)
    assert client.answer.status == 401
    assert client.answer.headers["access-control-allow-origin"] == CHATS.decode()


@pytest.mark.parametrize("path", [b"/admin/v1/models/load", b"/admin/v1/keys"])
def test_a_listed_page_is_no_operator(it: Rig, path: bytes) -> None:
    assert asked(it, b"POST", path, LISTED)[0] == 403
    status, headers = asked(it, b"OPTIONS", path, LISTED, PREFLIGHT)
    assert status != 204 or "access-control-allow-origin" not in headers


def test_a_browser_that_asks_before_is_told_what_a_listed_page_may_do(it: Rig) -> None:
    put(it, BrowserRule([CHATS.decode()]), record())  # it never shows a key
    wanted = (b"access-control-request-headers", b"authorization,content-type,x-stainless-os")
    status, headers = asked(it, b"OPTIONS", CHAT, LISTED, PREFLIGHT, wanted)
    assert status == 204
    assert headers["access-control-allow-origin"] == CHATS.decode()
    assert headers["access-control-allow-headers"] == wanted[1].decode()
    assert "POST" in headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in headers
    _, headers = asked(it, b"OPTIONS", CHAT, LISTED, PREFLIGHT, (b"access-control-request-private-network", b"true"))
    assert headers["access-control-allow-private-network"] == "true"


def test_a_browser_that_asks_for_a_foreign_page_is_not(it: Rig) -> None:
    _, headers = asked(it, b"OPTIONS", CHAT, FOREIGN, PREFLIGHT)
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("wanted", [b"a\x01b", b"x" * 3000, b"a: b"])
def test_what_are_no_names_of_headers_is_not_told_back(it: Rig, wanted: bytes) -> None:
    _, headers = asked(it, b"OPTIONS", CHAT, LISTED, PREFLIGHT, (b"access-control-request-headers", wanted))
    assert "access-control-allow-headers" not in headers


def test_everybody_may_be_listed(it: Rig) -> None:
    put(it, BrowserRule(["*"]))
    assert chat(it, FOREIGN)[1]["access-control-allow-origin"] == "https://evil.example"
    assert chat(it, (b"origin", b"null"))[1]["access-control-allow-origin"] == "null"
    assert asked(it, b"POST", b"/admin/v1/models/load", FOREIGN)[0] == 403
    assert it.post(BODY, (b"origin", b"https://a b")).answer.status == 403


def test_the_lists_may_change(it: Rig) -> None:
    rule = BrowserRule()
    put(it, rule)
    assert it.post(BODY, LISTED).answer.status == 403
    rule.renew([CHATS.decode()], [])
    assert chat(it, LISTED)[0] == 200


# 3. names


@pytest.mark.parametrize("sign", [OWN, FIREFOX, (b"sec-fetch-site", b"same-origin")], ids=repr)
@pytest.mark.parametrize("path", [b"/v1/models", b"/admin/v1/nodes", b"/v1/models/m"])
def test_a_browser_under_a_name_that_anybody_can_have_gets_nothing(it: Rig, sign: Header, path: bytes) -> None:
    rebound = (sign[0], b"http://evil.example") if sign is OWN else sign
    assert asked(it, b"GET", path, rebound, host=b"evil.example:8000")[0] == 403


def test_a_page_under_such_a_name_starts_no_inference(it: Rig) -> None:
    headers = ((b"origin", b"http://evil.example:8000"), (b"content-type", b"application/json"))
    status, _ = asked(it, b"POST", CHAT, *headers, host=b"evil.example:8000")
    assert status == 403


@pytest.mark.parametrize(
    "host", [b"127.0.0.1:8000", b"[::1]:8000", b"beast", b"gw.example.internal", b"beast.example.com", b"a.example.net"]
)
def test_a_browser_under_a_name_of_ours_is_served(it: Rig, host: bytes) -> None:
    assert asked(it, b"GET", b"/v1/models", FIREFOX, host=host)[0] == 200


def test_with_keys_every_name_will_do(it: Rig) -> None:
    put(it, BrowserRule(), record())
    assert asked(it, b"GET", b"/v1/models", FIREFOX, BEARER, host=b"cortex.example.org")[0] == 200
    assert asked(it, b"GET", b"/v1/models", FIREFOX, host=b"evil.example")[0] == 401


def test_how_the_gateway_is_may_be_asked_under_every_name(it: Rig) -> None:
    assert asked(it, b"GET", b"/health", FIREFOX, host=b"cortex.example.org")[0] == 200
