"""Anthropic's turns as chat messages: who says what, which result belongs to which call, in what order.

Consecutive turns of one role are one turn. A turn of ``system`` in the midst of a conversation is said by the user, as
a reminder, so that it stays where it is and the beginning of the prompt the same from turn to turn (measured: Claude
Code sends one in each request, and a header with its own version as the first block of the system prompt, which would
change it each time). Results come directly after their calls, in the calls' order, and before all else the user says.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal

from cortex.dialects.anthropic_block import Part, parts_of, result_of, text_of, tool_parts_of
from cortex.dialects.anthropic_wire import Block, Turn, is_given
from cortex.dialects.chat_request import Message, TextPart, ToolCall
from cortex.dialects.client_body import malformed

_BILLING = re.compile(r"\s*x-anthropic-billing-header:[^\n]*\n*")

_UNSAID = frozenset({"redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload"})
"""Blocks of an assistant that only the service which made them can make sense of."""

Placed = tuple[str, Block]
"""A block, and where in the body it stands."""


def system_text(system: str | list[Block] | None, place: str) -> str:
    """Return a system prompt as one text, without the billing header. Raises: MalformedRequest."""
    if system is None or isinstance(system, str):
        return _BILLING.sub("", system or "", count=1) if _BILLING.match(system or "") else system or ""
    texts = []
    for index, block in enumerate(system):
        if block.type != "text":
            raise malformed(f"{place}.{index}", f'only text is supported here, not "{block.type[:100]}"')
        text = text_of(block, f"{place}.{index}")
        found = _BILLING.match(text)
        texts.append(text if found is None else text[found.end() :])
    return "\n\n".join(filter(None, texts))


class Conversation:
    """The messages of one request. ``dropped``: the types of blocks that were left out."""

    def __init__(self, system: str | list[Block] | None, turns: Sequence[Turn]) -> None:
        """Raises: MalformedRequest."""
        self.dropped: list[str] = []
        self._messages: list[Message] = []
        self._open: tuple[ToolCall, ...] = ()
        """Calls of the last turn, whose results come next."""
        first = list(_leading(turns))
        texts = [system_text(system, "system")]
        texts += [system_text(turn.content, f"messages.{at}.content") for at, turn in enumerate(first)]
        if any(texts):
            self._messages.append(Message(role="system", content="\n\n".join(filter(None, texts))))
        for role, blocks in _grouped(turns, len(first)):
            self._add_user(blocks) if role == "user" else self._add_assistant(blocks)
        self._answer({})

    @property
    def messages(self) -> tuple[Message, ...]:
        """What goes to the engine."""
        return tuple(self._messages)

    def _add_assistant(self, blocks: list[Placed]) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        for place, block in blocks:
            if block.type == "text":
                texts.append(text_of(block, place))
            elif block.type == "thinking":
                thoughts.append(block.thinking or "")
            elif block.type == "tool_use":
                calls.append(_call(block, place))
            elif block.type == "compaction":
                texts += [part.text for part in result_of(block, place) if isinstance(part, TextPart)]
            elif block.type not in _UNSAID:
                self.dropped.append(block.type)
        message = Message(
            role="assistant",
            content="\n".join(filter(None, texts)),
            reasoning="\n".join(filter(None, thoughts)),
            calls=tuple(calls),
        )
        if message.content or message.reasoning or message.calls:
            self._messages.append(message)
        self._open = message.calls

    def _add_user(self, blocks: list[Placed]) -> None:
        results: dict[str, deque[tuple[Part, ...]]] = {}
        parts: list[Part] = []
        # What stands beside a tool's result is a tool's as well: clients hand over the file that was read there.
        read = tool_parts_of if any(block.type == "tool_result" for _, block in blocks) else parts_of
        for place, block in blocks:
            if block.type != "tool_result":
                parts += read(block, place)
                continue
            results.setdefault(block.tool_use_id or "", deque()).append(result_of(block, place))
        orphans = self._answer(results)
        if orphans or parts:
            self._messages.append(Message(role="user", content=(*orphans, *parts)))

    def _answer(self, results: dict[str, deque[tuple[Part, ...]]]) -> list[Part]:
        """Put the results of the open calls into their order; return those that belong to none, as the user's words.

        A call without a result gets an empty one: templates count on there being one.
        """
        for call in self._open:
            mine = results.get(call.id)
            self._messages.append(Message(role="tool", content=mine.popleft() if mine else "", call_id=call.id))
        self._open = ()
        return [
            part
            for call_id, left in results.items()
            for result in left
            for part in (TextPart(text=f"Result of tool call {call_id}:"), *result)
        ]


def _leading(turns: Sequence[Turn]) -> Iterator[Turn]:
    """The turns of ``system`` that stand first."""
    for turn in turns:
        if turn.role != "system":
            return
        yield turn


def _grouped(turns: Sequence[Turn], start: int) -> Iterator[tuple[Literal["user", "assistant"], list[Placed]]]:
    """Consecutive turns of one role as one; what the system says is said by the user."""
    blocks: list[Placed] = []
    speaker: Literal["user", "assistant"] | None = None
    for index in range(start, len(turns)):
        turn, place = turns[index], f"messages.{index}"
        role = _speaker(turn.role, place)
        if role != speaker and speaker is not None:
            yield speaker, blocks
            blocks = []
        speaker = role
        blocks += _blocks(turn, f"{place}.content")
    if speaker is not None:
        yield speaker, blocks


def _speaker(role: str, place: str) -> Literal["user", "assistant"]:
    if role == "assistant":
        return "assistant"
    if role in ("user", "system"):
        return "user"
    raise malformed(f"{place}.role", f'must be "user", "assistant" or "system", not "{role[:100]}"')


def _blocks(turn: Turn, place: str) -> list[Placed]:
    if turn.role == "system":
        return [(place, Block(type="text", text=_reminder(system_text(turn.content, place))))]
    if isinstance(turn.content, str):
        return [(place, Block(type="text", text=turn.content))]
    return [(f"{place}.{index}", block) for index, block in enumerate(turn.content)]


def _reminder(text: str) -> str:
    if not text or text.lstrip().startswith("<system-reminder>"):
        return text
    return f"<system-reminder>\n{text}\n</system-reminder>"


def _call(block: Block, place: str) -> ToolCall:
    if not block.name:
        raise malformed(f"{place}.name", "missing, but required")
    arguments = bytes(block.input if is_given(block.input) else b"{}").decode()
    if not arguments.startswith("{"):
        raise malformed(f"{place}.input", "must be an object")
    return ToolCall(id=block.id or "", name=block.name, arguments=arguments)
