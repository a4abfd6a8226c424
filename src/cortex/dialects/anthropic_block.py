"""Content blocks that say something to the model, as parts of a chat message: text, pictures, documents, results.

What no engine can be given is refused with the way out, and what a tool gave is left out with a word to the model: it
stands in all of the conversation that follows. Nothing vanishes silently. Whether a picture's URL is fetched is its
fetcher's business; where the parts go is decided in ``anthropic_turn``.
"""

from collections.abc import Iterator

import msgspec

from cortex.dialects.anthropic_wire import Block, Source, read_content, read_raw_blocks, read_source, read_text
from cortex.dialects.chat_request import ImagePart, TextPart
from cortex.dialects.client_body import malformed, read_member

Part = TextPart | ImagePart

_READABLE = {"image": ("base64", "url"), "document": ("text", "content")}
"""Kinds of source of which something can be made."""

_ERROR_MARKS = ("error", "<tool_use_error>", "exit code", "traceback")
"""How a result begins that says itself that it failed, in lower case."""


def parts_of(block: Block, place: str) -> list[Part]:
    """Return what a block in a user's turn says. Raises: MalformedRequest."""
    if block.type == "text":
        return _text(text_of(block, place))
    if block.type == "image":
        return [_image(block, place)]
    if block.type == "document":
        return _text(_document(block, place))
    if block.type == "search_result":
        return _text(_search_result(block, place))
    raise malformed(
        place,
        f'a block of type "{block.type[:100]}" is not supported in a user\'s message: use text, image, document, '
        "search_result or tool_result",
    )


def text_of(block: Block, place: str) -> str:
    """Return a text block's text. Raises: MalformedRequest when it has none."""
    if block.text is None:
        raise malformed(f"{place}.text", "missing, but required")
    return block.text


def tool_parts_of(block: Block, place: str) -> list[Part]:
    """Return what a block says that a tool gave; of what cannot be read, that it was left out.

    Raises: MalformedRequest.
    """
    if block.type in ("image", "document") and block.source:
        source = read_member(f"{place}.source", block.source, read_source)
        if source.type not in _READABLE[block.type]:
            return [TextPart(text=_left_out(block, source))]
    return parts_of(block, place)


def result_of(block: Block, place: str) -> tuple[Part, ...]:
    """Return what a tool's result says; a failure says so. Raises: MalformedRequest."""
    parts = list(_result_parts(block.content, f"{place}.content"))
    if block.is_error:
        first = next((part for part in parts if isinstance(part, TextPart)), None)
        if first is None:
            parts.insert(0, TextPart(text="Error"))
        elif not first.text.lstrip().lower().startswith(_ERROR_MARKS):
            parts[parts.index(first)] = TextPart(text=f"Error: {first.text}")
    return tuple(parts)


def _text(text: str) -> list[Part]:
    return [TextPart(text=text)] if text else []


def _result_parts(content: msgspec.Raw, place: str) -> Iterator[Part]:
    found = read_member(place, content, read_content) if content else None
    if found is None or isinstance(found, str):
        yield from _text(found or "")
        return
    verbatim: list[msgspec.Raw] = []
    for index, block in enumerate(found):
        if block.type in ("text", "image", "document", "search_result"):
            yield from tool_parts_of(block, f"{place}.{index}")
        elif block.type == "tool_reference" and block.tool_name:
            yield TextPart(text=block.tool_name)
        else:
            verbatim = verbatim or read_member(place, content, read_raw_blocks)
            yield TextPart(text=bytes(verbatim[index]).decode())


def _image(block: Block, place: str) -> ImagePart:
    place = f"{place}.source"
    source = read_member(place, _given(block.source, place), read_source)
    if source.type == "base64":
        if not (source.media_type or "").startswith("image/"):
            raise malformed(f"{place}.media_type", 'must be the media type of a picture, as "image/png"')
        if not source.data:
            raise malformed(f"{place}.data", "missing, but required")
        return ImagePart(url=f"data:{source.media_type};base64,{source.data}")
    if source.type == "url":
        if not (source.url or "").lower().startswith(("data:image/", "https://", "http://")):
            raise malformed(f"{place}.url", "expected an https: URL, or a data: URL of a picture")
        return ImagePart(url=source.url or "")
    raise malformed(f"{place}.type", _no_files("picture", source.type, 'type "base64" or "url"'))


def _document(block: Block, place: str) -> str:
    inner = f"{place}.source"
    source = read_member(inner, _given(block.source, inner), read_source)
    if source.type == "text":
        text = source.data or ""
    elif source.type == "content":
        text = _flat(source.content, f"{inner}.content")
    elif source.type in ("base64", "url"):
        kind = "documents from URLs" if source.type == "url" else source.media_type or "binary documents"
        raise malformed(
            inner, f'{kind[:100]} cannot be read here: send the document\'s text as {{"type": "text", "data": …}}'
        )
    else:
        raise malformed(f"{inner}.type", _no_files("document", source.type, 'type "text" or "content"'))
    head = [f"Title: {block.title}"] * bool(block.title) + [f"Context: {block.context}"] * bool(block.context)
    return "\n".join((*head, *([""] if head else []), text))


def _search_result(block: Block, place: str) -> str:
    inner = f"{place}.source"
    source = read_member(inner, block.source, read_text) if block.source else ""
    return "\n".join(filter(None, (source, block.title, _flat(block.content, f"{place}.content"))))


def _flat(content: msgspec.Raw, place: str) -> str:
    """Return the text of content that must be text."""
    found = read_member(place, content, read_content) if content else None
    if found is None or isinstance(found, str):
        return found or ""
    for index, block in enumerate(found):
        if block.type != "text":
            raise malformed(f"{place}.{index}", f'only text is supported here, not "{block.type[:100]}"')
    return "\n".join(text_of(block, f"{place}.{index}") for index, block in enumerate(found))


def _left_out(block: Block, source: Source) -> str:
    what = "A picture" if block.type == "image" else "A document"
    about = ", ".join(part[:100] for part in (block.title, source.media_type) if part)
    return (
        f"[{what}{f' ({about})' if about else ''} was left out here, for it cannot be read. Look for its text instead.]"
    )


def _given(value: msgspec.Raw, place: str) -> msgspec.Raw:
    if not value:
        raise malformed(place, "missing, but required")
    return value


def _no_files(what: str, kind: str, instead: str) -> str:
    if kind == "file":
        return f"there is no store of files here: send the {what} itself, with {instead}"
    return f'"{kind[:100]}" is not supported for a {what}: use {instead}'
