"""The items of a Responses conversation: what each one means for a chat, whoever made it.

Reads one item at a time, strictly in what it uses and not at all in what it does not. What items mean together (whose
result, whose turn) is ``responses_turn``'s; where references lead is ``responses_request``'s.

Source: OpenAI's API reference and the types of its Python SDK (3.57.0), Codex 0.169's requests (captured 2026-11).
"""

from base64 import b64decode, b64encode
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from cortex.dialects.chat_request import Content, ImagePart, TextPart
from cortex.dialects.client_body import malformed, read_member

SEALED = "cortex-reasoning-1:"
"""How ``encrypted_content`` of our own begins: reasoning in base64, for clients that give back nothing else."""


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """Something said. ``system`` is what Responses calls developer, too."""

    role: Literal["system", "user", "assistant"]
    content: Content


class Thought(msgspec.Struct, frozen=True):
    """What the model thought."""

    text: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made, of a function or, with ``arguments`` made of its input, of a custom tool."""

    call_id: str
    name: str
    namespace: str
    arguments: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a call gave."""

    call_id: str
    content: Content


Piece = Spoken | Thought | Call | Result


class Tag(msgspec.Struct):
    """What kind of item or tool a piece of JSON is."""

    type: str | None = None
    role: str | None = None
    id: str | None = None


class Part(msgspec.Struct):
    """A part of a message's or a result's content."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[Part] | None = None


class _Reasoning(msgspec.Struct):
    summary: list[Part] | None = None
    content: list[Part] | None = None
    encrypted_content: str | None = None


class _FunctionCall(msgspec.Struct):
    call_id: str
    name: str
    arguments: str = ""
    namespace: str | None = None


class _CustomCall(msgspec.Struct):
    call_id: str
    name: str
    input: str = ""
    namespace: str | None = None


class _Output(msgspec.Struct):
    call_id: str
    output: str | list[Part] | None = None


_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_reasoning = msgspec.json.Decoder(_Reasoning).decode
_decode_function_call = msgspec.json.Decoder(_FunctionCall).decode
_decode_custom_call = msgspec.json.Decoder(_CustomCall).decode
_decode_output = msgspec.json.Decoder(_Output).decode
_decode_tag = msgspec.json.Decoder(Tag).decode
_TEXT_TYPES = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


def read_tag(raw: msgspec.Raw, where: str) -> Tag:
    """Return what kind of thing stands at ``where`` of the request. Raises: MalformedRequest."""
    return read_member(where, raw, _decode_tag)


def read_item(raw: msgspec.Raw, tag: Tag, where: str) -> Piece | None:
    """Return what an item says, None for one that a chat has no place for. ``where``: as ``input.3``.

    Raises: MalformedRequest.
    """
    match tag.type:
        case "message" | None:
            return _spoken(read_member(where, raw, _decode_message), where)
        case "reasoning":
            return _thought(read_member(where, raw, _decode_reasoning))
        case "function_call":
            made = read_member(where, raw, _decode_function_call)
            return Call(call_id=made.call_id, name=made.name, namespace=made.namespace or "", arguments=made.arguments)
        case "custom_tool_call":
            own = read_member(where, raw, _decode_custom_call)
            return Call(
                call_id=own.call_id, name=own.name, namespace=own.namespace or "", arguments=input_arguments(own.input)
            )
        case "function_call_output" | "custom_tool_call_output":
            given = read_member(where, raw, _decode_output)
            return Result(call_id=given.call_id, content=_output(given.output, f"{where}.output"))
    return None


def input_arguments(text: str) -> str:
    """Return the input of a custom tool as the arguments of the function that stands in for it."""
    return msgspec.json.encode({"input": text}).decode()


def sealed(reasoning: str) -> str:
    """Return reasoning as ``encrypted_content``. It is not secret: the client is shown it anyway."""
    return SEALED + b64encode(reasoning.encode()).decode()


def _unsealed(content: str) -> str:
    """Return what ``sealed`` was given; nothing for what somebody else has sealed."""
    if not content.startswith(SEALED):
        return ""
    try:
        return b64decode(content[len(SEALED) :], validate=True).decode()
    except ValueError:
        return ""


def _spoken(message: _Message, where: str) -> Spoken:
    role = _ROLES.get(message.role)
    if role is None:
        raise malformed(f"{where}.role", f"expected one of {', '.join(_ROLES)}")
    if message.content is None:
        raise malformed(f"{where}.content", "expected a string or an array of parts")
    return Spoken(role=role, content=_content(message.content, f"{where}.content", has_images=role == "user"))


def _thought(item: _Reasoning) -> Thought | None:
    """Prefer the whole reasoning to its summary; what is only encrypted by another service cannot be read."""
    parts = item.content or item.summary or []
    text = "\n\n".join(part.text for part in parts if part.text) or _unsealed(item.encrypted_content or "")
    return Thought(text) if text else None


def _content(content: str | list[Part] | None, where: str, *, has_images: bool) -> Content:
    if content is None or isinstance(content, str):
        return content or ""
    read = [_part(part, f"{where}.{place}", has_images=has_images) for place, part in enumerate(content)]
    if any(isinstance(part, ImagePart) for part in read):
        return tuple(read)
    return "\n".join(part.text for part in read if isinstance(part, TextPart))


def _output(output: str | list[Part] | None, where: str) -> Content:
    """Return what a tool gave. It stands in all of the conversation that follows, so that what cannot be read is left
    out with a word to the model, where a user's own would be refused."""
    parts = [_left_out(part) or part for part in output] if isinstance(output, list) else output
    return _content(parts, where, has_images=True)


