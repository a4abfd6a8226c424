"""Anthropic's requests, member by member; the failures of other translators (T…) are each a case of its own."""

from typing import Any

import msgspec
import pytest
from tests.unit.dialects.claude import (
    ALL,
    LLAMACPP,
    MISTRALRS,
    OPENAI,
    PICTURE,
    PICTURE_PART,
    SGLANG,
    VLLM,
    asked,
    assistant,
    messages,
    refusal,
    result,
    sent,
    text,
    tool,
    turn,
    use,
    user,
)

from cortex.contract.error import CallerError, CortexError
from cortex.dialects.anthropic_request import MAX_FETCHED_IMAGES, MAX_TOLD, read_anthropic, read_count
from cortex.dialects.interface import Need

ELSEWHERE = {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}}


# What is asked


def test_a_plain_request_is_a_plain_chat() -> None:
    assert sent() == {
        "model": "engine-id",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 100,
    }


def test_what_the_gateway_must_know_is_there() -> None:
    request = read_anthropic(asked(model="claude-x", max_tokens=7, stream=True, stop_sequences=["a", ""]))
    assert (request.model, request.max_tokens, request.is_stream, request.stop) == ("claude-x", 7, True, ("a",))
    assert (request.needs, request.dropped, request.tool_names) == ((), (), frozenset())
    assert (request.thinks, request.hides_thinking, request.is_single_call) == (False, False, False)


@pytest.mark.parametrize("stream", [None, False])
def test_only_a_true_stream_is_streamed(stream: bool | None) -> None:
    assert not read_anthropic(asked(stream=stream)).is_stream
    assert "stream" not in sent(stream=stream)


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body = sent(stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_sampling_goes_by_the_same_names() -> None:
    body = sent(temperature=0.5, top_p=0.9, top_k=40)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 40)


def test_stop_sequences_are_stops_however_many() -> None:
    assert sent(stop_sequences=list("abcdef"))["stop"] == list("abcdef")
    assert "stop" not in sent(stop_sequences=[""])


@pytest.mark.parametrize(
    "members",
    [
        {"service_tier": "auto", "inference_geo": "eu", "speed": "fast", "container": "c", "diagnostics": {}},
        {"user_profile_id": "u", "workspace_id": "w", "betas": ["x"], "anything_new": [1, {"a": None}]},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"cache_control": {"type": "ephemeral"}, "metadata": {"user_id": '{"device_id":"secret"}'}},
        {"mcp_servers": [], "tools": [], "stop_sequences": [], "system": [], "output_config": {}},
    ],
)
def test_what_only_anthropics_service_knows_leaves_no_trace(members: dict[str, Any]) -> None:
    assert sent(**members) == sent()


def test_mcp_servers_cannot_be_connected() -> None:
    assert refusal(mcp_servers=[{"type": "url", "url": "https://x"}]).startswith("mcp_servers: MCP servers are not")


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_a_conversation_that_is_kept_elsewhere_is_not_answered_without_its_beginning(thread: dict[str, str]) -> None:
    assert refusal(thread=thread).startswith("thread: conversations are not kept here")
    assert sent(thread=None) == sent()


# The system prompt


