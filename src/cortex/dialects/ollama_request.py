"""Reads the bodies of ``/api/chat`` and ``/api/generate`` into the pivot, and says what cannot be done.

What concerns how a model is loaded (``keep_alive``, ``num_ctx``, ``num_gpu``, …) is ignored: the fleet decides that.
What would change the answer and cannot be had is refused: a template of the caller's own, raw prompts, token history,
text to fill in, log probabilities.

Source: Ollama's ``server/routes.go`` (0.40, read 2026-11).
"""

import msgspec

from cortex.contract.error import CallerError
from cortex.dialects.chat_request import AnswerFormat, ChatRequest, Message, Thinking, Tool
from cortex.dialects.client_body import malformed, read_client_body
from cortex.dialects.ollama_turn import content_of, read_messages
from cortex.dialects.ollama_wire import Asked, ChatAsked, GenerateAsked, Number, Options, WireTool
from cortex.dialects.openai_request import checked_model

_chat = msgspec.json.Decoder(ChatAsked).decode
_generate = msgspec.json.Decoder(GenerateAsked).decode
_encode = msgspec.json.Encoder().encode

_LEVELS = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
_NOTHING = frozenset("0.nuµmsh")
"""The letters of a duration of nothing, as Go writes it: "0", "0s", "0h0m0s"."""

_EXTRA = {
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),
    "repeat_last_n": ("repeat_last_n",),
    "typical_p": ("typical_p",),
}
"""Options that OpenAI does not have, and what engines call them; an engine passes over a name that it does not know."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was read. ``is_load``: the caller wants the model loaded, and no answer.

    ``request`` asks for a single token then: with it the model is there for certain, and nothing but its engine has to
    be asked.
    """

    request: ChatRequest
    is_load: bool = False


def read_chat(body: bytes) -> Reading:
    """Read ``POST /api/chat``. Raises: CallerError."""
    asked = read_client_body(body, _chat)
    if not asked.messages:
        return _load(asked)
    request = _request(asked, read_messages(asked.messages))
    request.tools = tuple(_tool(tool, f"tools.{place}") for place, tool in enumerate(asked.tools or ()))
    return Reading(request=request)


def read_generate(body: bytes) -> Reading:
    """Read ``POST /api/generate``. Raises: CallerError."""
    asked = read_client_body(body, _generate)
    if not asked.prompt and not asked.images:
        return _load(asked)
    _refuse_own_prompts(asked)
    messages = [Message(role="user", content=content_of(asked.prompt or "", asked.images, ""))]
    if asked.system:
        messages.insert(0, Message(role="system", content=asked.system))
    return Reading(request=_request(asked, tuple(messages)))


def _load(asked: Asked) -> Reading:
    if _is_zero(asked.keep_alive):
        raise CallerError(
            "Models are not unloaded at a caller's wish: others may be using them, and they make room by themselves. "
            "Send a prompt, or leave out keep_alive to have the model loaded.",
            param="keep_alive",
        )
    request = ChatRequest(
        model=checked_model(asked.model or ""),
        messages=(Message(role="user", content="."),),
        is_stream=asked.stream is not False,
        max_tokens=1,
        thinking=Thinking(is_on=False),
    )
    return Reading(request=request, is_load=True)


def _is_zero(keep_alive: object) -> bool:
    if isinstance(keep_alive, str):
        return "0" in keep_alive and _NOTHING.issuperset(keep_alive)
    return isinstance(keep_alive, int | float) and not isinstance(keep_alive, bool) and keep_alive == 0


def _request(asked: Asked, messages: tuple[Message, ...]) -> ChatRequest:
    if asked.logprobs:
        raise CallerError(
            "logprobs: are not given here; POST /v1/chat/completions passes them on where the engine has them.",
            param="logprobs",
        )
    options = asked.options or Options()
    num_predict = _whole(options.num_predict, "num_predict")
    seed = _whole(options.seed, "seed")
    return ChatRequest(
        model=checked_model(asked.model or ""),
        messages=messages,
        is_stream=asked.stream is not False,
        max_tokens=num_predict if num_predict is not None and num_predict > 0 else None,
        temperature=_number(options.temperature),
        top_p=_number(options.top_p),
        top_k=_whole(options.top_k, "top_k"),
        min_p=_number(options.min_p),
        seed=seed if seed is not None and seed >= 0 else None,
        stop=_stops(options.stop),
        presence_penalty=_number(options.presence_penalty),
        frequency_penalty=_number(options.frequency_penalty),
        thinking=_thinking(asked.think),
        answer_format=_format(asked.format),
        extra=_extra(options),
    )


def _refuse_own_prompts(asked: GenerateAsked) -> None:
    """Whoever writes the prompt's tokens has to know the model's template; engines apply their own."""
    for name, is_there, instead in (
        ("raw", asked.raw, "leave it out, or send the prompt to POST /v1/completions"),
        ("template", asked.template, "leave it out: the model's own template is applied"),
        ("suffix", asked.suffix, "send prompt and suffix to POST /v1/completions, of a model that fills in"),
        ("context", asked.context, "send the conversation to POST /api/chat"),
    ):
        if is_there:
            raise CallerError(f"{name}: is not supported here; {instead}.", param=name)


def _whole(number: Number, name: str) -> int | None:
    if number is None or isinstance(number, int):
        return number
    if not number.is_integer():
        raise malformed(f"options.{name}", f"must be a whole number, not {number}")
    return int(number)


def _number(number: Number) -> float | None:
    return None if number is None else float(number)


def _stops(stop: list[str] | str | None) -> tuple[str, ...]:
    words = [stop] if isinstance(stop, str) else stop or ()
    return tuple(word for word in words if word)


def _extra(options: Options) -> dict[str, msgspec.Raw]:
    return {
        name: msgspec.Raw(_encode(value))
        for option, names in _EXTRA.items()
        if (value := getattr(options, option)) is not None
        for name in names
    }


def _thinking(think: bool | str | None) -> Thinking | None:
    """A level that nobody knows is as good as yes, as with Ollama."""
    if think is None or think == "":
        return None
    if isinstance(think, bool):
        return Thinking(is_on=think)
    level = think.lower()
    if level in ("none", "false", "off"):
        return Thinking(is_on=False)
    return Thinking(is_on=True, effort=level if level in _LEVELS else None)


def _format(raw: msgspec.Raw) -> AnswerFormat | None:
    form = bytes(raw).strip()
    if form in (b"null", b'""'):
        return None
    if form == b'"json"':
        return AnswerFormat()
    if not form.startswith(b"{"):
        raise malformed("format", 'must be "json" or a JSON schema')
    return AnswerFormat(schema=msgspec.Raw(form))


def _tool(tool: WireTool, where: str) -> Tool:
    if tool.function is None or not tool.function.name:
        raise malformed(where, 'must be a function: {"type": "function", "function": {"name": "…"}}')
    parameters = bytes(tool.function.parameters).strip()
    if parameters != b"null" and not parameters.startswith(b"{"):
        raise malformed(f"{where}.function.parameters", "must be a JSON schema")
    return Tool(
        name=tool.function.name,
        description=tool.function.description or "",
        parameters=None if parameters == b"null" else msgspec.Raw(parameters),
    )
