"""One list of models that both SDKs read, strictly validated, and page through to its end."""

import datetime
import sys
from typing import Any
from urllib.parse import parse_qsl

import anthropic
import msgspec
import openai
import pytest
from anthropic.pagination import SyncPage as AnthropicPage
from anthropic.types import ModelInfo
from openai.pagination import SyncPage as OpenAIPage
from openai.types import Model

from cortex.contract.error import MalformedRequest
from cortex.dialects.model_list import MAX_LIMIT, model_object, model_page

CREATED_S = 1_800_000_000


def an_entry(model: str = "org/m", context: int | None = 4096) -> dict[str, object]:
    return {
        "id": model,
        "status": "loaded",
        "nodes": [{"node": "beast", "status": "loaded", "devices": [0, 1]}],
        "context": context,
        "aliases": ["short"],
        "capabilities": ["vision"],
        "harness": "llamacpp",
    }


def an_object(model: str = "org/m", context: int | None = 4096) -> dict[str, object]:
    return model_object(an_entry(model, context), created_s=CREATED_S, created_at="2027-01-15T08:00:00Z")


OBJECTS = [an_object(name) for name in ("a", "b", "c", "d", "e")]


def ids(page: dict[str, object]) -> str:
    data = page["data"]
    assert isinstance(data, list)
    return "".join(entry["id"] for entry in data)


def as_json(value: object) -> object:
    """As it comes over the wire."""
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("context", [4096, None])
def test_a_model_is_one_in_openais_sdk(context: int | None) -> None:
    model = Model.model_validate(as_json(an_object(context=context)), strict=True)
    assert (model.id, model.object, model.created, model.owned_by) == ("org/m", "model", CREATED_S, "cortex")


@pytest.mark.parametrize("context", [4096, None])
def test_a_model_is_one_in_anthropics_sdk(context: int | None) -> None:
    model = ModelInfo.model_validate_json(msgspec.json.encode(an_object(context=context)), strict=True)
    assert (model.id, model.type, model.display_name, model.lifecycle) == ("org/m", "model", "org/m", "active")
    assert model.created_at == datetime.datetime.fromtimestamp(CREATED_S, datetime.UTC)
    assert (model.max_input_tokens, model.max_tokens) == (context, context)


def test_a_model_says_where_it_is() -> None:
    said = an_object()
    assert (said["status"], said["nodes"]) == ("loaded", an_entry()["nodes"])
    assert (said["aliases"], said["features"], said["harness"]) == (["short"], ["vision"], "llamacpp")


def test_a_page_is_one_in_both_sdks() -> None:
    body = as_json(model_page(OBJECTS, {}))
    theirs = OpenAIPage[Model].model_validate(body)
    assert [model.id for model in theirs.data] == ["a", "b", "c", "d", "e"]
    others = AnthropicPage[ModelInfo].model_validate(body)
    assert [model.id for model in others.data] == ["a", "b", "c", "d", "e"]
    assert (others.has_more, others.first_id, others.last_id) == (False, "a", "e")


def test_an_empty_list_is_a_page_too() -> None:
    body = as_json(model_page([], {"limit": "5"}))
    assert OpenAIPage[Model].model_validate(body).data == []
    page = AnthropicPage[ModelInfo].model_validate(body)
    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)


@pytest.mark.parametrize(
    ("query", "shown", "has_more"),
    [
        ("", "abcde", False),
        ("limit=5", "abcde", False),
        ("limit=2", "ab", True),
        ("after_id=b", "cde", False),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=c", "de", False),
        ("after_id=e", "", False),
        ("before_id=d", "abc", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=3&before_id=d", "abc", False),
        ("before_id=a", "", False),
        ("after_id=a&before_id=e", "bcd", False),
        ("limit=1&after_id=a&before_id=e", "b", True),
        ("after_id=d&before_id=b", "", False),
        ("after_id=unknown", "abcde", False),
        ("before_id=unknown&limit=1000", "abcde", False),
        ("other=1", "abcde", False),
    ],
)
def test_a_page_is_what_was_asked_for(query: str, shown: str, has_more: bool) -> None:
    page = model_page(OBJECTS, dict(parse_qsl(query)))
    assert (ids(page), page["has_more"]) == (shown, has_more)
    assert (page["first_id"], page["last_id"]) == ((shown[0], shown[-1]) if shown else (None, None))


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "", str(MAX_LIMIT + 1), "²"])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(MalformedRequest, match='"limit" must be a number') as refused:
        model_page(OBJECTS, {"limit": limit})
    assert refused.value.details["param"] == "limit"


def served(client: type, asked: list[str]) -> Any:
    """Return an HTTP client for an SDK, answered with pages; takes down what was asked.

    ``client`` is the SDK's own kind: which library it comes from differs between their versions.
    """
    http = next(sys.modules[kind.__module__.partition(".")[0]] for kind in client.__mro__[1:])

    def answer(request: Any) -> Any:
        asked.append(request.url.query.decode())
        return http.Response(200, json=as_json(model_page(OBJECTS, dict(request.url.params))))

    return client(transport=http.MockTransport(answer))


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_anthropics_sdk_pages_through_every_model_once(limit: int) -> None:
    asked: list[str] = []
    http = served(anthropic.DefaultHttpxClient, asked)
    with anthropic.Anthropic(api_key="none", base_url="http://x", http_client=http) as client:
        assert "".join(model.id for model in client.models.list(limit=limit)) == "abcde"
    assert len(asked) == -(-5 // limit)


def test_openais_sdk_gets_every_model_at_once() -> None:
    asked: list[str] = []
    http = served(openai.DefaultHttpxClient, asked)
    with openai.OpenAI(api_key="none", base_url="http://x/v1", http_client=http) as client:
        assert "".join(model.id for model in client.models.list()) == "abcde"
    assert asked == [""]