def test_a_system_prompt_is_the_first_message() -> None:
    assert sent(system="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}


def test_t22_blocks_of_the_system_prompt_are_one_text_without_marks() -> None:
    marked = text("one") | {"cache_control": {"type": "ephemeral"}}
    assert sent(system=[marked, text(""), text("two")])["messages"][0] == {"role": "system", "content": "one\n\ntwo"}


def test_t22_marks_for_a_cache_leave_no_trace_anywhere() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    talk = (user(text("a") | mark), assistant(use("1") | mark), user(result("1", [text("b") | mark]) | mark))
    body = sent(messages=list(talk), tools=[tool("look") | mark], system=[text("s") | mark])
    assert b"cache_control" not in msgspec.json.encode(body)


def test_only_text_may_stand_in_a_system_prompt() -> None:
    assert refusal(system=[text("a"), PICTURE]) == 'system.1: only text is supported here, not "image"'


def test_t23_the_billing_header_is_not_part_of_the_prompt() -> None:
    header = text("x-anthropic-billing-header: cc_version=2.1.197.a3f; cc_entrypoint=cli; cch=00000;")
    assert sent(system=[header, text("s")]) == sent(system="s")
    assert sent(system="x-anthropic-billing-header: cc_version=2;\ns") == sent(system="s")
    assert sent(system=[header]) == sent()


@pytest.mark.parametrize("traits", ALL, ids=lambda traits: traits.kind)
def test_t23_the_beginning_of_the_prompt_is_the_same_from_turn_to_turn(traits: Any) -> None:
    talk = [
        user(text("<system-reminder>x</system-reminder>"), text("do it")),
        turn("system", "You are in /work."),
        assistant({"type": "thinking", "thinking": "hm", "signature": "s"}, use("a"), use("b")),
        user(result("b", [text("2"), PICTURE]), result("a", "1")),
        assistant(text("done")),
        user("thanks"),
    ]
    mark = {"cache_control": {"type": "ephemeral"}}
    earlier: list[Any] = []
    for count in (2, 4, 6):
        marked = [*talk[: count - 1], turn(talk[count - 1]["role"], *_marked(talk[count - 1], mark))]
        header = text(f"x-anthropic-billing-header: cc_version=2.1.{count};")
        now = messages(*marked, traits=traits, system=[header, text("s") | mark])
        assert now[: len(earlier)] == earlier
        earlier = now
    assert len(earlier) >= 7


def _marked(message: dict[str, Any], mark: dict[str, Any]) -> list[Any]:
    content = message["content"]
    return [content] if isinstance(content, str) else [*content[:-1], content[-1] | mark]


def test_t15_a_system_message_amid_the_conversation_stays_where_it_is() -> None:
    found = messages(
        user("a"), turn("system", "Note this."), assistant("b"), turn("system", [text("And")][0]), user("c")
    )
    assert found == [
        {"role": "user", "content": "a\n<system-reminder>\nNote this.\n</system-reminder>"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "<system-reminder>\nAnd\n</system-reminder>\nc"},
    ]


def test_t15_a_reminder_is_not_wrapped_twice() -> None:
    found = messages(user("a"), turn("system", "<system-reminder>x</system-reminder>"))
    assert found == [{"role": "user", "content": "a\n<system-reminder>x</system-reminder>"}]


def test_t15_a_system_message_that_stands_first_is_part_of_the_system_prompt() -> None:
    found = messages(turn("system", "b"), turn("system", text("c")), user("d"), system="a")
    assert found == [{"role": "system", "content": "a\n\nb\n\nc"}, {"role": "user", "content": "d"}]


def test_t15_a_system_message_between_a_call_and_its_result_does_not_part_them() -> None:
    found = messages(user("a"), assistant(use("1")), turn("system", "s"), user(result("1", "r")))
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "user"]
    assert found[3]["content"] == "<system-reminder>\ns\n</system-reminder>"


# Thinking


THINKING_SENT = {
    "llamacpp": (
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}, "reasoning_effort": "none"},
    ),
    "mistralrs": ({"enable_thinking": True}, {"enable_thinking": False}),
    "vllm": (
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    ),
    "sglang": (
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    ),
    "": ({}, {}),
}
_ABOUT_THINKING = ("chat_template_kwargs", "enable_thinking", "reasoning_effort", "thinking_budget_tokens")


def about_thinking(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in _ABOUT_THINKING}


