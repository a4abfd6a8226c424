"""The body of ``POST /v1/messages`` as it comes: Anthropic's words, typed, with nothing decided about them.

One struct holds a content block of any type, since their number grows and unknown ones must not break a request. What
means different things in different blocks, and what is only passed on, stays undecoded.

Source: Anthropic's Messages API and the types of its Python SDK 2.14 (read 2026-11); measured requests of Claude Code.
"""

import msgspec


class Block(msgspec.Struct):
    """A content block. ``content`` is a string or blocks again, ``source`` an object or, of a search result, text."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: str | None = None
    tool_name: str | None = None
    is_error: bool | None = None
    content: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    title: str | None = None
    context: str | None = None


class Turn(msgspec.Struct):
    """A message."""

    role: str
    content: str | list[Block]


class Source(msgspec.Struct):
    """Where a picture or a document is."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: msgspec.Raw = msgspec.Raw()


class ToolEntry(msgspec.Struct):
    """A tool, of the caller's own or one that Anthropic's service has."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None


class Choice(msgspec.Struct):
    """``tool_choice``."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingEntry(msgspec.Struct):
    """``thinking``."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(msgspec.Struct):
    """The form of an answer."""

    type: str
    schema: msgspec.Raw = msgspec.Raw()


class OutputConfig(msgspec.Struct):
    """``output_config``."""

    effort: str | None = None
    format: Format | None = None


class Wire(msgspec.Struct):
    """The whole body; what is not here is ignored."""

    model: object = msgspec.UNSET
    messages: list[Turn] | None = None
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[ToolEntry] | None = None
    tool_choice: Choice | None = None
    thinking: ThinkingEntry | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    mcp_servers: list[object] | None = None
    thread: object = None


read_wire = msgspec.json.Decoder(Wire).decode
read_source = msgspec.json.Decoder(Source).decode
read_content = msgspec.json.Decoder(str | list[Block] | None).decode
read_raw_blocks = msgspec.json.Decoder(list[msgspec.Raw]).decode
read_text = msgspec.json.Decoder(str).decode


def is_given(member: msgspec.Raw) -> bool:
    """Tell whether a member that is not decoded stands there and is not null."""
    return bytes(member) not in (b"", b"null")
