"""A stream tells every event of a response in order, whatever the engine's chunks are like, and says how it ended."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from tests.unit.dialects.chat_engine import CALLS_END, STOP, calling, chunk, dumped, piece, usage, usage_alone, whole
from tests.unit.dialects.responses_checker import Event, checked, events_of
from tests.unit.dialects.responses_scene import (
    CRM,
    OPENAI,
    PATCH,
    WEATHER,
    a_mint,
    asked,
    replied,
    streamed,
    translated,
)

from cortex.contract.error import ContextExceeded, EngineBusy, MalformedRequest, TooManyRequests, UpstreamBroken
from cortex.dialects.engine import traits_of
from cortex.dialects.responses import RESPONSES

TOOLS = [WEATHER, PATCH, CRM]


def final(*payloads: bytes, **members: Any) -> Event:
    return checked(streamed(payloads, **{"tools": TOOLS, **members}))


def items(*payloads: bytes, **members: Any) -> list[Event]:
    """The items of the response at the end, without what is the same in all."""
    found = final(*payloads, **members)["output"]
    return [{key: value for key, value in item.items() if key not in ("id", "status")} for item in found]


def said(text: str) -> Event:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {"type": "message", "role": "assistant", "content": [part]}


def thought(text: str) -> Event:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def called(call_id: str, arguments: str = "{}", name: str = "weather", **members: str) -> Event:
    return {"type": "function_call", "arguments": arguments, "call_id": call_id, "name": name, **members}


def test_every_event_is_told_in_order() -> None:
    payloads = [
        chunk(role="assistant"),
        chunk(reasoning_content="hm"),
        chunk(content="Hel"),
        chunk(content="lo"),
        calling(piece("{}", "weather", "call_a")),
        calling(piece('{"input":"x"}', "apply_patch", "call_b", index=1)),
        CALLS_END,
        usage_alone(),
    ]
    stream = streamed(payloads, tools=TOOLS)
    checked(stream)
    assert [event["type"].removeprefix("response.") for event in events_of(stream)] == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        *("output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"),
        "completed",
    ]


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    writer = translated(stream=True).writer()
    assert writer.feed(chunk(role="assistant")) == b""
    assert writer.feed(chunk(content="")) == b""
    assert writer.feed(usage_alone()) == b""
    assert writer.feed(chunk(content="a")).startswith(b"event: response.created\n")


@pytest.mark.parametrize("member", ["content", "reasoning"])
def test_pieces_of_text_that_go_on_are_told_like_the_first(member: str) -> None:
    stream = streamed([chunk(**{member: text}) for text in ('50 %s "a"', "50 %d\n", "ß🙂")] + [STOP])
    checked(stream)
    deltas = [event for event in events_of(stream) if event["type"].endswith("text.delta")]
    assert [event["delta"] for event in deltas] == ['50 %s "a"', "50 %d\n", "ß🙂"]
    same = [{**event, "delta": "", "sequence_number": 0} for event in deltas]
    assert same == [same[0]] * 3
    assert [list(event) for event in deltas] == [list(deltas[0])] * 3


def test_an_answer_in_which_nothing_is_said_is_an_empty_one() -> None:
    response = final(chunk(role="assistant"), STOP)
    assert (response["status"], response["output"]) == ("completed", [])


def test_text_after_a_call_is_an_item_of_its_own() -> None:
    assert items(chunk(content="a"), calling(piece("{}", "weather", "c1")), chunk(content="b"), CALLS_END) == [
        said("a"),
        called("c1"),
        said("b"),
    ]


def test_reasoning_that_comes_again_is_an_item_of_its_own() -> None:
    payloads = [chunk(reasoning="a"), calling(piece("{}", "weather", "c1")), chunk(reasoning="b"), chunk(content="c")]
    assert items(*payloads, STOP) == [thought("a"), called("c1"), thought("b"), said("c")]


def test_blanks_between_calls_are_no_message() -> None:
    one, two = calling(piece("{}", "weather", "c1")), calling(piece("{}", "weather", "c2", index=1))
    assert items(one, chunk(content="\n"), two, CALLS_END) == [called("c1"), called("c2")]


def test_a_call_is_whole_before_anybody_hears_of_it() -> None:
    writer = translated(stream=True, tools=TOOLS).writer()
    assert writer.feed(calling(piece('{"city": "Par', "weather", "c1"))) == b""
    assert writer.feed(calling(piece('is"}'))) == b""
    assert b'"arguments":"{\\"city\\": \\"Paris\\"}"' in writer.feed(CALLS_END) + writer.end()


def test_a_call_of_a_tool_in_a_namespace_gets_its_namespace_back() -> None:
    assert items(calling(piece("{}", "crm__find", "c1")), CALLS_END) == [called("c1", name="find", namespace="crm")]


def test_a_call_of_a_tool_that_is_not_declared_is_passed_on() -> None:
    assert items(calling(piece("{}", "guess", "c1")), CALLS_END) == [called("c1", name="guess")]


def test_a_custom_tools_input_may_be_empty() -> None:
    (item,) = items(calling(piece('{"input":""}', "apply_patch", "c1")), CALLS_END)
    assert item == {"type": "custom_tool_call", "input": "", "call_id": "c1", "name": "apply_patch"}


@pytest.mark.parametrize("wanted", ["", "c d", "x" * 65, "c1"], ids=["none", "ill-formed", "too long", "in history"])
def test_a_call_gets_another_id_when_the_engines_is_of_no_use(wanted: str) -> None:
    history = [{"role": "user", "content": "hi"}, {"type": "function_call", "call_id": "c1", "name": "weather"}]
    (item,) = items(calling(piece("{}", "weather", wanted)), CALLS_END, input=history)
    assert item["call_id"].startswith("call_")


def test_two_calls_with_one_id_can_be_told_apart() -> None:
    payload = calling(piece('{"a":1}', "weather", "c1"), piece('{"a":2}', "weather", "c1", index=1))
    one, two = items(payload, CALLS_END)
    assert one["call_id"] == "c1"
    assert two["call_id"] != "c1"


def test_only_the_first_of_several_calls_is_passed_on_where_one_was_asked_for() -> None:
    payload = calling(piece("{}", "weather", "c1"), piece("{}", "weather", "c2", index=1))
    assert items(payload, CALLS_END, parallel_tool_calls=False) == [called("c1")]


def test_reasoning_that_was_switched_off_is_not_shown() -> None:
    payloads = [chunk(reasoning="hm"), chunk(content="a"), STOP]
    assert items(*payloads, reasoning={"effort": "none"}) == [said("a")]
    assert items(*payloads, reasoning={"effort": "low"}) == [thought("hm"), said("a")]


def test_sealed_reasoning_comes_back_as_it_was() -> None:
    (item,) = items(chunk(reasoning="hmß"), STOP, include=["reasoning.encrypted_content"], store=False)
    back = {"type": "reasoning", "summary": [], "encrypted_content": item["encrypted_content"]}
    translation = translated(input=[back, {"role": "assistant", "content": "ho"}, {"role": "user", "content": "x"}])
    told = json.loads(translation.body(traits_of("llamacpp"), "m", None))["messages"]
    assert told[0]["reasoning_content"] == "hmß"


def test_usage_is_told_in_openais_words() -> None:
    response = final(chunk(content="a"), STOP, usage_alone(prompt=20, completion=7, cached=16, reasoning=3))
    assert response["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 27,
    }


def test_usage_that_the_engine_does_not_tell_is_null() -> None:
    assert final(chunk(content="a"), STOP)["usage"] is None


def test_the_writer_knows_what_the_answer_cost() -> None:
    writer = translated(stream=True).writer()
    assert writer.usage is None
    writer.feed(usage_alone(prompt=3, completion=4))
    assert writer.usage is not None
    assert writer.usage.total_tokens == 7


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete_and_says_why(finish: str, reason: str) -> None:
    response = final(chunk(content="a"), chunk(finish))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None


def test_a_call_that_was_cut_for_its_length_is_never_told_of() -> None:
    response = final(chunk(content="a"), calling(piece('{"command": "rm -rf /d', "weather", "c1")), chunk("length"))
    assert response["status"] == "incomplete"
    assert [item["type"] for item in response["output"]] == ["message"]


def test_a_call_that_broke_off_without_a_reason_fails_the_response() -> None:
    stream = streamed([calling(piece('{"command": "rm -rf /d', "weather", "c1")), CALLS_END], tools=TOOLS)
    response = checked(stream)
    assert response["status"] == "failed"
    assert response["output"] == []
    assert "broke off" in response["error"]["message"]


def test_a_stream_that_just_stops_has_no_end_of_ours() -> None:
    writer = translated(stream=True).writer()
    out = writer.feed(chunk(content="a")) + writer.end()
    assert not writer.is_complete
    assert b"response.completed" not in out


def test_an_error_within_the_engines_stream_fails_the_response() -> None:
    writer = translated(stream=True).writer()
    out = writer.feed(chunk(content="a")) + writer.feed(dumped({"error": {"message": "out of memory", "code": 500}}))
    assert checked(out)["error"]["message"].endswith("out of memory")
    assert writer.failure is not None
    assert not writer.is_complete
    assert writer.feed(chunk(content="b")) + writer.end() + writer.fail(UpstreamBroken(), 502) == b""


@pytest.mark.parametrize("payloads", [[], [chunk(content="a")], [chunk(reasoning="a")], [chunk(content="a"), STOP]])
def test_an_error_ends_the_stream_wherever_it_stands(payloads: list[bytes]) -> None:
    writer = translated(stream=True).writer()
    out = b"".join(map(writer.feed, payloads)) + writer.fail(UpstreamBroken("gone"), 502)
    response = checked(out)
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "gone", "param": None, "type": "upstream_error"}
    assert [item["status"] for item in response["output"]] == ["incomplete"] * bool(payloads)
    assert writer.fail(UpstreamBroken("again"), 502) == b""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextExceeded("too long"), "context_length_exceeded"),
        (MalformedRequest("no"), "invalid_prompt"),
        (TooManyRequests("slow"), "rate_limit_exceeded"),
        (EngineBusy("busy"), "server_error"),
    ],
)
def test_an_errors_code_tells_clients_whether_to_try_again(error: Any, code: str) -> None:
    assert checked(translated(stream=True).writer().fail(error, 500))["error"]["code"] == code


def test_a_request_written_on_many_lines_is_told_back_on_one() -> None:
    body = json.dumps({"model": "m", "input": "hi", "stream": True, "tools": TOOLS}, indent=2).replace("\n", "\r\n")
    translation = RESPONSES.translate(body.encode(), a_mint())
    writer = translation.writer()
    assert checked(writer.feed(chunk(content="a")) + writer.feed(STOP) + writer.end())["tools"] == TOOLS


def test_attempts_share_nothing_but_the_id() -> None:
    translation = translated(stream=True, tools=TOOLS)
    first, second = translation.writer(), translation.writer()
    payloads = [chunk(content="a"), calling(piece("{}", "weather", "c1")), CALLS_END]
    told = [b"", b""]
    for payload in payloads:
        for number, writer in enumerate((first, second)):
            told[number] += writer.feed(payload)
    assert checked(told[0] + first.end()) == checked(told[1] + second.end())


# what clients make of it


def accumulated(stream: bytes) -> Any:
    """What OpenAI's own accumulator has at the end."""
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for event in events_of(stream):
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    return state._completed_response