@pytest.mark.parametrize("traits", ALL, ids=lambda traits: traits.kind)
def test_t19_without_the_member_a_model_does_not_think(traits: Any) -> None:
    assert about_thinking(sent(traits)) == THINKING_SENT[traits.kind][1]
    assert about_thinking(sent(traits, output_config={"effort": "high"})) == THINKING_SENT[traits.kind][1]
    assert about_thinking(sent(traits, thinking={"type": "disabled"})) == THINKING_SENT[traits.kind][1]


@pytest.mark.parametrize("kind", ["adaptive", "enabled", "between_tools_2027"])
@pytest.mark.parametrize("traits", ALL, ids=lambda traits: traits.kind)
def test_thinking_is_switched_on_however_it_is_called(traits: Any, kind: str) -> None:
    assert about_thinking(sent(traits, thinking={"type": kind})) == THINKING_SENT[traits.kind][0]
    assert read_anthropic(asked(thinking={"type": kind})).thinks


def test_a_budget_is_passed_on_where_there_is_one() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert sent(LLAMACPP, thinking=thinking)["thinking_budget_tokens"] == 2048
    for traits in (OPENAI, MISTRALRS, VLLM, SGLANG):
        assert b"2048" not in msgspec.json.encode(sent(traits, thinking=thinking))


@pytest.mark.parametrize(
    ("effort", "llamacpp", "mistralrs"),
    [
        ("low", "low", "low"),
        ("medium", "medium", "medium"),
        ("high", "high", "high"),
        ("xhigh", "high", "xhigh"),
        ("max", "high", "xhigh"),
        ("minimal", "low", "low"),
        ("whatever comes", "medium", "medium"),
    ],
)
def test_effort_is_what_the_engine_has_next_to_it(effort: str, llamacpp: str, mistralrs: str) -> None:
    members = {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    assert sent(LLAMACPP, **members)["reasoning_effort"] == llamacpp
    assert sent(MISTRALRS, **members)["reasoning_effort"] == mistralrs
    assert sent(VLLM, **members)["reasoning_effort"] == llamacpp
    assert "reasoning_effort" not in sent(OPENAI, **members)


def test_thinking_may_be_wanted_and_not_shown() -> None:
    request = read_anthropic(asked(thinking={"type": "adaptive", "display": "omitted"}))
    assert (request.thinks, request.hides_thinking) == (True, True)


def test_t17_earlier_thinking_is_given_back_to_the_engine() -> None:
    talk = (user("a"), assistant({"type": "thinking", "thinking": "hm", "signature": "s"}, text("b")), user("c"))
    assert messages(*talk, traits=LLAMACPP)[1] == {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    assert messages(*talk, traits=MISTRALRS)[1] == {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    assert messages(*talk, traits=VLLM)[1] == {"role": "assistant", "content": "b", "reasoning": "hm"}
    assert messages(*talk, traits=OPENAI)[1] == {"role": "assistant", "content": "b"}


def test_t28_redacted_thinking_is_taken_and_left_out() -> None:
    talk = (user("a"), assistant({"type": "redacted_thinking", "data": "x"}, text("b")), user("c"))
    assert messages(*talk) == messages(user("a"), assistant("b"), user("c"))
    assert read_anthropic(asked(messages=list(talk))).dropped == ()


# A beginning of the answer


def test_with_a_beginning_of_the_answer_nobody_thinks() -> None:
    talk = [user("a"), assistant("The answer is")]
    thinking = {"type": "enabled", "budget_tokens": 2048}
    body = sent(LLAMACPP, messages=talk, thinking=thinking)
    assert about_thinking(body) == THINKING_SENT["llamacpp"][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "The answer is"}
    assert not read_anthropic(asked(messages=talk, thinking=thinking)).thinks


def test_engines_that_must_be_told_are_told_to_go_on_with_it() -> None:
    talk = [user("a"), assistant("The answer is")]
    for traits in (VLLM, SGLANG):
        body = sent(traits, messages=talk)
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in sent(LLAMACPP, messages=talk)
    assert "continue_final_message" not in sent(VLLM)


def test_what_an_engine_says_again_is_known() -> None:
    request = read_anthropic(asked(messages=[user("a"), assistant("The answer is")]))
    request.body(LLAMACPP, "m", None)
    assert request.echo == "The answer is"
    request.body(VLLM, "m", None)
    assert request.echo == ""


# Structured output


SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


@pytest.mark.parametrize(
    "members",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "high"}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ],
)
def test_an_answer_by_a_schema_is_a_response_format(members: dict[str, Any]) -> None:
    assert sent(tools=[], **members)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


def test_other_forms_of_an_answer_are_refused() -> None:
    assert refusal(output_config={"format": {"type": "xml"}}).startswith('output_config.format.type: must be "json_s')
    assert (
        refusal(output_config={"format": {"type": "json_schema"}}) == "output_config.format.schema: must be an object"
    )


# Tools in use


def test_t16_calls_and_results_alternate_as_strict_templates_want() -> None:
    found = messages(
        user("a"), assistant(text("b"), use("1", city="Ulm")), user(result("1", "r")), assistant("c"), user("d")
    )
    assert found == [
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "content": "b",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Ulm"}'}}
            ],
        },
        {"role": "tool", "content": "r", "tool_call_id": "1"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]


