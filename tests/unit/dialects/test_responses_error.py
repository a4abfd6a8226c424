"""Before anything was said, an error is OpenAI's envelope, or a whole stream of a response that failed."""

import json

from openai.types.responses import Response
from tests.unit.dialects.responses_checker import events_of

from cortex.contract.error import EngineBusy, PreviousResponseNotFound
from cortex.dialects.responses_error import error_body, error_event


def test_an_answer_has_openais_envelope() -> None:
    error = PreviousResponseNotFound("Previous response with id 'resp_1' not found.", param="previous_response_id")
    assert json.loads(error_body(error)) == {
        "error": {
            "message": "Previous response with id 'resp_1' not found.",
            "type": "invalid_request_error",
            "param": "previous_response_id",
            "code": "previous_response_not_found",
        }
    }


def test_a_stream_is_that_of_a_response_that_failed() -> None:
    events = events_of(error_event(EngineBusy("busy", model="m"), "req-1"))
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.failed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    assert [event["response"]["status"] for event in events] == ["in_progress", "in_progress", "failed"]
    assert {event["response"]["id"] for event in events} == {"resp_req-1"}
    response = Response.model_validate(events[-1]["response"])
    assert response.error is not None
    assert (response.error.code, response.error.message, response.model) == ("server_error", "busy", "m")
