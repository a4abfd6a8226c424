"""The pivot: one request as OpenAI chat has it, between the dialects that clients speak and what engines take.

Data, no behaviour: ``chat_body`` writes it for an engine. What is None or empty is not said. JSON that cortex need not
look into (schemas) stays the caller's bytes.
"""

from typing import Literal

import msgspec


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text in a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in a message; ``url`` is a ``data:`` URL by the time it is sent."""

    url: str


Content = str | tuple[TextPart | ImagePart, ...]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made. ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. ``reasoning`` and ``calls`` are an assistant's; ``call_id`` says whose result a tool's message is."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Content = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call. ``parameters`` is a JSON schema, verbatim."""

    name: str
    description: str = ""
    parameters: msgspec.Raw | None = None
    is_strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether and what must be called; ``name`` with mode ``function``."""

    mode: Literal["auto", "none", "required", "function"]
    name: str = ""


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model is to reason before it answers.

    ``is_on`` None: as the engine has it by itself. ``effort`` is one of none, minimal, low, medium, high, xhigh, max.
    """

    is_on: bool | None = None
    budget_tokens: int | None = None
    effort: str | None = None


class AnswerFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form the answer must have: any JSON object (``schema`` None), or JSON by a schema."""

    schema: msgspec.Raw | None = None
    name: str = "answer"
    is_strict: bool | None = True


class ChatRequest(msgspec.Struct, kw_only=True):
    """One request. ``extra``: further members that are passed on as they are, by name."""

    model: str
    messages: tuple[Message, ...]
    is_stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    is_parallel: bool | None = None
    """Whether several calls at once are welcome."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    thinking: Thinking | None = None
    answer_format: AnswerFormat | None = None
    extra: dict[str, msgspec.Raw] = {}
