"""Turns the messages of an Ollama chat into the pivot's: pictures, calls, and whose result a tool's message is.

Ollama's calls often have no ids, and results name only the tool: ids are made of places in the conversation, so that
the same conversation gives the same prompt on every turn. A call without a result gets an empty one: templates count on
there being one. Nothing is decided about engines here.
"""

import re
from binascii import a2b_base64

import msgspec

from cortex.dialects.chat_request import Content, ImagePart, Message, TextPart, ToolCall
from cortex.dialects.client_body import malformed, read_member
from cortex.dialects.ollama_wire import Call, WireMessage

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}

_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"BM"), "bmp"),
)
"""How each kind of picture begins."""

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")

Waiting = list[tuple[str, str]]
"""Calls of the last turn that have no result yet: id and name, in their order."""


def read_messages(messages: list[WireMessage]) -> tuple[Message, ...]:
    """Return the conversation. Raises: MalformedRequest."""
    out: list[Message] = []
    waiting: Waiting = []
    for place, message in enumerate(messages):
        # A client that keeps a stream part by part gives back one turn as several messages.
        goes_on = message.role == "assistant" and bool(out) and out[-1].role == "assistant"
        if message.role != "tool" and not goes_on:
            out += _unanswered(waiting)
        out.append(_message(message, f"messages.{place}", place, waiting))
    return (*out, *_unanswered(waiting))


def _unanswered(waiting: Waiting) -> list[Message]:
    """Return empty results for the calls that wait, which none does any longer."""
    empty = [Message(role="tool", content="", call_id=call_id) for call_id, _ in waiting]
    waiting.clear()
    return empty


def content_of(text: str, images: list[str] | None, where: str) -> Content:
    """Return text with its pictures, which come first, as Ollama's templates have them.

    ``where`` is the path of the message, with a dot, or nothing. Raises: MalformedRequest.
    """
    if not images:
        return text
    pictures = tuple(_picture(image, f"{where}images.{place}") for place, image in enumerate(images))
    return (*pictures, TextPart(text=text)) if text else pictures


def _message(message: WireMessage, where: str, place: int, waiting: Waiting) -> Message:
    role = _ROLES.get(message.role)
    content = content_of(message.content or "", message.images, f"{where}.")
    if role == "tool":
        return _result(message, content, waiting)
    if role == "assistant":
        calls = tuple(
            _call(call, f"{where}.tool_calls.{index}", f"call_{place}_{index}")
            for index, call in enumerate(message.tool_calls or ())
        )
        waiting += [(call.id, call.name) for call in calls]
        return Message(role="assistant", content=content, reasoning=message.thinking or "", calls=calls)
    if role == "user":
        return Message(role="user", content=content)
    if role == "system":
        return Message(role="system", content=content)
    raise malformed(f"{where}.role", f'must be "system", "user", "assistant" or "tool", not "{message.role[:40]}"')


def _call(call: Call, where: str, made_id: str) -> ToolCall:
    if call.function is None or not call.function.name:
        raise malformed(f"{where}.function.name", "missing, but required")
    arguments = _arguments(call.function.arguments, f"{where}.function.arguments")
    return ToolCall(id=call.id or made_id, name=call.function.name, arguments=arguments)


def _arguments(raw: msgspec.Raw, where: str) -> str:
    """Return the text of a JSON object, which may have been sent as the text of one."""
    found = read_member(where, raw, msgspec.json.decode)
    text = bytes(raw).decode()
    if isinstance(found, str):
        text = found.strip() or "{}"
        found = read_member(where, msgspec.Raw(text.encode()), msgspec.json.decode)
    if found is None:
        return "{}"
    if not isinstance(found, dict):
        raise malformed(where, "must be a JSON object")
    return text


def _result(message: WireMessage, content: Content, waiting: Waiting) -> Message:
    """Return a tool's message: 1. by the call's id, 2. by the tool's name, 3. of the first call that waits; a result
    that nobody waits for is told in a user's words, because templates and engines stumble over one without its call."""
    ids = [call_id for call_id, _ in waiting]
    names = [name for _, name in waiting]
    if message.tool_call_id in ids:
        found = ids.index(message.tool_call_id)
    elif message.tool_name in names:
        found = names.index(message.tool_name)
    elif waiting and not message.tool_call_id:
        found = 0
    else:
        return Message(role="user", content=_told(message, content))
    call_id, _ = waiting.pop(found)
    return Message(role="tool", content=content, call_id=call_id)


def _told(message: WireMessage, content: Content) -> Content:
    heading = f"Result of {message.tool_name or message.tool_call_id or 'a tool'}:"
    if isinstance(content, str):
        return f"{heading}\n{content}"
    return (TextPart(text=heading), *content)


def _picture(image: str, where: str) -> ImagePart:
    """Return a picture as a ``data:`` URL; its kind is what its first bytes say, not what a prefix does."""
    prefix = _DATA_URL.match(image)
    data = image[prefix.end() :] if prefix else image
    if "\n" in data or "\r" in data:
        data = data.replace("\n", "").replace("\r", "")
    data += "=" * (-len(data) % 4)
    try:
        decoded = a2b_base64(data, strict_mode=True)
    except ValueError:
        decoded = b""
    kind = next((kind for magic, kind in _MAGIC if magic.match(decoded)), None)
    if kind is None:
        raise malformed(where, "must be the base64 of a PNG, JPEG, WebP, GIF or BMP picture")
    return ImagePart(url=f"data:image/{kind};base64,{data}")
