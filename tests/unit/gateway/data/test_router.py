"""Which answer a method and a path get, before anything of a body is read."""

from collections.abc import Iterator

import pytest
from tests.unit.gateway.data.rig import VIA, Client, Rig, rig, whole

from cortex.gateway.data.access import Access
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.page import Answer, FleetPages, Page
from cortex.gateway.data.route import INFERENCE
from cortex.gateway.data.router import DataRouter

JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"Multipart/Form-Data; boundary=cut")
CHAT = b"/v1/chat/completions"


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig(max_body_bytes=1000) as one:
        yield one


# inference


@pytest.mark.parametrize(
    "path", [path for path, route in INFERENCE.items() if not route.is_upload and route.engine_path is None]
)
def test_every_path_of_json_is_relayed(it: Rig, path: bytes) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m"}', path=path)
    engine = it.upstream.accept()
    assert engine.received().startswith(b"POST %b HTTP/1.1\r\n" % path)
    engine.say(whole(b"{}"))
    assert client.answer.status == 200


@pytest.mark.parametrize("path", [path for path, route in INFERENCE.items() if route.is_upload])
def test_every_path_of_uploads_takes_forms_and_json(it: Rig, path: bytes) -> None:
    it.leases.next(it.place(), it.place())
    form = it.request(b"POST", path, FORM)
    form.body(b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--cut--\r\n')
    form.end()
    json = it.post(b'{"model":"m"}', path=path)
    for client in (form, json):
        it.upstream.accept().say(whole(b"{}"))
        assert client.answer.status == 200
    assert it.leases.asked == [("m", ()), ("m", ())]


def test_json_needs_no_content_type(it: Rig) -> None:
    client = it.request(b"POST", CHAT)
    client.body(b'{"model":"m"}')
    client.end()
    assert it.leases.asked == [("m", ())]
    client.leave()


def test_a_form_for_a_path_of_json_is_refused(it: Rig) -> None:
    client = it.request(b"POST", CHAT, FORM)
    client.end()
    assert client.answer.status == 400
    assert "takes a JSON body, not a form" in client.answer.error["message"]


def test_a_client_that_asks_first_is_told_to_go_on(it: Rig) -> None:
    client = it.request(b"POST", CHAT, JSON, (b"expect", b"100-continue"), (b"content-length", b"13"))
    assert client.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.leave()


REFUSED_BY_HEAD = {
    "too large": ((b"content-length", b"1001"), 413, "body_too_large"),
    "compressed": ((b"content-encoding", b"gzip"), 415, "unsupported_encoding"),
}


@pytest.mark.parametrize(("header", "status", "code"), REFUSED_BY_HEAD.values(), ids=REFUSED_BY_HEAD)
def test_a_body_that_will_not_be_taken_is_not_asked_for(
    it: Rig, header: tuple[bytes, bytes], status: int, code: str
) -> None:
    client = it.request(b"POST", CHAT, JSON, header, (b"expect", b"100-continue"))
    assert not client.transport.written.startswith(b"HTTP/1.1 100")
    assert client.answer.status == status
    assert client.answer.error["code"] == code
    assert not client.exchange.is_keep_alive
    record = it.record
    assert (record.outcome, record.status, record.error, record.path) == ("refused", status, code, "chat")
    assert record.request_id == client.answer.headers["x-request-id"]


def test_a_body_of_just_the_limit_and_one_that_is_not_compressed_are_taken(it: Rig) -> None:
    client = it.request(b"POST", CHAT, JSON, (b"content-length", b"1000"), (b"content-encoding", b" Identity "))
    assert not client.ended
    client.leave()


# everything else


@pytest.mark.parametrize("path", [b"/", b"/health", b"/livez", b"/readyz", b"/v1/models"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_pages_are_there(it: Rig, path: bytes, method: bytes) -> None:
    client = it.request(method, path, (b"x-request-id", b"mine"))
    client.end()
    head, _, body = bytes(client.transport.written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-request-id: mine" in head
    assert bool(body) == (method == b"GET")
    assert it.records == []


WRONG = [
    (b"GET", CHAT, "POST, OPTIONS"),
    (b"DELETE", b"/v1/models", "GET, HEAD, OPTIONS"),
    (b"POST", b"/v1/models/m", "GET, HEAD, OPTIONS"),
    (b"POST", b"/health", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("method", "path", "allowed"), WRONG)
def test_a_wrong_method_is_told_the_right_one(it: Rig, method: bytes, path: bytes, allowed: str) -> None:
    answer = it.get(path, method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.error["code"] == "method_not_allowed"
    assert path.decode() in answer.error["message"]
    assert it.records == []


@pytest.mark.parametrize(
    ("path", "allowed"), [(CHAT, "POST, OPTIONS"), (b"/v1/models", "GET, HEAD, OPTIONS"), (b"/nothing", None)]
)
def test_options_are_told(it: Rig, path: bytes, allowed: str | None) -> None:
    answer = it.get(path, method=b"OPTIONS")
    assert answer.status == (404 if allowed is None else 204)
    assert answer.headers.get("allow") == allowed


HINTS = {
    "without /v1": (b"/chat/completions", "Did you mean /v1/chat/completions?"),
    "models without /v1": (b"/models", "Did you mean /v1/models?"),
    "/v1 twice": (b"/v1/v1/chat/completions", "Did you mean /v1/chat/completions?"),
    "elsewhere": (b"/v1/assistants", "/v1/embeddings"),
    "no model": (b"/v1/models/", "GET /v1/models"),
}


@pytest.mark.parametrize(("path", "hint"), HINTS.values(), ids=HINTS)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_unknown_path_is_told_of_the_known_ones(it: Rig, path: bytes, hint: str, method: bytes) -> None:
    answer = it.get(path, method=method)
    assert (answer.status, answer.error["code"]) == (404, "path_not_found")
    assert hint in answer.error["message"]


def test_a_path_is_shown_without_what_would_harm_a_terminal(it: Rig) -> None:
    message = it.get(b"/\x1b[31m\xff" + b"x" * 300).error["message"]
    assert "\x1b" not in message
    assert len(message) < 800


# what is no request

HOSTS = {
    "none": ([], False, 400),
    "one": ([b"g"], False, 200),
    "empty": ([b""], False, 200),
    "two": ([b"g", b"g"], False, 400),
    "none, and HTTP/1.0": ([], True, 200),
    "two, and HTTP/1.0": ([b"g", b"h"], True, 400),
}


@pytest.mark.parametrize(("hosts", "is_http10", "status"), HOSTS.values(), ids=HOSTS)
def test_a_request_names_its_host_once(it: Rig, hosts: list[bytes], is_http10: bool, status: int) -> None:
    client, twice = Client(), [(b"accept", b"a/b"), (b"accept", b"c/d")]
    headers = [*twice, *((b"host", host) for host in hosts)]
    client.exchange = exchange = Exchange(client, b"GET", b"/livez", b"", headers)  # type: ignore[arg-type]
    exchange.is_http10 = is_http10
    exchange.handler = it.router(exchange)
    client.end()
    assert client.answer.status == status


# who is let in


def test_a_stranger_gets_nothing_at_all() -> None:
    with rig(Access(["10.0.0.0/8"], [])) as it:
        for method, path in ((b"GET", b"/v1/models"), (b"GET", b"/livez"), (b"GET", b"/nothing"), (b"POST", CHAT)):
            client = it.request(method, path, peer="8.8.8.8")
            client.end()
            assert client.answer.status == 403
            assert client.answer.error["code"] == "forbidden"
        assert [(record.path, record.status, record.peer) for record in it.records] == [("chat", 403, "8.8.8.8")]


def test_a_forwarded_stranger_is_one_whatever_it_says_of_itself() -> None:
    """Some proxies add a header of their own instead of adding to the caller's."""
    with rig(Access(["10.0.0.0/8"], ["10.0.0.1/32"])) as it:
        forwarded = [(b"x-forwarded-for", b"10.0.0.7"), (b"x-forwarded-for", b"8.8.8.8")]
        client = it.request(b"GET", b"/v1/models", *forwarded, peer="10.0.0.1")
        client.end()
        assert client.answer.status == 403
        client = it.request(b"GET", b"/v1/models", forwarded[0], peer="10.0.0.1")
        client.end()
        assert client.answer.status == 200


def test_a_request_that_comes_back_to_its_gateway_is_refused(it: Rig) -> None:
    it.leases.next(it.place())
    client = it.post(b'{"model":"m"}', (b"via", b"1.1 a-proxy"))
    engine = it.upstream.accept()
    sent = [line for line in engine.received().split(b"\r\n") if line.startswith(b"via: ")]
    assert sorted(sent) == [b"via: 1.1 a-proxy", b"via: " + VIA]
    again = it.post(b'{"model":"m"}', *((b"via", line.removeprefix(b"via: ")) for line in sent))
    assert again.answer.status == 508
    assert again.answer.error["code"] == "loop_detected"
    assert it.leases.asked == [("m", ())]
    engine.say(whole(b"{}"))
    assert client.answer.status == 200


# the admin API


class Elsewhere:
    """Takes what is handed on, and answers nothing."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def __call__(self, exchange: Exchange, request_id: bytes) -> Page:
        self.paths.append(exchange.path)
        return Page(exchange, lambda: Answer(200, b"{}"), request_id)


def with_admin(it: Rig, access: Access | None = None) -> Elsewhere:
    """Put an admin API behind the door."""
    elsewhere = Elsewhere()
    pages = FleetPages(it.fleet, created_s=0.0, is_stopping=bool)
    it.router = DataRouter(it.plane, pages, it.more, access or Access(["0.0.0.0/0"], []), elsewhere)  # type: ignore[arg-type]
    return elsewhere


@pytest.mark.parametrize("path", [b"/admin/v1/nodes", b"/admin/v1/models/a%2Fb", b"/admin/nothing"])
def test_paths_of_the_admin_api_are_handed_on_whatever_they_are(it: Rig, path: bytes) -> None:
    elsewhere = with_admin(it)
    assert it.get(path).status == 200
    assert elsewhere.paths == [path]


@pytest.mark.parametrize("path", [b"/admin", b"/administrator", b"/v1/admin/x"])
def test_other_paths_are_not(it: Rig, path: bytes) -> None:
    elsewhere = with_admin(it)
    assert it.get(path).status == 404
    assert elsewhere.paths == []


def test_who_is_not_let_in_is_told_in_the_plain_shape(it: Rig) -> None:
    elsewhere = with_admin(it, Access(["192.168.0.0/16"], []))
    answer = it.get(b"/admin/v1/nodes")
    assert (answer.status, set(answer.error)) == (403, {"code", "message", "details"})
    assert set(it.get(b"/health").error) == {"message", "type", "param", "code"}
    assert elsewhere.paths == []
