"""Bodies and queries of our own APIs: what is taken, and in which words the rest is refused."""

import asyncio
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta
from starlette.requests import Request

from cortex.contract.error import (
    BodyTooLarge,
    CallerError,
    Forbidden,
    JsonRequired,
    MalformedRequest,
    UnsupportedEncoding,
)
from cortex.kit.json_call import MAX_BODY_BYTES, check_change, check_origin, json_response, read_json, read_query

JSON = {"content-type": "application/json; charset=utf-8"}


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "nobody"
    count: Annotated[int, Meta(ge=0)] = 0


def request(*pieces: bytes, query: str = "", **headers: str) -> Request:
    given = {key.replace("_", "-"): value for key, value in headers.items()} or JSON
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    left.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return left.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
    }
    return Request(scope, receive)


def read(*pieces: bytes, **headers: str) -> Wanted:
    return asyncio.run(read_json(request(*pieces, **headers), Wanted))


def test_a_body_is_read_whole_however_it_comes() -> None:
    assert read(b'{"na', b'me":"x","count":', b"2}") == Wanted("x", 2)


def test_no_body_is_an_empty_object() -> None:
    assert read() == Wanted()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"count": -1}', "int` >= 0 - at `$.count`; its fields are: name, count"),
        (b'{"cuont": 1}', "unknown field `cuont`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"not json", "The body is no JSON: "),
        (b'{"name": "\xff"}', "The body is no JSON: "),
        (b'{"name": "\\ud800"}', "The body is no JSON: it has half a character"),
        (b'{"other":' + b"[" * 100_000, "The body "),
    ],
    ids=["value", "field", "shape", "text", "bytes", "surrogate", "depth"],
)
def test_what_does_not_fit_is_told_with_what_would(body: bytes, words: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(body)
    assert words in caught.value.message


def test_a_huge_body_is_refused_by_its_length_or_when_it_has_grown_too_long() -> None:
    with pytest.raises(BodyTooLarge):
        read(content_type="application/json", content_length=str(MAX_BODY_BYTES + 1))
    with pytest.raises(BodyTooLarge):
        read(*[b" " * 65536] * 17)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, JsonRequired),
        ({"content-type": "text/plain"}, JsonRequired),
        ({"content-type": "application/jsonx"}, JsonRequired),
        ({**JSON, "content-encoding": "gzip"}, UnsupportedEncoding),
        ({**JSON, "origin": "http://evil.example"}, Forbidden),
        ({**JSON, "origin": "null"}, Forbidden),
    ],
    ids=["nothing", "text", "nearly", "compressed", "foreign page", "sandboxed page"],
)
def test_what_may_not_change_anything(headers: dict[str, str], error: type[CallerError]) -> None:
    with pytest.raises(error):
        check_change(headers)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_a_change_carries_json(content_type: str) -> None:
    check_origin({})
    check_change({"content-type": content_type, "content-encoding": "identity"})


def test_parameters_become_values() -> None:
    assert read_query(request(query="count=3&name=a%2Fb"), Wanted) == Wanted("a/b", 3)
    assert read_query(request(), Wanted) == Wanted()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("cuont=1", "'cuont' is no parameter of this call; did you mean 'count'?"),
        ("zzz=1", "'zzz' is no parameter of this call; known are: name, count"),
        ("count=x", "Expected `int`, got `str` - at `$.count`"),
        ("count=-1", "Expected `int` >= 0"),
    ],
)
def test_parameters_that_do_not_fit_are_told(query: str, words: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read_query(request(query=query), Wanted)
    assert words in caught.value.message


def test_an_answer_is_json() -> None:
    response = json_response(Wanted("x"), 202)
    assert (response.status_code, response.body) == (202, b'{"name":"x","count":0}')
    assert response.headers["content-type"] == "application/json"
