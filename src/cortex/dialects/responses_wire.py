"""The members of ``POST /v1/responses`` as they come, and what the plain ones mean; unknown ones are ignored.

What an engine of one's own cannot do is refused where the client counts on it. Items, tools and what they refer to are
others' business.

Source: OpenAI's API reference and the types of its Python SDK (3.57.0).
"""

from typing import Any

import msgspec

from cortex.contract.error import CallerError
from cortex.dialects.chat_request import AnswerFormat, Thinking
from cortex.dialects.client_body import malformed, read_client_body
from cortex.dialects.openai_request import checked_model

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

ENCRYPTED_REASONING = "reasoning.encrypted_content"

_NONE = msgspec.Raw()


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class Format(msgspec.Struct):
    type: str = "text"
    name: str | None = None
    schema: msgspec.Raw = _NONE
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct):
    format: Format | None = None
    verbosity: str | None = None


class Wire(msgspec.Struct):
    """The members that mean something here, as they come."""

    model: Any = msgspec.UNSET
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = _NONE
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    conversation: msgspec.Raw = _NONE
    prompt: msgspec.Raw = _NONE
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    max_tool_calls: int | None = None
    top_logprobs: int | None = None


_decode = msgspec.json.Decoder(Wire).decode


def read_wire(body: bytes) -> Wire:
    """Return the members of a request. Raises: CallerError."""
    wire = read_client_body(body, _decode)
    wire.model = checked_model(wire.model)
    _check(wire)
    if wire.store is not False:
        read_client_body(body, msgspec.json.decode)  # what is kept is looked at again, and must be JSON throughout
    return wire


def is_absent(raw: msgspec.Raw) -> bool:
    """Tell whether a member was left out or null."""
    return bytes(raw) in (b"", b"null")


def _check(wire: Wire) -> None:
    if not is_absent(wire.conversation):
        raise CallerError(
            "conversation: conversations are not kept here; use previous_response_id, or send them as input",
            param="conversation",
        )
    if not is_absent(wire.prompt):
        raise CallerError("prompt: there are no stored prompts here; send the text as input", param="prompt")
    if wire.input is None and not wire.previous_response_id:
        raise malformed("input", "missing, but required: a string or an array of items")
    if wire.max_output_tokens is not None and wire.max_output_tokens < 1:
        raise malformed("max_output_tokens", "expected a number from 1 on")
    if wire.background and wire.store is False:
        raise CallerError(
            "background: a response in the background has to be stored; leave out store: false", param="background"
        )
    if wire.background is True and wire.stream is True:
        raise CallerError(
            "stream: a response in the background is not streamed here; leave it out, and ask for it by its id",
            param="stream",
        )


def thinking_of(asked: Reasoning | None) -> Thinking | None:
    """Return what ``reasoning`` asks for; None leaves it to the engine. Raises: MalformedRequest."""
    if asked is None or asked.effort is None:
        return None
    if asked.effort not in EFFORTS:
        raise malformed("reasoning.effort", f"expected one of {', '.join(EFFORTS)}")
    return Thinking(is_on=asked.effort != "none", effort=asked.effort)


def answer_format_of(text: Text | None) -> AnswerFormat | None:
    """Return the form that ``text`` asks for; None for plain text. Raises: MalformedRequest."""
    wanted = text.format if text is not None else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return AnswerFormat()
    if wanted.type != "json_schema":
        raise malformed(
            "text.format.type", f"{wanted.type[:100]!r} is not known; expected text, json_object or json_schema"
        )
    if bytes(wanted.schema)[:1] != b"{":
        raise malformed("text.format.schema", "expected a JSON schema, which is an object")
    return AnswerFormat(schema=wanted.schema, name=wanted.name or "answer", is_strict=wanted.strict)
