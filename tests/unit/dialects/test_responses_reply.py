"""A whole answer is a whole object, or an error of the engine."""

import pytest
from tests.unit.dialects.chat_engine import dumped, whole
from tests.unit.dialects.responses_checker import check_response
from tests.unit.dialects.responses_scene import PATCH, WEATHER, replied, translated

from cortex.contract.error import UpstreamError


def test_a_whole_answer_is_a_whole_object() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
        {"id": "c2", "type": "function", "function": {"name": "apply_patch", "arguments": '{"input":"x"}'}},
    ]
    answer = whole("tool_calls", content="hello", reasoning_content="hm", tool_calls=calls)
    response = check_response(replied(answer, tools=[WEATHER, PATCH]))
    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "custom_tool_call",
    ]
    assert response["usage"]["total_tokens"] == 13


def test_one_that_was_cut_is_incomplete() -> None:
    assert replied(whole("length", content="a"))["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        dumped({"error": {"message": "no"}}),
        whole(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": '{"a'}}]),
    ],
    ids=["nothing", "no answer", "an error", "a call that broke off"],
)
def test_one_of_no_use_is_an_error_of_the_engine_and_not_kept(answer: bytes) -> None:
    translation = translated()
    with pytest.raises(UpstreamError):
        translation.reply(answer)
    assert translation.keep(None) is None