def test_t16_a_call_without_words_has_no_content_or_an_empty_one() -> None:
    talk = (user("a"), assistant(use("1")), user(result("1")))
    assert messages(*talk)[1]["content"] is None
    assert messages(*talk, traits=MISTRALRS)[1]["content"] == ""


def test_t16_consecutive_turns_of_one_role_are_one() -> None:
    found = messages(user("a"), user(text("b"), PICTURE), assistant("c"), assistant("d"), user("e"))
    assert found == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, PICTURE_PART]},
        {"role": "assistant", "content": "c\nd"},
        {"role": "user", "content": "e"},
    ]


def test_t18_a_picture_in_a_result_goes_where_the_engine_takes_it() -> None:
    talk = (user("a"), assistant(use("1")), user(result("1", [text("shot"), PICTURE]), text("now")))
    assert messages(*talk, traits=LLAMACPP)[2:] == [
        {"role": "tool", "content": [{"type": "text", "text": "shot"}, PICTURE_PART], "tool_call_id": "1"},
        {"role": "user", "content": "now"},
    ]
    for traits in (OPENAI, MISTRALRS, VLLM, SGLANG):
        assert messages(*talk, traits=traits)[2:] == [
            {"role": "tool", "content": "shot\n[image attached below]", "tool_call_id": "1"},
            {"role": "user", "content": [PICTURE_PART, {"type": "text", "text": "now"}]},
        ]


def test_t24_results_come_before_what_else_the_user_says() -> None:
    for blocks in ([result("1", "r"), text("now")], [text("now"), result("1", "r")]):
        found = messages(user("a"), assistant(use("1")), user(*blocks))
        assert found[2:] == [
            {"role": "tool", "content": "r", "tool_call_id": "1"},
            {"role": "user", "content": "now"},
        ]


@pytest.mark.parametrize("traits", ALL, ids=lambda traits: traits.kind)
@pytest.mark.parametrize("kind", ["auto", "any", "tool", "none"])
def test_t25_a_choice_of_tool_is_as_strong_as_it_was(traits: Any, kind: str) -> None:
    choice = {"type": kind} | ({"name": "b"} if kind == "tool" else {})
    body = sent(traits, tools=[tool("a"), tool("b")], tool_choice=choice)
    names = [entry["function"]["name"] for entry in body.get("tools", [])]
    named = {"type": "function", "function": {"name": "b"}}
    # A named function is "auto" to llama-server; with "none" some engines write a call down as text.
    expected = {
        "auto": ("auto", ["a", "b"]),
        "any": ("required", ["a", "b"]),
        "tool": (named, ["a", "b"]) if traits.takes_named_choice else ("required", ["b"]),
        "none": ("none", ["a", "b"]) if traits.takes_choice_none else (None, []),
    }
    assert (body.get("tool_choice"), names) == expected[kind]


