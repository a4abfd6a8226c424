"""Examples are what the dialects say."""

import msgspec
import pytest

from cortex.gateway.data.reference.example import REQUESTS, WAITING, example_of
from cortex.gateway.data.reference.operation import operations
from cortex.gateway.data.route import INFERENCE, InferenceRoute

TRANSLATED = [route for route in INFERENCE.values() if route.dialect.translate is not None]


def test_every_path_that_takes_json_has_a_request_and_no_other_has_one() -> None:
    bodies = {one.path for one in operations() if one.body and not (one.route is not None and one.route.is_upload)}
    assert set(REQUESTS) == bodies


@pytest.mark.parametrize("route", TRANSLATED, ids=lambda route: route.path.decode())
def test_what_is_translated_shows_what_the_engine_gets_and_what_comes_back(route: InferenceRoute) -> None:
    example = example_of(route)
    assert example is not None
    assert example.sent["model"] == "coder"
    assert set(example.sent) & {"messages", "input"}
    assert example.answer
    if route.ends_with_done:
        assert example.stream.count("Hel") >= 1
        assert WAITING in example.stream


def test_what_engines_speak_themselves_is_sent_as_it_is() -> None:
    example = example_of(INFERENCE[b"/v1/chat/completions"])
    assert example is not None
    assert example.sent is None
    assert example.stream.endswith("data: [DONE]\n\n")
    for event in example.stream.split("\n\n")[1:-2]:
        assert msgspec.json.decode(event.removeprefix("data: "))["choices"]


def test_a_form_has_none() -> None:
    assert example_of(INFERENCE[b"/v1/images/edits"]) is None
