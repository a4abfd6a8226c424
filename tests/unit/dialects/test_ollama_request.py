"""What an engine is sent for a request to ``/api/chat`` or ``/api/generate``, and what is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.ollama_case import PNG, a_mint, chat, generate, sent

from cortex.contract.error import CallerError, MalformedRequest, ModelMissing
from cortex.dialects.engine import GENERIC
from cortex.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from cortex.dialects.ollama_request import read_chat, read_generate

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
WEATHER = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}


def test_a_chat_becomes_openais() -> None:
    body = sent(chat())
    assert body["model"] == "engine-name"
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert body["stream"] is True


def test_a_prompt_becomes_a_users_message_after_the_system_one() -> None:
    assert sent(generate(system="Be brief."))["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_pictures_of_a_prompt_come_along() -> None:
    content = sent(generate(images=[PNG]))["messages"][0]["content"]  # type: ignore[index]
    assert [part["type"] for part in content] == ["image_url", "text"]
    assert sent(generate(prompt="", images=[PNG]))["messages"][0]["content"][0]["type"] == "image_url"  # type: ignore[index]


@pytest.mark.parametrize(("stream", "is_stream"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])
def test_an_answer_is_streamed_unless_the_caller_says_no(stream: dict[str, object], is_stream: bool) -> None:
    assert chat(**stream).is_stream is is_stream
    assert generate(**stream).is_stream is is_stream
    assert ("stream" in sent(chat(**stream))) is is_stream


def test_options_are_openais_members() -> None:
    options = {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 40.0,
        "min_p": 0.1,
        "seed": 7,
        "num_predict": 20,
        "stop": ["a", "b"],
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "typical_p": 0.9,
        "num_ctx": 4096,
        "num_gpu": 1,
    }
    body = sent(chat(options=options, stream=False))
    del body["model"], body["messages"]
    assert body == {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 7,
        "max_tokens": 20,
        "stop": ["a", "b"],
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "repeat_penalty": 1.1,
        "repetition_penalty": 1.1,
        "repeat_last_n": 64,
        "typical_p": 0.9,
    }


@pytest.mark.parametrize(
    "options", [{"num_predict": -1, "seed": -1}, {"num_predict": -2, "seed": None}, {"num_predict": 0}]
)
def test_numbers_that_mean_no_bound_or_any_seed_are_not_said(options: dict[str, object]) -> None:
    body = sent(chat(options=options))
    assert "max_tokens" not in body
    assert "seed" not in body


def test_a_stop_may_be_a_word() -> None:
    assert sent(chat(options={"stop": "END"}))["stop"] == ["END"]
    assert "stop" not in sent(chat(options={"stop": ""}))


def test_a_half_number_where_a_whole_one_belongs_is_refused() -> None:
    with pytest.raises(MalformedRequest, match=r"options\.top_k: must be a whole number"):
        chat(options={"top_k": 1.5})


@pytest.mark.parametrize(
    ("think", "is_on", "effort"),
    [
        (True, True, None),
        (False, False, None),
        ("high", True, "high"),
        ("LOW", True, "low"),
        ("max", True, "max"),
        ("very", True, None),
        ("none", False, None),
    ],
)
def test_think_switches_reasoning(think: object, is_on: bool, effort: str | None) -> None:
    thinking = read_chat(
        json.dumps({"model": "m", "messages": [{"role": "user"}], "think": think}).encode()
    ).request.thinking
    assert thinking is not None
    assert (thinking.is_on, thinking.effort) == (is_on, effort)


@pytest.mark.parametrize("think", [{}, {"think": None}, {"think": ""}])
def test_without_think_the_engine_does_as_it_does_by_itself(think: dict[str, object]) -> None:
    assert read_generate(json.dumps({"model": "m", "prompt": "Hi", **think}).encode()).request.thinking is None


def test_format_is_any_json_or_a_schema() -> None:
    assert sent(chat(format="json"))["response_format"] == {"type": "json_object"}
    form = sent(generate(format=SCHEMA))["response_format"]
    assert form["json_schema"]["schema"] == SCHEMA  # type: ignore[index]
    assert "response_format" not in sent(chat(format=""))
    assert "response_format" not in sent(chat(format=None))


@pytest.mark.parametrize("form", ["yaml", 7, [1], True])
def test_another_format_is_refused(form: object) -> None:
    with pytest.raises(MalformedRequest, match='format: must be "json" or a JSON schema'):
        chat(format=form)


def test_tools_are_offered() -> None:
    body = sent(chat(tools=[{"type": "function", "function": WEATHER}, {"function": {"name": "bare"}}]))
    assert body["tools"] == [
        {"type": "function", "function": WEATHER},
        {"type": "function", "function": {"name": "bare"}},
    ]
    assert "tools" not in sent(chat(tools=[]))


@pytest.mark.parametrize(
    "tool", [{}, {"type": "function"}, {"function": {"name": ""}}, {"function": {"name": "a", "parameters": []}}]
)
def test_a_tool_that_is_no_function_is_refused_with_its_place(tool: dict[str, object]) -> None:
    with pytest.raises(MalformedRequest, match=r"^tools\.1"):
        chat(tools=[{"function": WEATHER}, tool])


@pytest.mark.parametrize(
    "members",
    [{"raw": True}, {"template": "{{ .Prompt }}"}, {"suffix": "}"}, {"context": [1, 2]}],
    ids=lambda members: next(iter(members)),
)
def test_prompts_of_the_callers_own_making_are_refused_with_a_way_out(members: dict[str, object]) -> None:
    with pytest.raises(CallerError) as refused:
        generate(**members)
    name = next(iter(members))
    assert refused.value.details["param"] == name
    assert refused.value.message.startswith(f"{name}: is not supported here; ")


def test_members_that_say_nothing_are_no_reason_to_refuse() -> None:
    generate(raw=False, template="", suffix="", context=[], logprobs=False, keep_alive="5m")


def test_log_probabilities_are_refused_rather_than_left_out_silently() -> None:
    with pytest.raises(CallerError, match="logprobs"):
        chat(logprobs=True)


@pytest.mark.parametrize("make", [chat, generate])
def test_a_request_without_a_model_is_refused(make: object) -> None:
    with pytest.raises(ModelMissing):
        make(model="")  # type: ignore[operator]
    with pytest.raises(MalformedRequest, match="longer than"):
        make(model="m" * 2000)  # type: ignore[operator]


@pytest.mark.parametrize(
    "members", [{"prompt": ""}, {"prompt": None, "keep_alive": "5m"}, {"prompt": "", "keep_alive": -1}]
)
def test_an_empty_prompt_loads_the_model_with_a_single_token(members: dict[str, object]) -> None:
    translation = generate(**members)
    body = sent(translation)
    assert body["max_tokens"] == 1
    assert translation.max_tokens == 1
    assert sent(chat(messages=[]))["max_tokens"] == 1


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0h0m0s", "0.0s"])
def test_nobody_may_unload_a_model_that_others_may_be_using(keep_alive: object) -> None:
    with pytest.raises(CallerError, match="not unloaded"):
        generate(prompt="", keep_alive=keep_alive)
    with pytest.raises(CallerError, match="not unloaded"):
        chat(messages=[], keep_alive=keep_alive)
    assert "max_tokens" not in sent(generate(keep_alive=keep_alive)), "with a prompt it is ignored"


@pytest.mark.parametrize("keep_alive", [True, False, "", "s", "10s", "0s5m", None, [0], -1])
def test_other_times_to_be_kept_are_ignored(keep_alive: object) -> None:
    assert read_generate(json.dumps({"model": "m", "keep_alive": keep_alive}).encode()).is_load


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"messages":[{"role":"user"},{"content":7}]}', "messages.1.content: expected a string or null, got a whole"),
        (b'{"options":{"top_k":"many"}}', "options.top_k: expected a whole number or a number or null, got a string"),
        (b'{"options":{"seed":1e400}}', "options.seed: number out of range"),
        (b'{"messages":[{"tool_calls":[{"function":[]}]}]}', "messages.0.tool_calls.0.function: expected an object"),
        (b'{"think":5}', "think: expected true or false or a string or null, got a whole number"),
        (b"[]", "The request body must be a JSON object."),
        (b"", "The request has no body"),
        (b'{"model":', "not valid JSON"),
        (b'{"model":"\xff"}', "not valid JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(body: bytes, words: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read_chat(body)
    assert words in refused.value.message


def test_unknown_members_are_passed_over() -> None:
    assert sent(chat(shift=True, truncate=1, options={"num_gpu": 99, "penalize_newline": 1}))


KEYS = [
    "model",
    "messages",
    "role",
    "content",
    "images",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "tools",
    "type",
]
MORE_KEYS = ["parameters", "stream", "think", "format", "options", "stop", "seed", "prompt", "system", "keep_alive"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["m", "user", "tool", "", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS + MORE_KEYS), inner, max_size=6),
    max_leaves=15,
)


@settings(max_examples=80, deadline=None)
@given(said=JSON)
def test_any_json_is_taken_or_refused_as_the_callers_error(said: object) -> None:
    for dialect in (OLLAMA_CHAT, OLLAMA_GENERATE):
        try:
            translation = dialect.translate(json.dumps(said).encode(), a_mint())
        except CallerError:
            continue
        assert json.loads(translation.body(GENERIC, "m", 4096))


@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=40))
def test_any_bytes_are_refused_as_the_callers_error(body: bytes) -> None:
    with pytest.raises(CallerError):
        OLLAMA_CHAT.translate(body, a_mint())
