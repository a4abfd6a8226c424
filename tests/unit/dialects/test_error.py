"""OpenAI's error envelope, as a body and as a last event."""

from pathlib import PurePath

import msgspec
import pytest

from cortex.contract import error as e
from cortex.dialects.error import openai_body, openai_event, openai_type, plain_body


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (e.MalformedRequest(), "invalid_request_error"),
        (e.ModelNotFound(), "invalid_request_error"),
        (e.BodyTooLarge(), "invalid_request_error"),
        (e.TooManyRequests(), "rate_limit_error"),
        (e.QueueFull(), "unavailable_error"),
        (e.NoHealthyNode(), "unavailable_error"),
        (e.ShuttingDown(), "unavailable_error"),
        (e.UpstreamTimeout(), "upstream_error"),
        (e.CortexError(), "server_error"),
        (e.ConfigError(), "server_error"),
    ],
    ids=lambda value: value.code if isinstance(value, e.CortexError) else value,
)
def test_an_error_has_the_type_of_its_family(error: e.CortexError, kind: str) -> None:
    assert openai_type(error) == kind
    assert msgspec.json.decode(openai_body(error))["error"]["type"] == kind


def test_the_envelope_has_openais_four_fields_and_no_more() -> None:
    assert msgspec.json.decode(openai_body(e.MalformedRequest("Not JSON: “x”\n"))) == {
        "error": {
            "message": "Not JSON: “x”\n",
            "type": "invalid_request_error",
            "param": None,
            "code": "malformed_request",
        }
    }


def test_an_error_without_words_has_those_of_its_class() -> None:
    said = msgspec.json.decode(openai_body(e.ModelMissing()))["error"]
    assert said["message"].startswith('The request names no model: add "model"')
    assert said["param"] == "model"


def test_details_ride_along_but_for_what_has_a_place_of_its_own() -> None:
    error = e.ModelNotFound("No.", model="x", param="data.model", headers={"allow": "POST"}, known=("a", "b"))
    said = msgspec.json.decode(openai_body(error))["error"]
    assert said["param"] == "data.model"
    assert said["details"] == {"model": "x", "known": ["a", "b"]}


def test_details_that_json_does_not_know_are_told_as_text() -> None:
    error = e.LoadFailed("No.", path=PurePath("/models/x"), cause=ValueError("bad"))
    assert msgspec.json.decode(openai_body(error))["error"]["details"] == {"path": "/models/x", "cause": "bad"}


def test_the_event_is_the_body_on_one_line() -> None:
    error = e.UpstreamBroken("first\nsecond\r\nthird")
    event = openai_event(error)
    assert event == b"data: " + openai_body(error) + b"\n\n"
    assert event.count(b"\n") == 2
    assert b"\r" not in event


def test_our_own_envelope_has_code_message_and_details() -> None:
    error = e.LoadFailed("no luck", node="beast", path=PurePath("/x"))
    assert msgspec.json.decode(plain_body(error)) == {
        "error": {"code": "load_failed", "message": "no luck", "details": {"node": "beast", "path": "/x"}}
    }
