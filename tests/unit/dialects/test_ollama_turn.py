"""Pictures, calls and results of an Ollama conversation in the pivot's words."""

import json

import msgspec
import pytest
from tests.unit.dialects.ollama_case import PNG

from cortex.contract.error import MalformedRequest
from cortex.dialects.chat_request import ImagePart, Message, TextPart
from cortex.dialects.ollama_turn import read_messages
from cortex.dialects.ollama_wire import WireMessage


def read(*messages: dict[str, object]) -> tuple[Message, ...]:
    return read_messages(msgspec.json.decode(json.dumps(messages), type=list[WireMessage]))


def call(name: str, arguments: object, **more: object) -> dict[str, object]:
    return {"function": {"name": name, "arguments": arguments}, **more}


def asks(*calls: dict[str, object]) -> dict[str, object]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def test_roles_and_texts_stay_as_they_are() -> None:
    assert read(
        {"role": "system", "content": "Be brief."}, {"role": "user"}, {"role": "assistant", "content": "Yes."}
    ) == (
        Message(role="system", content="Be brief."),
        Message(role="user", content=""),
        Message(role="assistant", content="Yes."),
    )


def test_thinking_of_earlier_turns_is_given_back() -> None:
    assert read({"role": "assistant", "content": "4", "thinking": "2+2"})[0].reasoning == "2+2"


def test_an_unknown_role_is_refused_with_its_place() -> None:
    with pytest.raises(MalformedRequest, match=r'messages\.1\.role: must be .* not "robot"'):
        read({"role": "user", "content": "Hi"}, {"role": "robot"})


@pytest.mark.parametrize(
    "image",
    [PNG, f"data:image/jpeg;base64,{PNG}", PNG[:40] + "\r\n" + PNG[40:], PNG.rstrip("=")],
    ids=["base64", "data URL of another kind", "broken into lines", "without padding"],
)
def test_a_picture_comes_before_the_words_as_a_data_url_of_its_own_kind(image: str) -> None:
    assert read({"role": "user", "content": "What is it?", "images": [image]})[0].content == (
        ImagePart(url=f"data:image/png;base64,{PNG}"),
        TextPart(text="What is it?"),
    )


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("/9j/4AAQSkZJRg==", "jpeg"),
        ("UklGRiQAAABXRUJQVlA4IA==", "webp"),
        ("R0lGODlhAQABAAAA", "gif"),
        ("Qk0+AAAA", "bmp"),
    ],
)
def test_kinds_of_pictures_are_told_by_their_first_bytes(start: str, kind: str) -> None:
    assert read({"role": "user", "images": [start]})[0].content == (ImagePart(url=f"data:image/{kind};base64,{start}"),)


@pytest.mark.parametrize("image", ["", "hello", "https://example.org/cat.png", "iVBORw0K GgoA", "ünï", "A"])
def test_what_is_no_picture_is_refused_with_its_place(image: str) -> None:
    with pytest.raises(MalformedRequest, match=r"messages\.0\.images\.1: must be the base64 of a PNG"):
        read({"role": "user", "images": [PNG, image]})


def test_calls_get_ids_that_are_the_same_on_every_turn() -> None:
    conversation = [{"role": "user", "content": "Hi"}, asks(call("a", {"x": 1}), call("b", {}))]
    first, second = read(*conversation)[1], read(*conversation, {"role": "tool", "content": "1"})[1]
    assert first == second
    assert [(made.id, made.name, made.arguments) for made in first.calls] == [
        ("call_1_0", "a", '{"x": 1}'),
        ("call_1_1", "b", "{}"),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"x": [1, "é"]}, '{"x": [1, "\\u00e9"]}'), ('{"x": 1}', '{"x": 1}'), (None, "{}"), ("", "{}"), ({}, "{}")],
)
def test_arguments_are_an_object_or_the_text_of_one(arguments: object, text: str) -> None:
    assert read(asks(call("a", arguments)))[0].calls[0].arguments == text


@pytest.mark.parametrize("arguments", [[1], 7, "ls -l", '{"x":', True])
def test_arguments_that_are_no_object_are_refused_with_their_place(arguments: object) -> None:
    with pytest.raises(
        MalformedRequest,
        match=r"messages\.0\.tool_calls\.0\.function\.arguments: (must be|not valid) ",
    ):
        read(asks(call("a", arguments)))


def test_a_call_without_a_name_is_refused() -> None:
    with pytest.raises(MalformedRequest, match=r"tool_calls\.0\.function\.name"):
        read(asks({"function": {"arguments": {}}}))
    with pytest.raises(MalformedRequest, match=r"tool_calls\.0\.function\.name"):
        read(asks({}))


def results(*messages: dict[str, object]) -> list[tuple[str, str]]:
    return [(message.role, message.call_id) for message in read(*messages) if message.role != "assistant"]


def test_a_result_finds_its_call_by_id_then_by_name_then_by_order() -> None:
    assert results(
        asks(call("a", {}), call("b", {}), call("c", {}, id="own")),
        {"role": "tool", "content": "3", "tool_call_id": "own"},
        {"role": "tool", "content": "2", "tool_name": "b"},
        {"role": "tool", "content": "1"},
    ) == [("tool", "own"), ("tool", "call_0_1"), ("tool", "call_0_0")]


def test_two_calls_of_one_tool_get_their_results_in_order() -> None:
    assert results(
        asks(call("a", {}), call("a", {})), {"role": "tool", "tool_name": "a"}, {"role": "tool", "tool_name": "a"}
    ) == [("tool", "call_0_0"), ("tool", "call_0_1")]


def test_a_result_that_nobody_waits_for_is_told_in_a_users_words() -> None:
    orphan = read({"role": "tool", "content": "22", "tool_name": "weather"})[0]
    assert orphan == Message(role="user", content="Result of weather:\n22")
    with_picture = read({"role": "tool", "images": [PNG]})[0]
    assert with_picture.content[0] == TextPart(text="Result of a tool:")


def test_results_of_an_earlier_turn_are_not_given_to_a_later_one() -> None:
    assert results(
        asks(call("a", {})),
        {"role": "user", "content": "never mind"},
        asks(call("b", {})),
        {"role": "tool", "tool_name": "b"},
        {"role": "tool", "tool_name": "a"},
    ) == [("tool", "call_0_0"), ("user", ""), ("tool", "call_2_0"), ("user", "")]


def test_calls_without_results_get_empty_ones_before_anybody_speaks() -> None:
    turns = [asks(call("a", {}), call("b", {})), {"role": "tool", "content": "1", "tool_name": "a"}]
    for after in ({"role": "user", "content": "go on"}, {"role": "system", "content": "x"}, None):
        told = read(*turns, *([after] if after else []))
        assert [(message.role, message.content) for message in told[1:3]] == [("tool", "1"), ("tool", "")]
        assert (told[1].call_id, told[2].call_id) == ("call_0_0", "call_0_1")


def test_calls_of_one_turn_that_came_in_several_parts_all_get_their_results() -> None:
    assert results(
        asks(call("a", {})), asks(call("a", {})), {"role": "tool", "tool_name": "a"}, {"role": "tool", "tool_name": "a"}
    ) == [("tool", "call_0_0"), ("tool", "call_1_0")]
