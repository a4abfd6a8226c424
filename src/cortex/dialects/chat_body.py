"""Writes a request as OpenAI chat for one kind of engine; what engines differ in is looked up in its traits.

Decides nothing about the request itself: what a dialect means by its members is said in the ``ChatRequest`` already.
"""

import msgspec

from cortex.dialects.chat_request import ChatRequest, Content, ImagePart, Message, Thinking, Tool, ToolChoice
from cortex.dialects.chat_turn import pictures_of, turns
from cortex.dialects.engine import EngineTraits
from cortex.dialects.tool_schema import plain_answer_schema, plain_tool_schema

BYTES_A_TOKEN = 8
"""More than any tokenizer makes one token of, on average, so that a prompt counts for fewer tokens than it has."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

MAX_NUMBER = 2**31 - 1
"""Engines hold counts of tokens in so many bits: what is larger wraps around, or is refused."""

_ANY_OBJECT = msgspec.Raw(b'{"type":"object"}')

_encode = msgspec.json.Encoder().encode


def chat_body(request: ChatRequest, traits: EngineTraits, model: str, context: int | None) -> bytes:
    """Return the body of ``POST /v1/chat/completions`` for an engine that knows the model by this name.

    ``context``: how many tokens the engine takes at most, None when unknown; prompt and answer together.
    """
    messages = turns(request.messages, traits)
    is_continued = bool(messages) and messages[-1].role == "assistant" and not messages[-1].calls
    body: dict[str, object] = {**request.extra, "model": model}
    body["messages"] = [_message(message, traits) for message in messages]
    if request.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    body |= _tools(request, traits) | _sampling(request) | _form(request, traits)
    body |= _thinking(request.thinking or Thinking(), traits, is_continued)
    if is_continued and traits.continues_by_member:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return _bounded(body, request, traits, context)


def _message(message: Message, traits: EngineTraits) -> dict[str, object]:
    written: dict[str, object] = {"role": message.role, "content": _content(message.content)}
    if message.role == "tool":
        written["tool_call_id"] = message.call_id
    if message.reasoning and traits.reasoning_history:
        written[traits.reasoning_history] = message.reasoning
    if message.calls:
        if not message.content and traits.takes_null_content:
            written["content"] = None
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    return written


def _content(content: Content) -> object:
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": part.url}}
        if isinstance(part, ImagePart)
        else {"type": "text", "text": part.text}
        for part in content
    ]


def _tools(request: ChatRequest, traits: EngineTraits) -> dict[str, object]:
    tools, choice = request.tools, request.tool_choice
    if choice is not None and choice.mode == "none" and not traits.takes_choice_none:
        return {}
    if choice is not None and choice.mode == "function" and not traits.takes_named_choice:
        tools = tuple(tool for tool in tools if tool.name == choice.name)
        choice = ToolChoice(mode="required")
    if not tools:
        return {}
    members: dict[str, object] = {"tools": [_tool(tool, traits) for tool in tools]}
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        members["tool_choice"] = named if choice.mode == "function" else choice.mode
    if request.is_parallel is not None:
        members["parallel_tool_calls"] = request.is_parallel
    return members


def _tool(tool: Tool, traits: EngineTraits) -> dict[str, object]:
    function: dict[str, object] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = plain_tool_schema(tool.parameters, traits)
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    return {"type": "function", "function": function}


def _sampling(request: ChatRequest) -> dict[str, object]:
    members: dict[str, object] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": None if request.top_k is None else min(request.top_k, MAX_NUMBER),
        "min_p": request.min_p,
        "seed": request.seed,
        "stop": request.stop or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    return {name: value for name, value in members.items() if value is not None}


def _form(request: ChatRequest, traits: EngineTraits) -> dict[str, object]:
    wanted = request.answer_format
    if wanted is None:
        return {}
    if wanted.schema is None and traits.takes_json_object:
        return {"response_format": {"type": "json_object"}}
    schema = _ANY_OBJECT if wanted.schema is None else plain_answer_schema(wanted.schema, traits)
    inner: dict[str, object] = {"name": wanted.name, "schema": schema}
    if wanted.is_strict is not None:
        inner["strict"] = wanted.is_strict
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def _thinking(thinking: Thinking, traits: EngineTraits, is_continued: bool) -> dict[str, object]:
    # What goes on with a beginning of an answer has thought already; llama-server refuses to do both.
    is_on = False if is_continued or thinking.effort == "none" else thinking.is_on
    members: dict[str, object] = {}
    if is_on is not None and traits.reasoning_switch == "template":
        # Some templates call it by the second name (Granite, DeepSeek V3.1: vLLM's page on reasoning).
        members["chat_template_kwargs"] = {"enable_thinking": is_on, "thinking": is_on}
    elif is_on is not None and traits.reasoning_switch == "field":
        members["enable_thinking"] = is_on
    if is_on and thinking.budget_tokens is not None and traits.budget_field:
        members[traits.budget_field] = min(thinking.budget_tokens, MAX_NUMBER)
    effort = _effort("none" if is_on is False else thinking.effort, traits)
    return members if effort is None else members | {"reasoning_effort": effort}


def _effort(wanted: str | None, traits: EngineTraits) -> str | None:
    """Return the nearest effort that the engine takes, rather less than more; None when it needs not be said."""
    if wanted is None or not traits.efforts:
        return None
    if wanted == "none" and "none" not in traits.efforts and traits.reasoning_switch != "effort":
        return None  # switched off already
    bound = EFFORTS.index(wanted) if wanted in EFFORTS else EFFORTS.index("medium")
    fitting = [effort for effort in traits.efforts if effort != "none" or wanted == "none"]
    below = [effort for effort in fitting if EFFORTS.index(effort) <= bound]
    return below[-1] if below else fitting[0]


def _bounded(body: dict[str, object], request: ChatRequest, traits: EngineTraits, context: int | None) -> bytes:
    """Return the body with ``max_tokens``, but for one that an engine would refuse for being beyond its context.

    Left out is only what is certain to be more than there is: then the engine goes on until its context is full, and
    that is less. What proves too much all the same is refused with the number that is left (``engine_error.room_in``).
    """
    if request.max_tokens is None:
        return _encode(body)
    most = min(request.max_tokens, MAX_NUMBER)
    room = None if traits.bounds_max_tokens or context is None else context - most
    if room is not None and _least_tokens(_encode(body), request) >= room:
        return _encode(body)
    return _encode(body | {"max_tokens": most})


def _least_tokens(encoded: bytes, request: ChatRequest) -> int:
    """Return fewer tokens than the prompt has; a picture may be as few as you like."""
    pictures = [picture for message in request.messages for picture in pictures_of(message.content)]
    return (len(encoded) - sum(len(picture.url) for picture in pictures)) // BYTES_A_TOKEN
