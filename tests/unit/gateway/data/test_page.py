"""The gateway's own answers, and when they are given."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.gateway.data.rig import EPOCH_S, Client, Rig, rig

from cortex import __version__
from cortex.contract.error import CortexError, NoHealthyNode
from cortex.dialects.openai import OPENAI
from cortex.gateway.data.page import MAX_SWALLOWED_BYTES, Answer, Page, error_answer


@pytest.fixture
def it() -> Iterator[Rig]:
    with rig() as one:
        one.fleet.entries = [
            an_entry("org/m", aliases=["short"]),
            an_entry("short-of", aliases=["org/m"]),
            an_entry("z"),
        ]
        yield one


def an_entry(model: str, **keys: object) -> dict[str, object]:
    entry = {
        "id": model,
        "status": "loaded",
        "nodes": [],
        "context": 1,
        "aliases": [],
        "capabilities": [],
        "harness": "h",
    }
    return entry | keys


def body(it: Rig, path: bytes, query: bytes = b"") -> dict[str, object]:
    answer = it.get(path, query=query)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    return dict(msgspec.json.decode(answer.body))


# what is said


def test_the_root_says_what_is_here(it: Rig) -> None:
    assert body(it, b"/") == {"name": "cortex", "version": __version__, "api": "/v1", "models": "/v1/models"}


def test_a_process_that_answers_is_alive(it: Rig) -> None:
    it.is_stopping = True
    assert body(it, b"/livez") == {"status": "ok"}


def test_ready_is_who_has_asked_every_node_and_is_not_stopping(it: Rig) -> None:
    assert it.get(b"/readyz").status == 200
    it.fleet.is_up = False
    assert (it.get(b"/readyz").status, it.get(b"/readyz").body) == (503, b'{"status":"starting"}')
    it.is_stopping = True
    assert (it.get(b"/readyz").status, it.get(b"/readyz").body) == (503, b'{"status":"stopping"}')


@pytest.mark.parametrize(("status", "http"), [("ok", 200), ("degraded", 200), ("down", 503)])
def test_health_is_the_fleets(it: Rig, status: str, http: int) -> None:
    it.fleet.state = {"status": status, "nodes": [{"name": "beast"}]}
    answer = it.get(b"/health")
    assert (answer.status, msgspec.json.decode(answer.body)) == (http, it.fleet.state)


def test_models_are_listed_and_paged(it: Rig) -> None:
    page = body(it, b"/v1/models")
    assert isinstance(page["data"], list)
    assert [model["id"] for model in page["data"]] == ["org/m", "short-of", "z"]
    assert page["data"][0]["created"] == EPOCH_S
    assert page["data"][0]["created_at"] == "2027-01-15T08:00:00Z"
    page = body(it, b"/v1/models", b"limit=1&after_id=org%2Fm&x=%ff")
    assert (page["first_id"], page["has_more"]) == ("short-of", True)


def test_a_wrong_limit_is_refused(it: Rig) -> None:
    answer = it.get(b"/v1/models", query=b"limit=all")
    assert (answer.status, answer.error["param"]) == (400, "limit")


@pytest.mark.parametrize(
    ("path", "model"),
    [(b"org/m", "org/m"), (b"org%2Fm", "org/m"), (b"org%2fm", "org/m"), (b"short", "org/m"), (b"z", "z")],
    ids=["raw", "quoted", "quoted in lower case", "alias", "plain"],
)
def test_a_model_is_found_by_id_or_alias(it: Rig, path: bytes, model: str) -> None:
    assert body(it, b"/v1/models/" + path)["id"] == model


def test_an_unknown_model_is_a_404(it: Rig) -> None:
    answer = it.get(b"/v1/models/org%2Fother")
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "'org/other'" in answer.error["message"]


def test_without_a_healthy_node_nobody_can_tell_which_models_are_unknown(it: Rig) -> None:
    it.fleet.state = {"status": "down", "nodes": []}
    answer = it.get(b"/v1/models/org%2Fother")
    assert (answer.status, answer.error["code"]) == (503, "no_healthy_node")
    assert answer.headers["retry-after"] == "2"
    assert body(it, b"/v1/models/z")["id"] == "z"


def test_an_id_that_is_no_text_is_malformed(it: Rig) -> None:
    assert it.get(b"/v1/models/%ff").status == 400


def test_an_error_is_an_answer_with_what_goes_with_it() -> None:
    answer = error_answer(NoHealthyNode("down"), OPENAI, b"id")
    assert (answer.status, answer.headers) == (
        503,
        b"content-type: application/json\r\nretry-after: 2\r\nx-should-retry: true\r\n",
    )
    assert msgspec.json.decode(answer.body)["error"]["code"] == "no_healthy_node"


# when it is said


def test_an_answer_waits_for_the_end_of_the_request_so_that_the_connection_lives_on(it: Rig) -> None:
    client = it.request(b"POST", b"/nothing", (b"content-length", b"5"))
    client.body(b"hello")
    assert not client.ended
    client.end()
    assert (client.answer.status, client.exchange.is_keep_alive) == (404, True)


@pytest.mark.parametrize(
    "header", [(b"expect", b"100-continue"), (b"content-length", b"%d" % (MAX_SWALLOWED_BYTES + 1))]
)
def test_a_body_that_nobody_wants_is_not_waited_for(it: Rig, header: tuple[bytes, bytes]) -> None:
    client = it.request(b"POST", b"/nothing", header)
    assert client.answer.status == 404
    assert not client.exchange.is_keep_alive
    assert client.ended == 1


def test_a_body_that_grows_too_large_to_be_swallowed_is_answered_once(it: Rig) -> None:
    client = it.request(b"POST", b"/nothing")
    client.body(b"x" * MAX_SWALLOWED_BYTES)
    assert not client.ended
    client.body(b"x")
    assert client.answer.status == 404
    client.body(b"x")
    client.end()
    assert client.ended == 1


def test_a_client_that_leaves_before_its_page_loses_nothing(it: Rig) -> None:
    client = it.request(b"GET", b"/")
    client.leave()
    assert not client.transport.written


def test_a_gateway_that_stops_breaks_off_a_request_without_an_end(it: Rig) -> None:
    client = it.request(b"POST", b"/nothing")
    assert client.exchange.handler is not None
    client.exchange.handler.on_shutdown()
    assert client.is_aborted


def test_what_a_page_raises_is_its_answer(it: Rig) -> None:
    def write() -> Answer:
        raise CortexError("the pen is broken")

    client = it.request(b"GET", b"/")
    page = Page(client.exchange, write, b"id")
    page.on_end()
    assert (client.answer.status, client.answer.error["message"]) == (500, "the pen is broken")
    assert client.answer.headers["x-request-id"] == "id"


def test_a_page_is_paused_by_nobody(it: Rig) -> None:
    client: Client = it.request(b"GET", b"/")
    client.slow_down()
    client.catch_up()
    client.end()
    assert client.answer.is_whole
