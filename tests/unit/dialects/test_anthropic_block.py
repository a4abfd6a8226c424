"""Content blocks as parts of a message."""

from typing import Any

import pytest
from tests.unit.dialects.claude import (
    LLAMACPP,
    PICTURE,
    PICTURE_PART,
    asked,
    assistant,
    messages,
    refusal,
    result,
    text,
    use,
    user,
)

from cortex.contract.error import CallerError
from cortex.dialects.anthropic_request import read_anthropic
from cortex.dialects.interface import Need


def said(*blocks: Any) -> Any:
    """Return the content that a user's blocks become."""
    return messages(user(*blocks))[0]["content"]


def resulted(content: Any, **members: Any) -> Any:
    """Return the content that a call's result becomes, where pictures may stand in one."""
    talk = (user("a"), assistant(use("1")), user(result("1", content, **members)))
    return messages(*talk, traits=LLAMACPP)[2]["content"]


def document(source: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **members}


def test_blocks_of_text_are_one_string() -> None:
    assert said(text("a"), text(""), text("b")) == "a\nb"


def test_text_and_pictures_are_parts_in_their_order() -> None:
    assert said(text("a"), PICTURE, text("b")) == [
        {"type": "text", "text": "a"},
        PICTURE_PART,
        {"type": "text", "text": "b"},
    ]


def test_a_picture_may_be_a_data_url() -> None:
    source = {"type": "url", "url": "data:image/png;base64,aGk="}
    assert said({"type": "image", "source": source}) == [PICTURE_PART]


@pytest.mark.parametrize("url", ["http://inside/a.png", "HTTPS://x/a.png"])
def test_whether_a_picture_may_be_fetched_is_not_judged_here(url: str) -> None:
    found = read_anthropic(asked(messages=[user({"type": "image", "source": {"type": "url", "url": url}})]))
    assert found.needs == (Need(kind="image", ref=url),)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            {"type": "url", "url": "file:///etc/passwd"},
            ".url: expected an https: URL, or a data: URL of a picture",
        ),
        ({"type": "url"}, ".url: expected an https: URL"),
        ({"type": "file", "file_id": "f"}, ".type: there is no store of files here: send the picture itself"),
        ({"type": "s3"}, '.type: "s3" is not supported for a picture: use type "base64" or "url"'),
        ({"type": "base64", "media_type": "image/png"}, ".data: missing, but required"),
        ({"type": "base64", "media_type": "text/html", "data": "aGk="}, ".media_type: must be the media type of a pic"),
        ({"type": "base64", "data": "aGk="}, ".media_type: must be the media type of a picture"),
        ({}, ".type: missing, but required"),
        ("https://x", ": expected an object, got a string"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused(source: Any, why: str) -> None:
    assert refusal(messages=[user({"type": "image", "source": source})]).startswith(f"messages.0.content.0.source{why}")


def test_a_picture_must_have_a_source() -> None:
    assert refusal(messages=[user({"type": "image"})]) == "messages.0.content.0.source: missing, but required"


@pytest.mark.parametrize(
    ("block", "becomes"),
    [
        (document({"type": "text", "media_type": "text/plain", "data": "d"}), "d"),
        (document({"type": "text", "data": "d"}, title="T", context="C"), "Title: T\nContext: C\n\nd"),
        (document({"type": "content", "content": "d"}, title="T"), "Title: T\n\nd"),
        (document({"type": "content", "content": [text("d"), text("e")]}, citations={"enabled": True}), "d\ne"),
        ({"type": "search_result", "source": "https://s", "title": "T", "content": [text("c")]}, "https://s\nT\nc"),
    ],
)
def test_what_is_text_within_is_said_as_text(block: dict[str, Any], becomes: str) -> None:
    assert said(block) == becomes
    assert said(text("see"), block) == f"see\n{becomes}"
    assert resulted([block]) == becomes


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            {"type": "base64", "media_type": "application/pdf", "data": "J"},
            ": application/pdf cannot be read here: send",
        ),
        (
            {"type": "url", "url": "https://x/a.pdf"},
            ": documents from URLs cannot be read here: send the document's text",
        ),
        ({"type": "file", "file_id": "f"}, ".type: there is no store of files here: send the document itself"),
        ({"type": "content", "content": [PICTURE]}, '.content.0: only text is supported here, not "image"'),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_the_way_out(source: dict[str, Any], why: str) -> None:
    found = refusal(messages=[user(text("a"), document(source))])
    assert found.startswith(f"messages.0.content.1.source{why}")


@pytest.mark.parametrize("kind", ["tool_use", "thinking", "container_upload", "video"])
def test_what_is_no_users_block_is_refused_with_what_is(kind: str) -> None:
    assert refusal(messages=[user({"type": kind})]) == (
        f'messages.0.content.0: a block of type "{kind}" is not supported in a user\'s message: use text, image, '
        "document, search_result or tool_result"
    )


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        ("r", "r"),
        ("", ""),
        ([], ""),
        (None, ""),
        ([text("a"), text("b")], "a\nb"),
        ([text("a"), PICTURE], [{"type": "text", "text": "a"}, PICTURE_PART]),
        ([{"type": "tool_reference", "tool_name": "grep"}], "grep"),
        ([text("a"), {"type": "new", "x": [1.50, None]}], 'a\n{"type":"new","x":[1.5,null]}'),
    ],
)
def test_a_result_says_what_was_found(content: Any, becomes: Any) -> None:
    assert resulted(content) == becomes


PDF = document({"type": "base64", "media_type": "application/pdf", "data": "J"}, title="a.pdf")
LEFT_OUT = "[A document (a.pdf, application/pdf) was left out here, for it cannot be read. Look for its text instead.]"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (PDF, LEFT_OUT),
        (document({"type": "url", "url": "https://x/a.pdf"}), "[A document was left out here"),
        (document({"type": "file", "file_id": "f"}), "[A document was left out here"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "[A picture was left out here"),
    ],
)
def test_what_a_tool_read_and_nobody_can_is_left_out_with_a_word(block: Any, words: str) -> None:
    assert resulted([text("a"), block]).startswith(f"a\n{words}")


def test_a_document_that_stands_beside_a_result_does_not_end_the_conversation() -> None:
    talk = (user("a"), assistant(use("1")), user(result("1", "PDF file read")), user(PDF))
    assert [message["content"] for message in messages(*talk)[2:]] == ["PDF file read", LEFT_OUT]
    assert refusal(messages=[*talk, assistant(text("b")), user(PDF)]).startswith("messages.5.content.0.source: appl")


def test_a_result_without_content_is_empty() -> None:
    talk = (user("a"), assistant(use("1")), user({"type": "tool_result", "tool_use_id": "1"}))
    assert messages(*talk)[2] == {"role": "tool", "content": "", "tool_call_id": "1"}


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        ("no such file", "Error: no such file"),
        ("Error: no such file", "Error: no such file"),
        ("<tool_use_error>x</tool_use_error>", "<tool_use_error>x</tool_use_error>"),
        ("Exit code 1\nboom", "Exit code 1\nboom"),
        ([], "Error"),
        ([PICTURE, text("x")], [PICTURE_PART, {"type": "text", "text": "Error: x"}]),
        ([PICTURE], [{"type": "text", "text": "Error"}, PICTURE_PART]),
    ],
)
def test_a_failure_says_so_once(content: Any, becomes: Any) -> None:
    assert resulted(content, is_error=True) == becomes


def test_a_result_that_is_neither_text_nor_blocks_is_refused() -> None:
    with pytest.raises(CallerError, match=r"^messages\.2\.content\.0\.content: expected a string or an array or null"):
        resulted(7)
