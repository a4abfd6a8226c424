"""Puts the messages of a request into an order and shape that an engine takes, without changing what they say.

Chat templates want turns to alternate, many render a message's text only when it is a string, and some engines take
pictures from users alone. What is done to a message depends on nothing that comes after it but its own turn, so the
prompt's beginning stays the same from turn to turn.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

import msgspec

from cortex.dialects.chat_request import Content, ImagePart, Message, TextPart
from cortex.dialects.engine import EngineTraits

_role = attrgetter("role")

BELOW = "[image attached below]"
"""What stands in a tool's message for a picture that follows in a user's."""


def turns(messages: Iterable[Message], traits: EngineTraits) -> list[Message]:
    """Return the messages as an engine takes them: pictures where they may be, one message a turn, text as strings."""
    placed = messages if traits.takes_tool_images else _with_pictures_below(messages)
    joined: list[Message] = []
    for role, run in groupby(placed, key=_role):
        plain = [_with_content(message, _plain(message.content)) for message in run]
        joined += plain if role == "tool" or len(plain) == 1 else [_joined(plain)]
    return joined


def pictures_of(content: Content) -> list[ImagePart]:
    """Return the pictures in a message."""
    return [] if isinstance(content, str) else [part for part in content if isinstance(part, ImagePart)]


def _with_pictures_below(messages: Iterable[Message]) -> list[Message]:
    """Move the pictures of each run of tools' messages into a user's message after it."""
    placed: list[Message] = []
    pictures: list[ImagePart] = []
    for message in messages:
        if message.role != "tool":
            if pictures:
                placed.append(Message(role="user", content=tuple(pictures)))
                pictures = []
            placed.append(message)
            continue
        pictures += pictures_of(message.content)
        placed.append(_with_content(message, _without_pictures(message.content)))
    if pictures:
        placed.append(Message(role="user", content=tuple(pictures)))
    return placed


def _without_pictures(content: Content) -> Content:
    if isinstance(content, str):
        return content
    return tuple(TextPart(text=BELOW) if isinstance(part, ImagePart) else part for part in content)


def _plain(content: Content) -> Content:
    """Return parts that are all text as one string."""
    if isinstance(content, str) or pictures_of(content):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def _joined(run: Sequence[Message]) -> Message:
    """Return messages of one role as one."""
    return Message(
        role=run[0].role,
        content=_all([message.content for message in run]),
        reasoning="\n\n".join(filter(None, [message.reasoning for message in run])),
        calls=tuple(call for message in run for call in message.calls),
    )


def _all(contents: Sequence[Content]) -> Content:
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(filter(None, texts))
    return tuple(part for content in contents for part in _parts(content))


def _parts(content: Content) -> tuple[TextPart | ImagePart, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),) if content else ()
    return content


def _with_content(message: Message, content: Content) -> Message:
    return message if content is message.content else msgspec.structs.replace(message, content=content)