def test_t26_a_document_is_never_left_out_silently() -> None:
    for source in (
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        {"type": "url", "url": "https://documents.example/a.pdf"},
        {"type": "file", "file_id": "file_1"},
        {"type": "unheard-of"},
    ):
        block = {"type": "document", "source": source}
        assert refusal(messages=[user(block)]).startswith("messages.0.content.0.source")
        talk = [user("a"), assistant(use("1")), user(result("1", [block]))]
        assert messages(*talk)[2]["content"].startswith("[A document")


def test_one_call_at_a_time_is_asked_for_and_known() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert sent(tools=[tool("a")], tool_choice=choice)["parallel_tool_calls"] is False
    assert read_anthropic(asked(tools=[tool("a")], tool_choice=choice)).is_single_call
    assert "parallel_tool_calls" not in sent(tools=[tool("a")], tool_choice={"type": "auto"})


def test_what_was_left_out_is_known_by_name() -> None:
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    talk = [user("a"), assistant({"type": "web_search_tool_result", "content": []}, text("b")), user("c")]
    request = read_anthropic(asked(tools=[tool("a"), hosted], messages=talk))
    assert request.dropped == ("web_search", "web_search_tool_result")
    assert request.tool_names == frozenset({"a"})
    many = [{"type": f"hosted_{index}", "name": "x" * 1000 + str(index)} for index in range(100)]
    assert read_anthropic(asked(tools=[tool("a"), *many])).dropped == ("x" * 100,)
    many = [{"type": f"hosted_{index}"} for index in range(100)]
    assert len(read_anthropic(asked(tools=[tool("a"), *many])).dropped) == MAX_TOLD


# Pictures from elsewhere


def test_a_picture_by_url_is_needed_once_and_put_into_its_place() -> None:
    talk = [user(ELSEWHERE, text("a")), assistant(use("1")), user(result("1", [ELSEWHERE]))]
    request = read_anthropic(asked(messages=talk))
    assert request.needs == (Need(kind="image", ref="https://pictures.example/a.png"),)
    request.supply(request.needs[0], b"data:image/png;base64,aGk=")
    first = msgspec.json.decode(request.body(LLAMACPP, "m", None))["messages"]
    assert first[0]["content"] == [PICTURE_PART, {"type": "text", "text": "a"}]
    assert first[2]["content"] == [PICTURE_PART]
    assert request.body(LLAMACPP, "m", None) == request.body(LLAMACPP, "m", None)


def test_a_picture_that_cannot_be_had_is_said_so() -> None:
    request = read_anthropic(asked(messages=[user(ELSEWHERE)]))
    with pytest.raises(CallerError, match=r"https://pictures\.example/a\.png could not be fetched: send it as base64"):
        request.supply(request.needs[0], None)


def test_pictures_by_url_are_not_without_number() -> None:
    blocks = [
        {"type": "image", "source": {"type": "url", "url": f"https://x.example/{index}"}}
        for index in range(MAX_FETCHED_IMAGES + 1)
    ]
    assert "more than 100 pictures" in refusal(messages=[user(*blocks)])


def test_what_is_forgotten_is_not_sent_again() -> None:
    request = read_anthropic(asked())
    request.forget()
    with pytest.raises(CortexError, match="let go of"):
        request.body(OPENAI, "m", None)


# Counting


def test_a_count_needs_no_bound_and_is_the_same_prompt() -> None:
    body = asked(max_tokens=None, tools=[], stream=True, system="s")
    request = read_count(body)
    assert (request.max_tokens, request.is_stream) == (None, False)
    written = msgspec.json.decode(request.body(OPENAI, "m", None))
    assert written["messages"] == sent(system="s")["messages"]
    assert "max_tokens" not in written
