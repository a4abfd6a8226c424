"""Whose fault an engine's error was, read from every shape that engines give it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex.contract.error import (
    BodyTooLarge,
    CallerError,
    CapacityError,
    ContextExceeded,
    CortexError,
    EngineBusy,
    EngineFailed,
    EngineRefused,
    UpstreamError,
)
from cortex.dialects.engine_error import MAX_WORDS, engine_error, room_in, stream_error

LLAMA_LONG = {
    "error": {
        "code": 400,
        "message": "request (5012 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 5012,
        "n_ctx": 4096,
    }
}


def llama(code: int, message: str, kind: str) -> object:
    return {"error": {"code": code, "message": message, "type": kind}}


def new_mistral(message: str, code: str, kind: str = "server_error", param: str | None = None) -> object:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


ROWS: dict[str, tuple[int, object, type[CortexError]]] = {
    "llama-server: bad value": (
        400,
        llama(400, "Field 'max_tokens': must be a number", "invalid_request_error"),
        EngineRefused,
    ),
    "llama-server: too long": (400, LLAMA_LONG, ContextExceeded),
    "llama-server: loading": (503, llama(503, "Loading model", "unavailable_error"), EngineBusy),
    "llama-server: no slot": (503, llama(503, "no slot available", "unavailable_error"), EngineBusy),
    "llama-server: picture without a projector": (
        500,
        llama(500, "image input is not supported - hint: if this is unexpected, ...", "server_error"),
        EngineRefused,
    ),
    "llama-server: crash": (500, llama(500, "Failed to decode", "server_error"), EngineFailed),
    "llama-server: not for this model": (
        501,
        llama(501, "Infill is not supported", "not_supported_error"),
        EngineRefused,
    ),
    "llama-server: no such path": (404, llama(404, "File Not Found", "not_found_error"), EngineRefused),
    "llama-server: wrong key": (401, llama(401, "Invalid API Key", "authentication_error"), EngineFailed),
    "mistral.rs old: unknown model": (500, {"message": "Requested model 'x' is not available."}, EngineFailed),
    "mistral.rs old: validation": (422, {"message": "`n` must be at least 1"}, EngineRefused),
    "mistral.rs old: too long": (
        422,
        {"message": "Prompt sequence length is greater than 2048, perhaps"},
        ContextExceeded,
    ),
    "mistral.rs old: reloading": (500, {"message": "model `x` is being reloaded"}, EngineBusy),
    "mistral.rs old: model failed midway": (
        500,
        {"message": "it broke", "partial_response": {"id": "1"}},
        EngineFailed,
    ),
    "mistral.rs old: axum, JSON": (400, "Failed to parse the request body as JSON: EOF", EngineRefused),
    "mistral.rs old: axum, content type": (
        415,
        "Expected request with `Content-Type: application/json`",
        EngineRefused,
    ),
    "mistral.rs: unknown model": (404, new_mistral("no model x", "model_not_found", param="model"), EngineFailed),
    "mistral.rs: reloading": (409, new_mistral("being reloaded", "model_state_conflict"), EngineBusy),
    "mistral.rs: internal": (500, new_mistral("Internal server error.", "internal_error"), EngineFailed),
    "mistral.rs: model": (500, new_mistral("The model failed to process the request.", "model_error"), EngineFailed),
    "mistral.rs: overload": (503, new_mistral("engine closed", "service_unavailable"), EngineBusy),
    "mistral.rs: bad types": (
        400,
        new_mistral("messages: wrong", "invalid_request_body", "invalid_request_error"),
        EngineRefused,
    ),
    "mistral.rs: too large": (
        413,
        new_mistral("too large", "request_body_too_large", "invalid_request_error"),
        BodyTooLarge,
    ),
    "vLLM: too long": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (...)",
            "type": "BadRequestError",
            "code": 400,
        },
        ContextExceeded,
    ),
    "vLLM: unknown model": (404, {"error": {"message": "The model `x` does not exist.", "code": 404}}, EngineFailed),
    "FastAPI: fields": (422, {"detail": [{"loc": ["body", "n"], "msg": "not a number"}]}, EngineRefused),
    "FastAPI: words": (405, {"detail": "Method Not Allowed"}, EngineRefused),
    "TGI": (422, {"error": "Template error: no", "error_type": "template_error"}, EngineRefused),
    "proxy: page": (502, "<html><h1>502 Bad Gateway</h1></html>", EngineFailed),
    "proxy: forbidden": (403, "Forbidden", EngineFailed),
    "rate limit": (429, {"error": {"message": "slow down", "type": "rate_limit_error"}}, EngineBusy),
    "nothing": (500, "", EngineFailed),
}


def body_of(said: object) -> bytes:
    return said.encode() if isinstance(said, str) else json.dumps(said).encode()


@pytest.mark.parametrize(("status", "said", "kind"), ROWS.values(), ids=ROWS.keys())
def test_an_engines_error_is_laid_at_the_right_door(status: int, said: object, kind: type[CortexError]) -> None:
    error = engine_error(status, body_of(said))
    assert type(error) is kind
    assert error.details["engine_status"] == status


def test_a_request_that_is_too_long_has_the_engines_numbers() -> None:
    error = engine_error(400, body_of(LLAMA_LONG))
    assert error.details == {"prompt_tokens": 5012, "context": 4096, "engine_status": 400}
    assert error.message == "The request takes 5012 tokens; the model's context has 4096."


@pytest.mark.parametrize(
    ("words", "details", "room"),
    [
        (
            "'max_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request has "
            "12 input tokens (5000 > 4096 - 12).",
            {"prompt_tokens": 12, "context": 4096, "max_tokens": 5000},
            4084,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 4000 output tokens and your "
            "prompt contains at least 97 input tokens, for a total of at least 4097 tokens.",
            {"context": 4096, "max_tokens": 4000},
            0,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 9999 tokens (9990 in the "
            "messages, 9 in the completion).",
            {"prompt_tokens": 9990, "context": 4096},
            None,
        ),
        ("That does not work.", {}, None),
    ],
    ids=["counted", "not counted to its end", "the prompt alone", "another reason"],
)
def test_an_answer_that_is_too_long_is_told_from_a_prompt_that_is(
    words: str, details: dict[str, int], room: int | None
) -> None:
    error = engine_error(400, body_of({"message": words}))
    assert error.details == {**details, "engine_status": 400}
    assert room_in(error) == room
    assert ("max_tokens" in error.message) == ("max_tokens" in details)


def test_numbers_that_the_engine_did_not_say_are_not_made_up() -> None:
    error = engine_error(500, b'{"error":{"type":"exceed_context_size_error","n_prompt_tokens":"many"}}')
    assert error.details == {"engine_status": 500}
    assert error.message == ContextExceeded().message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": {"message": "the reason"}}, "the reason"),
        ({"error": "the reason"}, "the reason"),
        ({"message": "the reason"}, "the reason"),
        ({"error": None, "message": "the reason"}, "the reason"),
        ({"type": "error", "error": {"type": "api_error", "message": "the reason"}}, "the reason"),
        ({"detail": "the reason"}, "the reason"),
        ({"detail": [{"loc": ["body", "n"], "msg": "the reason"}, "and more"]}, "body.n: the reason; and more"),
        ("the reason\n", "the reason"),
    ],
)
def test_the_engines_words_reach_the_caller_from_every_shape(said: object, words: str) -> None:
    assert engine_error(400, body_of(said)).message == f"The engine does not take this request: {words}"


def test_the_field_that_an_engine_names_is_passed_on() -> None:
    error = engine_error(400, body_of({"error": {"message": "no", "param": "top_k"}}))
    assert error.details["param"] == "top_k"


def test_a_proxys_page_is_not_shown() -> None:
    assert "<" not in engine_error(502, b"  <html>x</html>").message


def test_words_that_are_no_text_can_be_said_all_the_same() -> None:
    assert (
        stream_error({"message": "half \ud800 and \udcff"})
        .message.encode()
        .endswith(b"half \xef\xbf\xbd and \xef\xbf\xbd")
    )


def test_a_novel_is_cut() -> None:
    assert len(engine_error(500, b"x" * 10_000).message) < MAX_WORDS + 100


@pytest.mark.parametrize("status", [401, 403])
def test_an_engine_that_refuses_cortex_never_looks_like_a_refused_client(status: int) -> None:
    error = engine_error(status, body_of(llama(status, "Invalid API Key: provide yours", "authentication_error")))
    assert isinstance(error, UpstreamError)
    assert "operator" in error.message
    assert "provide yours" not in error.message


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ({"message": "it broke", "type": "server_error", "param": None, "code": None}, EngineFailed),
        ({"message": "it broke", "type": "server_error", "code": 500}, EngineFailed),
        ({"message": "too many", "type": "overloaded_error"}, EngineBusy),
        ({"message": "too many", "code": 503}, EngineBusy),
        ({"message": "no", "type": "invalid_request_error"}, EngineRefused),
        ({"message": "no", "type": "BadRequestError", "code": 400}, EngineRefused),
        (LLAMA_LONG["error"], ContextExceeded),
        ("plain words", EngineFailed),
        ({"code": True}, EngineFailed),
        ({"code": 7}, EngineFailed),
        (None, EngineFailed),
        ([1], EngineFailed),
    ],
)
def test_an_error_within_a_stream_is_read_like_one_before_it(member: object, kind: type[CortexError]) -> None:
    assert type(stream_error(member)) is kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "code", "param", "detail", "loc", "msg", "n_ctx"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(status=st.integers(400, 599), said=JSON)
def test_whatever_an_engine_says_becomes_an_error_with_words(status: int, said: object) -> None:
    for error in (engine_error(status, json.dumps(said).encode()), stream_error(said)):
        assert isinstance(error, CallerError | CapacityError | UpstreamError)
        assert error.message


@settings(max_examples=60, deadline=None)
@given(status=st.integers(400, 599), body=st.binary(max_size=60))
def test_whatever_bytes_an_engine_sends_become_an_error_with_words(status: int, body: bytes) -> None:
    assert engine_error(status, body).message
