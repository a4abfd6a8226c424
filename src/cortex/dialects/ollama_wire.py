"""The bodies of Ollama's requests as typed data. Unknown members are ignored, as Ollama does.

Which values make sense is decided by ``ollama_request`` and its parts.

Source: Ollama's ``api/types.go`` and ``server/routes.go`` (0.40, read 2026-11), its Python client 0.6.3.
"""

import msgspec

Number = int | float | None
"""Ollama takes 40.0 for 40."""


class Function(msgspec.Struct):
    """What is called. ``arguments`` is an object; some clients send the text of one, as OpenAI has it."""

    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"null")


class Call(msgspec.Struct):
    """A call that the model made."""

    id: str | None = None
    function: Function | None = None


class WireMessage(msgspec.Struct):
    """One message. ``images`` are base64; ``tool_name`` and ``tool_call_id`` say whose result a tool's message is."""

    role: str = ""
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Offer(msgspec.Struct):
    """A function that may be called."""

    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")


class WireTool(msgspec.Struct):
    """One of ``tools``."""

    type: str | None = None
    function: Offer | None = None


class Options(msgspec.Struct):
    """What cortex does something with; how a model is loaded (``num_ctx``, ``num_gpu``, …) is the fleet's business."""

    temperature: Number = None
    top_p: Number = None
    top_k: Number = None
    min_p: Number = None
    seed: Number = None
    num_predict: Number = None
    stop: list[str] | str | None = None
    presence_penalty: Number = None
    frequency_penalty: Number = None
    repeat_penalty: Number = None
    repeat_last_n: Number = None
    typical_p: Number = None


class Asked(msgspec.Struct):
    """What every request for an answer has. ``stream`` None is true; ``keep_alive`` may be a number or "5m"."""

    model: str | None = None
    stream: bool | None = None
    think: bool | str | None = None
    format: msgspec.Raw = msgspec.Raw(b"null")
    options: Options | None = None
    keep_alive: object = None
    logprobs: bool | None = None


class ChatAsked(Asked):
    """``POST /api/chat``."""

    messages: list[WireMessage] | None = None
    tools: list[WireTool] | None = None


class GenerateAsked(Asked):
    """``POST /api/generate``."""

    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    suffix: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: object = None


class EmbedAsked(msgspec.Struct):
    """``POST /api/embed``, and with ``prompt`` the older ``POST /api/embeddings``."""

    model: str | None = None
    input: list[str] | str | None = None
    prompt: str | None = None
    dimensions: int | None = None


class ShowAsked(msgspec.Struct):
    """``POST /api/show``; ``name`` is the older word for ``model``."""

    model: str | None = None
    name: str | None = None
