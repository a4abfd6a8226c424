"""Each kind of item means something for a chat, or is refused in words that say where it stands."""

import base64
from typing import Any

import pytest
from tests.unit.dialects.responses_scene import (
    PICTURE,
    assistant,
    call,
    image,
    messages,
    output,
    refusal,
    said,
    text,
    translated,
    user,
)

from cortex.dialects.engine import traits_of
from cortex.dialects.responses_item import SEALED, sealed

HTML = "data:text/html;base64," + base64.b64encode(b"<b>hi</b>").decode()


def refused(*items: Any) -> tuple[str, object]:
    error = refusal(input=list(items))
    return error.message, error.details["param"]


@pytest.mark.parametrize(
    "item",
    [user("hello"), user(text("hello")), {"role": "user", "content": "hello"}, user({"type": "text", "text": "hello"})],
    ids=["string", "parts", "without a type", "a chat's part"],
)
def test_a_users_text_is_a_string(item: dict[str, Any]) -> None:
    assert messages(item) == [{"role": "user", "content": "hello"}]


def test_several_parts_of_text_are_joined_by_lines() -> None:
    assert messages(user(text("a"), text("b"))) == [{"role": "user", "content": "a\nb"}]


def test_a_picture_stays_between_its_texts() -> None:
    assert messages(user(text("a"), image(PICTURE), text("b")))[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "text", "text": "b"},
    ]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,JQ==", "filename": "a.pdf"},
            "A file (a.pdf)",
        ),
        ({"type": "input_file", "file_id": "f"}, "A file"),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, "A file"),
        ({"type": "input_image", "file_id": "f"}, "A picture"),
    ],
)
def test_what_a_tool_read_and_nobody_can_is_left_out_with_a_word(part: dict[str, Any], words: str) -> None:
    told = messages(call("c1"), output("c1", [text("see"), part]))
    assert told[-1]["content"].startswith(f"see\n[{words} was left out here")


def test_a_picture_in_the_output_of_a_call_reaches_the_engine() -> None:
    told = messages(call("c1"), output("c1", [text("see"), image(PICTURE)]))
    pictures = [part for message in told if isinstance(message["content"], list) for part in message["content"]]
    assert {"type": "image_url", "image_url": {"url": PICTURE}} in pictures


def test_a_refusal_of_the_model_is_its_text() -> None:
    told = messages(user("hi"), said("assistant", {"type": "refusal", "refusal": "I won't."}), user("please"))
    assert told[1] == {"role": "assistant", "content": "I won't."}


def test_a_file_of_text_is_told_under_its_name() -> None:
    file = {"type": "input_file", "filename": "a.html", "file_data": HTML}
    assert messages(user(file, text("what?"))) == [{"role": "user", "content": "a.html:\n<b>hi</b>\nwhat?"}]


def test_a_file_of_text_may_be_written_without_base64() -> None:
    file = {"type": "input_file", "file_data": "data:text/plain,a%20b"}
    assert messages(user(file)) == [{"role": "user", "content": "a b"}]


