"""Messages in an order and shape that engines take."""

from cortex.dialects.chat_request import ImagePart, Message, TextPart, ToolCall
from cortex.dialects.chat_turn import BELOW, turns
from cortex.dialects.engine import traits_of

OPENAI, LLAMACPP = traits_of("openai"), traits_of("llamacpp")
PICTURE = ImagePart(url="data:image/png;base64,aGk=")
CALL = ToolCall(id="1", name="x", arguments="{}")


def user(content: str) -> Message:
    return Message(role="user", content=content)


def test_messages_of_one_role_that_follow_each_other_are_one_turn() -> None:
    assert turns(
        [
            Message(role="system", content="s"),
            Message(role="system", content="t"),
            user("a"),
            user("b"),
            Message(role="assistant", content="c", reasoning="r"),
            Message(role="assistant", reasoning="q", calls=(CALL,)),
        ],
        OPENAI,
    ) == [
        Message(role="system", content="s\n\nt"),
        user("a\n\nb"),
        Message(role="assistant", content="c", reasoning="r\n\nq", calls=(CALL,)),
    ]


def test_results_stay_apart() -> None:
    results = [Message(role="tool", content="r", call_id="1"), Message(role="tool", content="r", call_id="2")]
    assert turns(results, OPENAI) == results


def test_parts_that_are_all_text_are_a_string() -> None:
    assert turns([Message(role="user", content=(TextPart(text="a"), TextPart(text="b")))], OPENAI) == [user("a\nb")]
    assert turns([Message(role="tool", content=(), call_id="1")], OPENAI) == [Message(role="tool", call_id="1")]


def test_text_and_parts_are_joined_as_parts() -> None:
    assert turns([user("a"), Message(role="user", content=(PICTURE,)), user("")], OPENAI) == [
        Message(role="user", content=(TextPart(text="a"), PICTURE))
    ]


def test_pictures_of_several_results_follow_all_of_them() -> None:
    talk = [
        Message(role="tool", content=(TextPart(text="a"), PICTURE), call_id="1"),
        Message(role="tool", content="b", call_id="2"),
        Message(role="tool", content=(PICTURE,), call_id="3"),
    ]
    moved = [
        Message(role="tool", content=f"a\n{BELOW}", call_id="1"),
        Message(role="tool", content="b", call_id="2"),
        Message(role="tool", content=BELOW, call_id="3"),
    ]
    assert turns(talk, OPENAI) == [*moved, Message(role="user", content=(PICTURE, PICTURE))]
    assert turns([*talk, user("c")], OPENAI) == [
        *moved,
        Message(role="user", content=(PICTURE, PICTURE, TextPart(text="c"))),
    ]
    assert turns([*talk, Message(role="assistant", content="c")], OPENAI)[3:] == [
        Message(role="user", content=(PICTURE, PICTURE)),
        Message(role="assistant", content="c"),
    ]


def test_pictures_stay_in_results_where_they_may() -> None:
    talk = [Message(role="tool", content=(TextPart(text="a"), PICTURE), call_id="1")]
    assert turns(talk, LLAMACPP) == talk
