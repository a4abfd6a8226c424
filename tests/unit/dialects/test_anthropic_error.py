"""Errors are said as Anthropic's clients know them."""

import msgspec
import pytest
from tests.unit.dialects.anthropic_checker import events_of

from cortex.contract.error import (
    BodyTooLarge,
    ContextExceeded,
    CortexError,
    EngineBusy,
    EngineFailed,
    Forbidden,
    MalformedRequest,
    ModelNotFound,
    PathNotFound,
    QueueFull,
    ThreadUnsupported,
    TooManyRequests,
    UpstreamTimeout,
)
from cortex.dialects.anthropic_error import anthropic_body, anthropic_event, anthropic_type


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_its_type(status: int, kind: str) -> None:
    assert anthropic_type(CortexError(), status) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MalformedRequest(), "invalid_request_error"),
        (ContextExceeded(), "invalid_request_error"),
        (Forbidden(), "permission_error"),
        (ModelNotFound(), "not_found_error"),
        (PathNotFound(), "not_found_error"),
        (BodyTooLarge(), "request_too_large"),
        (TooManyRequests(), "rate_limit_error"),
        (QueueFull(), "overloaded_error"),
        (EngineBusy(), "overloaded_error"),
        (UpstreamTimeout(), "timeout_error"),
        (EngineFailed(), "api_error"),
        (CortexError(), "api_error"),
    ],
)
def test_an_error_within_a_stream_has_the_type_of_its_kind(error: CortexError, kind: str) -> None:
    assert anthropic_type(error) == kind


def test_a_body_names_type_message_and_request() -> None:
    body = anthropic_body(QueueFull("So many wait.", waiting=3), 529, "req_1")
    assert msgspec.json.decode(body) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "So many wait."},
        "request_id": "req_1",
    }


def test_a_client_that_counts_on_a_thread_is_told_so_in_words_that_it_acts_upon() -> None:
    told = msgspec.json.decode(anthropic_body(ThreadUnsupported("no"), 400, ""))["error"]
    assert told["details"] == {"error_code": "thread_unsupported_request", "unsupported": []}


def test_a_request_without_an_id_has_none_in_its_error() -> None:
    assert "request_id" not in msgspec.json.decode(anthropic_body(QueueFull(), 529, ""))


def test_an_event_is_one_line() -> None:
    (event,) = events_of(anthropic_event(EngineFailed("first\nsecond\r\nthird"), None))
    assert event == {"type": "error", "error": {"type": "api_error", "message": "first\nsecond\r\nthird"}}


def test_a_prompt_too_long_is_said_in_the_sentence_that_clients_read_numbers_from() -> None:
    error = ContextExceeded("engine's words", prompt_tokens=210000, context=200000)
    assert msgspec.json.decode(anthropic_body(error, 400, ""))["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: 210000 tokens > 200000 maximum",
    }


def test_a_prompt_that_would_fit_is_not_said_to_be_too_long() -> None:
    error = ContextExceeded("Ask for 96 at most.", prompt_tokens=4000, context=4096, max_tokens=32000)
    assert msgspec.json.decode(anthropic_body(error, 400, ""))["error"]["message"] == "Ask for 96 at most."


@pytest.mark.parametrize("details", [{}, {"context": 8}, {"prompt_tokens": 9}])
def test_without_both_numbers_none_is_made_up(details: dict[str, int]) -> None:
    error = ContextExceeded("The request takes too much.", **details)
    said = msgspec.json.decode(anthropic_body(error, 400, ""))["error"]["message"]
    assert said == "prompt is too long: The request takes too much."