def _left_out(part: Part) -> Part | None:
    is_picture = part.type == "input_image" and not part.image_url
    if not is_picture and not (part.type == "input_file" and not _is_text(part)):
        return None
    name = f" ({part.filename[:100]})" if part.filename else ""
    what = "A picture" if is_picture else "A file"
    return Part(
        type="input_text", text=f"[{what}{name} was left out here, for it cannot be read. Look for its text instead.]"
    )


def _part(part: Part, where: str, *, has_images: bool) -> TextPart | ImagePart:
    if part.type in _TEXT_TYPES or (part.type == "refusal" and part.refusal is not None):
        text = part.refusal if part.type == "refusal" else part.text
        if text is None:
            raise malformed(f"{where}.text", "expected a string")
        return TextPart(text=text)
    if part.type == "input_image":
        return _image(part, where, has_images=has_images)
    if part.type == "input_file":
        return TextPart(text=_file_text(part, where))
    hint = ' (a picture is {"type": "input_image", "image_url": "…"})' if part.type == "image_url" else ""
    raise malformed(
        f"{where}.type",
        f"{part.type[:100]!r} is not supported here; expected input_text, output_text, input_image or input_file{hint}",
    )


def _image(part: Part, where: str, *, has_images: bool) -> ImagePart:
    if not has_images:
        raise malformed(where, "pictures are taken in user messages and tool outputs only")
    url = part.image_url or ""
    if url.lower().startswith(("data:image/", "https://", "http://")):
        return ImagePart(url=url)
    why = "a file_id cannot be looked up here; " if part.file_id and not url else ""
    raise malformed(f"{where}.image_url", f"{why}expected a data: URL of a picture or an https: URL")


def _file_text(part: Part, where: str) -> str:
    """Return a file of text under its name; nothing else can be put into a chat."""
    head, _, data = (part.file_data or "").partition(",")
    if not _is_text(part):
        raise malformed(
            where,
            "only files of text are supported, as a data: URL in file_data (data:text/plain;base64,…); send the text "
            "of any other file as input_text",
        )
    try:
        content = b64decode(data, validate=True) if "base64" in head.lower().split(";") else unquote_to_bytes(data)
        text = content.decode()
    except ValueError as exc:
        raise malformed(f"{where}.file_data", f"this is no UTF-8 text: {exc}") from exc
    return f"{part.filename}:\n{text}" if part.filename else text


def _is_text(file: Part) -> bool:
    head, comma, _ = (file.file_data or "").partition(",")
    kind = head[5:].lower().split(";")[0] if head[:5].lower() == "data:" and comma else ""
    return kind.startswith("text/") or kind == "application/json"