def test_openais_accumulator_agrees() -> None:
    payloads = [
        chunk(reasoning="hm"),
        chunk(content="Hel"),
        chunk(content="lo"),
        calling(piece('{"city":"Paris"}', "weather", "c1")),
        calling(piece('{"input":"x"}', "apply_patch", "c2", index=1)),
        CALLS_END,
        usage_alone(),
    ]
    stream = streamed(payloads, tools=TOOLS)
    response = accumulated(stream)
    assert response.output_text == "Hello"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert response.to_dict(exclude_unset=False)["output"][2]["arguments"] == '{"city":"Paris"}'
    assert response.usage.total_tokens == 13


def test_openais_accumulator_follows_deltas_to_the_same_text() -> None:
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    stream = streamed([chunk(content="Hel"), chunk(content="lo"), STOP])
    fired = [
        told
        for event in events_of(stream)
        for told in state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    ]
    snapshots = [told.snapshot for told in fired if told.type == "response.output_text.delta"]
    assert snapshots == ["Hel", "Hello"]


@pytest.mark.parametrize(
    "payloads",
    [[chunk(content="a"), STOP], [chunk(content="a"), chunk("length")], [chunk(reasoning="a"), CALLS_END], [STOP]],
)
def test_the_object_is_valid_by_openais_own_types(payloads: list[bytes]) -> None:
    members = {"metadata": {"a": "b"}, "reasoning": {"effort": "low", "summary": "auto"}, "tool_choice": "auto"}
    Response.model_validate(final(*payloads, usage_alone(), **members))


