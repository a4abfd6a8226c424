"""``POST /v1/messages``: the request, as OpenAI chat for an engine. The answer's way back is ``anthropic_reply``'s.

Anthropic's meaning is kept where engines have another default: without ``thinking`` a model is not to think. What only
Anthropic's service knows (cache marks, service tiers, containers, context edits) is ignored, known or not.
"""

import msgspec

from cortex.contract.error import CallerError, CortexError, MalformedRequest, ThreadUnsupported
from cortex.dialects.anthropic_tool import Tools, read_tools
from cortex.dialects.anthropic_turn import Conversation
from cortex.dialects.anthropic_wire import Format, Wire, read_wire
from cortex.dialects.chat_body import chat_body
from cortex.dialects.chat_echo import echo_of
from cortex.dialects.chat_request import AnswerFormat, ChatRequest, Content, ImagePart, Message, TextPart, Thinking
from cortex.dialects.chat_turn import pictures_of
from cortex.dialects.client_body import malformed, read_client_body
from cortex.dialects.engine import EngineTraits
from cortex.dialects.interface import Need
from cortex.dialects.openai_request import checked_model

MAX_FETCHED_IMAGES = 100
"""As many pictures as one request may name by URL; Anthropic's own bound on pictures."""

MAX_TOLD = 20
"""Of what is left out no more than that is told."""


class AnthropicRequest:
    """One request. Supply what it ``needs`` before asking for its ``body``; after ``forget`` there is none."""

    def __init__(self, wire: Wire, model: str, max_tokens: int | None) -> None:
        """Raises: CallerError."""
        talk = Conversation(wire.system, wire.messages or ())
        if all(message.role == "system" for message in talk.messages):
            raise malformed("messages", "at least one message of a user is required")
        tools = read_tools(wire.tools, wire.tool_choice)
        self.model = model
        self.is_stream = wire.stream is True
        self.max_tokens = max_tokens
        self.stop = tuple(filter(None, wire.stop_sequences or ()))
        self.tool_names = frozenset(tool.name for tool in tools.offered)
        self.is_single_call = tools.is_single_call
        self.call_ids = frozenset(call.id for message in talk.messages for call in message.calls)
        self.dropped = tuple(dict.fromkeys(name[:100] for name in (*tools.dropped, *talk.dropped)))[:MAX_TOLD]
        """Tools and kinds of blocks that were left out, for a line in the log."""
        thinking = _thinking(wire, talk.messages)
        self.thinks = thinking.is_on is True
        self.hides_thinking = wire.thinking is not None and wire.thinking.display == "omitted"
        self.needs = _needs(talk.messages)
        self.echo = ""
        """What a whole answer begins with that the caller has said itself, by the engine that ``body`` was last for."""
        self._fetched: dict[str, str] = {}
        self._request: ChatRequest | None = _chat(self, wire, talk.messages, tools, thinking)

    def supply(self, need: Need, value: bytes | None) -> None:
        """Take a picture as a ``data:`` URL. Raises: CallerError when there is none."""
        if value is None:
            raise CallerError(
                f"The picture at {need.ref[:500]} could not be fetched: send it as base64.", param=need.ref
            )
        self._fetched[need.ref] = value.decode("ascii")
        self.needs = tuple(other for other in self.needs if other != need)

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """Return the request as OpenAI chat for an engine that knows the model by this name."""
        if self._request is None:
            raise CortexError("A request that was let go of cannot be sent again.")
        if self._fetched:
            messages = tuple(self._with_pictures(message) for message in self._request.messages)
            self._request = msgspec.structs.replace(self._request, messages=messages)
            self._fetched = {}
        self.echo = echo_of(self._request, traits)
        return chat_body(self._request, traits, model, context)

    def take_out_pictures(self) -> list[str]:
        """Leave the pictures out from now on; return their URLs, as long as they are in the body."""
        if self._request is None:
            return []
        taken = [part.url for message in self._request.messages for part in pictures_of(message.content)]
        if taken:
            messages = tuple(_without_pictures(message) for message in self._request.messages)
            self._request = msgspec.structs.replace(self._request, messages=messages)
            self.needs = ()
        return taken

    def forget(self) -> None:
        """Let go of what only ``body`` needs."""
        self._request = None
        self._fetched = {}

    def _with_pictures(self, message: Message) -> Message:
        if not pictures_of(message.content):
            return message
        return msgspec.structs.replace(message, content=self._fetched_content(message.content))

    def _fetched_content(self, content: Content) -> Content:
        return tuple(
            ImagePart(url=self._fetched[part.url]) if isinstance(part, ImagePart) and _is_elsewhere(part) else part
            for part in content
            if not isinstance(part, str)
        )


