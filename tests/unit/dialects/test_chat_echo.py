"""A beginning that an engine says again."""

import pytest

from cortex.dialects.chat_echo import echo_of, without_echo
from cortex.dialects.chat_event import Finished, Reasoned, Said
from cortex.dialects.chat_request import ChatRequest, ImagePart, Message
from cortex.dialects.engine import traits_of

END = Finished(reason="stop")


def asked(*messages: Message) -> ChatRequest:
    return ChatRequest(model="m", messages=messages)


def test_only_a_beginning_of_the_callers_is_said_again_and_only_by_some() -> None:
    begun = asked(Message(role="user", content="a"), Message(role="assistant", content="b"))
    assert echo_of(begun, traits_of("llamacpp")) == "b"
    assert echo_of(begun, traits_of("vllm")) == ""
    for messages in (
        [],
        [Message(role="user", content="a")],
        [Message(role="assistant", content=(ImagePart(url="x"),))],
    ):
        assert echo_of(asked(*messages), traits_of("llamacpp")) == ""


@pytest.mark.parametrize(
    ("said", "echo", "left"),
    [
        (["{a", END], "{", ["a", END]),
        (["{", END], "{", [END]),
        (["a", "{"], "{", ["a", "{"]),
        (["{{", "{"], "{", ["{", "{"]),
        ([Reasoned("{"), "{a"], "{", [Reasoned("{"), "a"]),
        (["a"], "", ["a"]),
        ([END], "{", [END]),
    ],
)
def test_it_is_taken_off_where_the_text_begins_with_it(said: list[object], echo: str, left: list[object]) -> None:
    def events(things: list[object]) -> list[object]:
        return [Said(thing) if isinstance(thing, str) else thing for thing in things]

    assert without_echo(events(said), echo) == events(left)  # type: ignore[arg-type]
