"""What a Responses request asks for reaches the engine, what cannot be had is refused, and nothing else comes of it."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dialects.responses_scene import (
    OPENAI,
    PATCH,
    PICTURE,
    WEATHER,
    a_mint,
    asked,
    assistant,
    call,
    image,
    messages,
    output,
    refusal,
    said,
    sent,
    sent_by,
    text,
    translated,
    user,
)

from cortex.contract.error import CallerError, MalformedRequest, PreviousResponseNotFound
from cortex.dialects.engine import traits_of
from cortex.dialects.interface import Need
from cortex.dialects.responses import RESPONSES
from cortex.dialects.responses_record import item_id, record_bytes
from cortex.dialects.responses_request import ResponsesRequest

URL = "https://pictures.example/a.png"
BEFORE = "resp_000000000000000000000abc"


def codex() -> bytes:
    """A request as Codex 0.169 sends it, its texts and most of its tools left out."""
    body = {
        "model": "m",
        "input": [
            said("developer", text("You are Codex.")),
            said("developer", text("<permissions/>")),
            user(text("<environment_context/>")),
            user(text("run echo hi")),
        ],
        "tools": [
            {**WEATHER, "name": "exec_command", "strict": False},
            {
                "type": "namespace",
                "name": "mcp__files",
                "description": "Files.",
                "tools": [{**WEATHER, "name": "read"}],
            },
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199",
        "client_metadata": {"x-codex-installation-id": "1"},
    }
    return json.dumps(body).encode()


def record(*output: Any, items: Any = (), status: str = "completed", response_id: str = BEFORE) -> bytes:
    """What is kept of an earlier response."""
    response = json.dumps({"id": response_id, "status": status, "output": output, "instructions": "old"}).encode()
    return record_bytes(response, [msgspec.Raw(json.dumps(item).encode()) for item in items])


def test_codex_is_understood() -> None:
    translation = RESPONSES.translate(codex(), a_mint())
    body = sent_by(translation)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "You are Codex.\n\n<permissions/>"
    assert body["messages"][1]["content"] == "<environment_context/>\n\nrun echo hi"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["exec_command", "mcp__files__read"]
    assert (body["tool_choice"], body["parallel_tool_calls"], body["stream"]) == ("auto", True, True)
    assert (translation.dropped, translation.is_stream, translation.model) == (("web_search",), True, "m")
    assert translation.keep(None) is None


def test_input_may_be_a_string() -> None:
    assert sent(input="hello")["messages"] == [{"role": "user", "content": "hello"}]


def test_what_was_not_said_is_not_sent() -> None:
    assert set(sent()) == {"model", "messages"}


@pytest.mark.parametrize(("value", "told"), [(None, None), (True, True), (False, False)])
def test_parallel_calls_may_be_ruled_out(value: bool | None, told: bool | None) -> None:
    assert sent(tools=[WEATHER], parallel_tool_calls=value).get("parallel_tool_calls") == told


def test_unknown_members_and_those_of_the_service_are_passed_over() -> None:
    members = {
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "truncation": "auto",
        "safety_identifier": "s",
        "zzz": [1],
    }
    assert sent(**members, stream_options={"include_obfuscation": False}, client_metadata={"a": "b"}) == sent()


@pytest.mark.parametrize("inner", ['"\\ud800"', "[" * 3000 + "]" * 3000], ids=["half a character", "too deep"])
def test_what_is_kept_has_to_be_json_throughout(inner: str) -> None:
    body = f'{{"model":"m","input":[{{"role":"user","content":"x","note":{inner}}}]}}'
    with pytest.raises(MalformedRequest):
        RESPONSES.translate(body.encode(), a_mint())


def test_log_probabilities_cannot_be_had_and_are_left_out_by_name() -> None:
    assert translated(top_logprobs=3).dropped == ("top_logprobs",)


# what has to be fetched


def test_a_picture_elsewhere_is_needed_once_and_put_in_its_place() -> None:
    translation = translated(
        input=[user(image(URL), text("and"), image(URL)), call("c1"), output("c1", [image(URL), image(PICTURE)])]
    )
    assert translation.needs == (Need(kind="image", ref=URL),)
    translation.supply(translation.needs[0], b"data:image/png;base64,bmV3")
    assert translation.needs == ()
    told = json.dumps(sent_by(translation, traits_of("llamacpp")))
    assert told.count("data:image/png;base64,bmV3") == 3
    assert URL not in told


def test_pictures_are_kept_as_they_were_fetched() -> None:
    translation = translated(input=[user(text("see"), image(URL)), user(image(PICTURE))])
    translation.supply(Need(kind="image", ref=URL), b"data:image/png;base64,bmV3")
    kept = json.loads(translation.waiting_keep("queued").record)
    assert kept["input"] == [
        user(text("see"), image("data:image/png;base64,bmV3")),
        user(image(PICTURE)),
    ]


def test_a_request_goes_on_from_an_earlier_response() -> None:
    translation = translated(input="and now?", previous_response_id=BEFORE, instructions="new")
    assert translation.needs == (Need(kind="response", ref=BEFORE),)
    translation.supply(translation.needs[0], record(assistant("ho"), items=[said("developer", "rules"), user("hi")]))
    assert translation.needs == ()
    assert sent_by(translation)["messages"] == [
        {"role": "system", "content": "new\n\nrules"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "and now?"},
    ]


def test_instructions_of_an_earlier_response_do_not_carry_over() -> None:
    translation = translated(input="and now?", previous_response_id=BEFORE)
    translation.supply(translation.needs[0], record(assistant("ho"), items=[user("hi")]))
    assert "old" not in json.dumps(sent_by(translation))


def test_results_of_calls_may_be_all_that_goes_on() -> None:
    translation = translated(input=[output("c1", "sunny")], previous_response_id=BEFORE)
    translation.supply(translation.needs[0], record(call("c1", id="fc_1"), items=[user("weather?")]))
    assert [message["role"] for message in sent_by(translation)["messages"]] == ["user", "assistant", "tool"]


def test_input_may_be_missing_where_there_is_an_earlier_response() -> None:
    translation = translated(input=None, previous_response_id=BEFORE)
    translation.supply(translation.needs[0], record(items=[user("hi")]))
    assert sent_by(translation)["messages"] == [{"role": "user", "content": "hi"}]


def test_a_response_that_is_not_kept_cannot_be_gone_on_from() -> None:
    translation = translated(previous_response_id=BEFORE)
    with pytest.raises(PreviousResponseNotFound) as caught:
        translation.supply(translation.needs[0], None)
    assert caught.value.details["param"] == "previous_response_id"
    assert caught.value.message.startswith(f"Previous response with id '{BEFORE}' not found.")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_has_no_end_yet_cannot_be_gone_on_from(status: str) -> None:
    translation = translated(previous_response_id=BEFORE)
    with pytest.raises(CallerError, match=f"is still {status}"):
        translation.supply(translation.needs[0], record(status=status))


def test_a_conversation_is_kept_whole_at_each_response() -> None:
    translation = translated(input="and now?", previous_response_id=BEFORE)
    translation.supply(translation.needs[0], record(assistant("ho"), items=[user("hi")]))
    kept = json.loads(translation.waiting_keep("queued").record)
    assert kept["input"] == [user("hi"), assistant("ho"), user(text("and now?"))]


def test_an_item_may_be_referred_to_by_the_id_that_it_was_given() -> None:
    reference = item_id("message", BEFORE, 0)
    translation = translated(input=[{"type": "item_reference", "id": reference}, user("go on")])
    assert translation.needs == (Need(kind="response", ref=BEFORE),)
    translation.supply(translation.needs[0], record({**assistant("ho"), "id": reference}, items=[user("hi")]))
    assert sent_by(translation)["messages"] == [
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "go on"},
    ]


def test_an_item_that_went_in_may_be_referred_to_as_it_was_listed() -> None:
    translation = translated(input=[{"id": item_id("message", BEFORE, 1, is_input=True)}, user("go on")])
    translation.supply(translation.needs[0], record(items=[user("hi"), user("ho")]))
    assert sent_by(translation)["messages"][0]["content"] == "ho\n\ngo on"


@pytest.mark.parametrize("found", [None, record(assistant("ho"))], ids=["no response", "no such item in it"])
def test_an_item_that_is_not_kept_cannot_be_referred_to(found: bytes | None) -> None:
    translation = translated(input=[{"type": "item_reference", "id": item_id("message", BEFORE, 7)}])
    with pytest.raises(CallerError, match=r"input\.0: there is no item with id 'msg_.*_7'"):
        translation.supply(translation.needs[0], found)


@pytest.mark.parametrize("reference", ["msg_68af", "", None])
def test_an_id_that_is_none_of_ours_cannot_be_referred_to(reference: str | None) -> None:
    assert "there is no item with id" in refusal(input=[{"type": "item_reference", "id": reference}]).message


def test_what_is_only_needed_to_be_sent_is_let_go_of() -> None:
    translation = translated(tools=[WEATHER], input=[user(image(URL))])
    translation.supply(Need(kind="image", ref=URL), PICTURE.encode())
    before = translation.waiting_keep("queued")
    translation.forget()
    assert translation.waiting_keep("queued") == before
    assert json.loads(translation.waiting_body("queued"))["tools"] == [WEATHER]


def test_the_prompt_of_the_next_turn_begins_with_this_one() -> None:
    turn = [said("developer", "rules"), user("hi"), call("c1"), output("c1")]
    first, second = messages(*turn), messages(*turn, assistant("done"), user("more"))
    assert second[: len(first)] == first


def test_only_so_much_may_be_elsewhere() -> None:
    error = refusal(input=[user(image(f"{URL}?{number}")) for number in range(101)])
    assert error.message == "input: names more than 100 pictures and responses that are elsewhere"


# anything at all

_WORDS = st.sampled_from(
    [
        *("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        *("reasoning", "item_reference", "additional_tools", "input_text", "input_image", "input_file", "output_text"),
        *("user", "assistant", "developer", "function", "custom", "namespace", "allowed_tools", "auto", "json_schema"),
        *("c1", PICTURE, URL, "", "data:text/plain,x", item_id("message", BEFORE, 0), BEFORE, "weather"),
    ]
)
_KEYS = st.sampled_from(
    [
        *(
            "type",
            "role",
            "content",
            "text",
            "image_url",
            "file_data",
            "call_id",
            "name",
            "arguments",
            "input",
            "output",
        ),
        *(
            "summary",
            "encrypted_content",
            "id",
            "namespace",
            "tools",
            "parameters",
            "format",
            "schema",
            "mode",
            "refusal",
        ),
        *("effort", "strict", "definition"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_MEMBERS = st.fixed_dictionaries(
    {"input": st.lists(_JSON, max_size=4) | _JSON},
    optional={
        name: _JSON
        for name in (
            "tools",
            "tool_choice",
            "text",
            "reasoning",
            "previous_response_id",
            "include",
            "metadata",
            "store",
        )
    },
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(_MEMBERS)
def test_any_json_is_served_or_refused(members: dict[str, Any]) -> None:
    with contextlib.suppress(CallerError):
        translation = RESPONSES.translate(json.dumps({"model": "m", **members}).encode(), a_mint())
        for need in translation.needs:
            is_picture = need.kind == "image"
            value = PICTURE.encode() if is_picture else record(assistant("ho"), response_id=need.ref)
            translation.supply(need, value)
        json.loads(translation.body(OPENAI, "engine-id", None))
        translation.waiting_keep("queued")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data())
def test_a_request_that_was_damaged_is_served_or_refused(data: st.DataObject) -> None:
    body = bytearray(codex() if data.draw(st.booleans()) else asked(tools=[PATCH], input=[call("c1"), output("c1")]))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CallerError):
        RESPONSES.translate(bytes(body), a_mint()).body(OPENAI, "engine-id", None)


def test_one_in_the_background_is_not_streamed() -> None:
    with pytest.raises(CallerError, match="not streamed"):
        ResponsesRequest(b'{"model":"m","input":"hi","background":true,"stream":true}')