def read_anthropic(body: bytes) -> AnthropicRequest:
    """Read the body of ``POST /v1/messages``. Raises: CallerError."""
    wire = _read(body)
    model = checked_model(wire.model)
    if wire.max_tokens is None:
        raise malformed("max_tokens", "missing, but required")
    if wire.max_tokens < 1:
        raise malformed("max_tokens", "must be at least 1")
    return AnthropicRequest(wire, model, wire.max_tokens)


def read_count(body: bytes) -> AnthropicRequest:
    """Read the body of ``POST /v1/messages/count_tokens``, which is the same without ``max_tokens`` and ``stream``.

    Raises: CallerError.
    """
    wire = _read(body)
    wire.stream = None
    return AnthropicRequest(wire, checked_model(wire.model), None)


def _read(body: bytes) -> Wire:
    wire = read_client_body(body, read_wire)
    if wire.messages is None:
        raise malformed("messages", "missing, but required")
    if wire.mcp_servers:
        raise malformed("mcp_servers", "MCP servers are not connected here: connect the client to them and send tools")
    if wire.thread is not None:
        raise ThreadUnsupported(
            "thread: conversations are not kept here: send the whole conversation without it.", param="thread"
        )
    return wire


def _chat(
    request: AnthropicRequest, wire: Wire, messages: tuple[Message, ...], tools: Tools, thinking: Thinking
) -> ChatRequest:
    config = wire.output_config
    return ChatRequest(
        model=request.model,
        messages=messages,
        is_stream=request.is_stream,
        tools=tools.offered,
        tool_choice=tools.choice,
        is_parallel=False if tools.is_single_call else None,
        max_tokens=request.max_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        stop=request.stop,
        thinking=thinking,
        answer_format=_format(wire.output_format if config is None or config.format is None else config.format),
    )


def _thinking(wire: Wire, messages: tuple[Message, ...]) -> Thinking:
    effort = None if wire.output_config is None else wire.output_config.effort
    is_continued = messages[-1].role == "assistant"
    if wire.thinking is None or wire.thinking.type == "disabled" or is_continued:
        return Thinking(is_on=False)
    return Thinking(is_on=True, budget_tokens=wire.thinking.budget_tokens, effort=effort)


def _format(wanted: Format | None) -> AnswerFormat | None:
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        raise malformed("output_config.format.type", f'must be "json_schema", not "{wanted.type[:100]}"')
    if not bytes(wanted.schema).startswith(b"{"):
        raise malformed("output_config.format.schema", "must be an object")
    return AnswerFormat(schema=wanted.schema)


def _needs(messages: tuple[Message, ...]) -> tuple[Need, ...]:
    urls = [part.url for message in messages for part in pictures_of(message.content) if _is_elsewhere(part)]
    if len(urls) > MAX_FETCHED_IMAGES:
        raise MalformedRequest(f"messages: more than {MAX_FETCHED_IMAGES} pictures by URL: send them as base64.")
    return tuple(Need(kind="image", ref=url) for url in dict.fromkeys(urls))


def _without_pictures(message: Message) -> Message:
    if not pictures_of(message.content):
        return message
    texts = tuple(part for part in message.content if isinstance(part, TextPart))
    return msgspec.structs.replace(message, content=texts)


def _is_elsewhere(picture: ImagePart) -> bool:
    return picture.url[:5].lower() != "data:"
