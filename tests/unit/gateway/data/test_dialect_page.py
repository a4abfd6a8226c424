"""What dialects have besides inference: found by path and method, refused in the dialect that has the path."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.unit.gateway.data.rig import Answer, Rig, rig

from cortex.dialects.interface import Keep

ENTRY = {
    "id": "lab/m",
    "status": "loaded",
    "nodes": [],
    "context": 4096,
    "aliases": ["small"],
    "capabilities": [],
    "harness": "llamacpp",
}


def asked(method: bytes, path: bytes, body: bytes = b"", query: bytes = b"") -> Answer:
    """Ask a gateway that has one model and one response."""
    answers: list[Answer] = []

    async def run() -> None:
        with rig() as it:
            it.fleet.entries = [ENTRY]
            kept = b'{"response":{"id":"resp_1","status":"completed","background":false},"items":[]}'
            await it.shelf.put(Keep(id="resp_1", record=kept))
            client = it.request(method, path, query=query)
            client.body(body)
            client.end()
            await rest(it)
            answers.append(client.answer)

    asyncio.run(run())
    return answers[0]


async def rest(it: Rig) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert not len(it.plane.tasks)


def read(answer: Answer) -> Any:
    return msgspec.json.decode(answer.body)


@pytest.mark.parametrize(
    ("method", "path", "member"),
    [
        (b"GET", b"/api/tags", "models"),
        (b"GET", b"/api/ps", "models"),
        (b"GET", b"/api/version", "version"),
        (b"POST", b"/api/show", "capabilities"),
        (b"POST", b"/v1/messages/count_tokens", "input_tokens"),
        (b"DELETE", b"/v1/responses/resp_1", "deleted"),
    ],
)
def test_every_page_is_there(method: bytes, path: bytes, member: str) -> None:
    answer = asked(method, path, b'{"model":"small","messages":[{"role":"user","content":"hi"}]}')
    assert (answer.status, member in read(answer)) == (200, True), answer.body


def test_t7_tokens_can_be_counted_without_max_tokens_and_with_no_tools() -> None:
    body = b'{"model":"small","tools":[],"messages":[{"role":"user","content":"hello there"}]}'
    answer = asked(b"POST", b"/v1/messages/count_tokens", body)
    assert answer.status == 200
    assert 0 < read(answer)["input_tokens"] < 100


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        (b"POST", b"/api/tags", "GET, HEAD"),
        (b"GET", b"/api/show", "POST"),
        (b"GET", b"/v1/messages/count_tokens", "POST"),
        (b"PUT", b"/v1/responses/resp_1", "DELETE, GET, HEAD"),
        (b"GET", b"/v1/responses/resp_1/cancel", "POST"),
        (b"POST", b"/v1/responses/resp_1/input_items", "GET, HEAD"),
    ],
)
def test_another_method_is_refused(method: bytes, path: bytes, allowed: str) -> None:
    answer = asked(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == f"{allowed}, OPTIONS"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/v1/responses/resp_9", 404),
        (b"/v1/responses/%72esp_9", 404),
        (b"/v1/responses/%ff", 400),
        (b"/v1/responses/resp_1/other", 404),
        (b"/v1/responses/", 404),
    ],
)
def test_what_is_not_there_is_told_in_openais_envelope(path: bytes, status: int) -> None:
    answer = asked(b"GET", path)
    assert (answer.status, set(read(answer))) == (status, {"error"})
    assert "message" in answer.error


def test_errors_of_ollamas_paths_are_its_own() -> None:
    for answer in (asked(b"POST", b"/api/show", b'{"model":"other"}'), asked(b"POST", b"/api/pull", b"{}")):
        assert (answer.status, list(read(answer))) == (404, ["error"])
        assert isinstance(read(answer)["error"], str)


def test_errors_beside_messages_are_anthropics() -> None:
    answer = asked(b"GET", b"/v1/messages/batches")
    assert (answer.status, read(answer)["type"]) == (404, "error")


def test_a_head_is_answered_like_a_get() -> None:
    answer = asked(b"HEAD", b"/api/version")
    assert (answer.status, answer.body) == (200, b"")


def test_what_a_page_takes_can_be_asked() -> None:
    answer = asked(b"OPTIONS", b"/v1/responses/resp_1")
    assert (answer.status, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