# a stream and a whole answer


_TEXTS = st.sampled_from(["a", "Hello ", "größer ", "\n", "🙂"])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["a", "thinks ", "größer"]), max_size=3),
    st.lists(st.sampled_from(["a", "says ", "🙂"]), max_size=3),
    st.lists(
        st.sampled_from([("weather", '{"city":"x"}'), ("apply_patch", '{"input":"y"}'), ("crm__find", "")]), max_size=3
    ),
    st.sampled_from(["stop", "tool_calls", "length"]),
    st.data(),
)
def test_a_stream_comes_to_the_same_as_the_whole_answer(
    thoughts: list[str], texts: list[str], calls: list[tuple[str, str]], finish: str, data: st.DataObject
) -> None:
    made = [piece(arguments, name, f"c{at}", index=at) for at, (name, arguments) in enumerate(calls)]
    payloads = [chunk(reasoning_content=text) for text in thoughts] + [chunk(content=text) for text in texts]
    for at, (name, arguments) in enumerate(calls):
        cut = data.draw(st.integers(0, len(arguments)))
        payloads.append(calling(piece(arguments[:cut], name, f"c{at}", index=at)))
        payloads.append(calling(piece(arguments[cut:], index=at)))
    by_stream = final(*payloads, chunk(finish), dumped({"choices": [], "usage": usage()}))
    message = {"reasoning_content": "".join(thoughts), "content": "".join(texts), "tool_calls": made}
    assert by_stream == replied(whole(finish, **message), tools=TOOLS, stream=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda text: chunk(content=text), _TEXTS),
            st.builds(lambda text: chunk(reasoning=text), _TEXTS),
            st.builds(
                lambda *made: calling(piece(*made)),
                st.sampled_from([None, "{}", '{"a":', "1}", "x", '{"input":"y"}']),
                st.sampled_from([None, "weather", "apply_patch", "guess"]),
                st.sampled_from([None, "c1", "c2", ""]),
                st.sampled_from([None, 0, 1]),
            ),
            st.sampled_from([usage_alone(), dumped({"choices": []}), dumped({"error": "no"}), b"{", STOP, CALLS_END]),
        ),
        max_size=12,
    )
)
def test_whatever_an_engine_sends_the_stream_is_one_that_clients_can_read(payloads: list[bytes]) -> None:
    translation = RESPONSES.translate(asked(tools=TOOLS, stream=True), a_mint())
    translation.body(OPENAI, "m", None)
    writer = translation.writer()
    out = b"".join(map(writer.feed, payloads))
    out += writer.end() if writer.is_complete else writer.fail(UpstreamBroken("cut"), 502)
    assert checked(out)["status"] in ("completed", "failed")