@pytest.mark.parametrize(
    ("part", "place", "words"),
    [
        ({"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0="}, "", "only files of text"),
        ({"type": "input_file", "file_id": "file-1"}, "", "only files of text"),
        ({"type": "input_file", "file_url": "https://h/f.pdf"}, "", "only files of text"),
        ({"type": "input_file", "file_data": "data:text/plain;base64,/w=="}, ".file_data", "no UTF-8 text"),
        ({"type": "input_file", "file_data": "data:text/plain;base64,!"}, ".file_data", "no UTF-8 text"),
        ({"type": "input_image", "file_id": "file-1"}, ".image_url", "a file_id cannot be looked up here"),
        ({"type": "input_image", "image_url": "file:///etc/passwd"}, ".image_url", "expected a data: URL"),
        ({"type": "input_image", "image_url": "data:text/html,x"}, ".image_url", "expected a data: URL"),
        ({"type": "input_image", "image_url": {"url": PICTURE}}, ".image_url", "expected a string"),
        ({"type": "image_url", "image_url": PICTURE}, ".type", '"input_image"'),
        ({"type": "input_audio", "input_audio": {}}, ".type", "'input_audio' is not supported"),
        ({"type": "input_text"}, ".text", "expected a string"),
        ({"type": "input_text", "text": 5}, ".text", "expected a string or null, got a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_part_that_cannot_be_told_is_refused_by_its_place(part: dict[str, Any], place: str, words: str) -> None:
    message, param = refused(user("hi"), user(text("see"), part))
    assert param == f"input.1.content.1{place}"
    assert message.startswith(f"{param}: ")
    assert words in message


@pytest.mark.parametrize("role", ["assistant", "system", "developer"])
def test_pictures_are_taken_from_users_and_tools_only(role: str) -> None:
    message, _ = refused(said(role, image(PICTURE)))
    assert message == "input.0.content.0: pictures are taken in user messages and tool outputs only"


@pytest.mark.parametrize(
    ("item", "place", "words"),
    [
        ({"type": "message", "role": "tool", "content": "x"}, ".role", "expected one of user, assistant, system, dev"),
        ({"type": "message", "role": "user"}, ".content", "expected a string or an array of parts"),
        ({"type": "message", "role": "user", "content": 3}, ".content", "got a whole number"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, ".call_id", "missing, but required"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, ".arguments", "expected a string"),
        ({"type": "custom_tool_call", "call_id": "c"}, ".name", "missing, but required"),
        ({"type": "function_call_output", "output": "x"}, ".call_id", "missing, but required"),
        ({"type": "function_call_output", "call_id": "c", "output": {}}, ".output", "got an object"),
        ({"type": "reasoning", "summary": "x"}, ".summary", "got a string"),
        ({"type": 7}, ".type", "got a whole number"),
        ("just text", "", "expected an object, got a string"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_item_that_is_not_as_it_must_be_is_refused_by_its_place(item: object, place: str, words: str) -> None:
    message, param = refused(user("hi"), item)
    assert param == f"input.1{place}"
    assert words in message


@pytest.mark.parametrize("kind", ["web_search_call", "mcp_list_tools", "computer_call", "compaction", "never_heard_of"])
def test_an_item_that_a_chat_has_no_place_for_is_left_out_by_name(kind: str) -> None:
    translation = translated(input=[user("hi"), {"type": kind, "id": "x", "output": {"type": "whatever"}, "action": 3}])
    assert translation.dropped == (kind,)


@pytest.mark.parametrize(
    ("item", "reasoning"),
    [
        ({"summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}, "a\n\nb"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "all of it"}]}, "all of it"),
        (
            {
                "summary": [{"type": "summary_text", "text": "short"}],
                "content": [{"type": "reasoning_text", "text": "all of it"}],
            },
            "all of it",
        ),
        ({"summary": [], "encrypted_content": sealed("thought, größer")}, "thought, größer"),
        ({"summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": sealed("b")}, "a"),
    ],
    ids=["summary", "content", "both", "sealed by us", "summary and sealed"],
)
def test_reasoning_goes_back_to_the_engine(item: dict[str, Any], reasoning: str) -> None:
    told = messages(user("hi"), {"type": "reasoning", **item}, assistant("ho"), traits=traits_of("llamacpp"))
    assert told[1] == {"role": "assistant", "content": "ho", "reasoning_content": reasoning}


@pytest.mark.parametrize("content", ["gAAAAABo", SEALED + "!!!", SEALED + "/w==", ""])
def test_reasoning_that_others_have_encrypted_is_left_out_and_no_reason_to_refuse(content: str) -> None:
    translation = translated(
        input=[user("hi"), {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content}, user("ho")]
    )
    assert translation.dropped == ()
    assert messages(user("hi"), {"type": "reasoning", "summary": [], "encrypted_content": content}) == [
        {"role": "user", "content": "hi"}
    ]


def test_a_call_of_a_custom_tool_is_one_of_a_function_with_its_input() -> None:
    own = {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": '*** "Begin"\n'}
    told = messages(own, {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"})
    assert told[0]["tool_calls"][0]["function"] == {
        "name": "apply_patch",
        "arguments": '{"input":"*** \\"Begin\\"\\n"}',
    }
    assert told[1] == {"role": "tool", "tool_call_id": "c1", "content": "ok"}
