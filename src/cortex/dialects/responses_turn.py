"""Puts the items of a Responses conversation into the turns of a chat.

An assistant's items in a row (reasoning, text, calls) are one message; the results of its calls follow at once, in the
order of the calls, wherever the client put them. A call without a result gets an empty one, a result without a call is
told as a user's text. Instructions and what developers say before anybody else are the system message; what they say
later is told in a user's message, so that the prompt's beginning does not change.
"""

from collections.abc import Callable, Sequence

import msgspec

from cortex.dialects.chat_request import Content, ImagePart, Message, TextPart, ToolCall
from cortex.dialects.responses_item import Call, Piece, Result, Spoken, Thought
from cortex.dialects.tool_argument import repaired_arguments

ChatName = Callable[[str, str], str]
"""Namespace and name of a tool to the name of its function."""


def messages_of(instructions: str, pieces: Sequence[Piece], chat_name: ChatName) -> tuple[Message, ...]:
    """Return the chat that ``instructions`` and items make."""
    first = next((at for at, piece in enumerate(pieces) if not _is_system(piece)), len(pieces))
    leading = [instructions, *(_text(piece.content) for piece in pieces[:first] if isinstance(piece, Spoken))]
    system = "\n\n".join(text for text in leading if text)
    turns = _Turns(pieces, chat_name)
    for at in range(first, len(pieces)):
        turns.take(at)
    turns.close()
    return ((Message(role="system", content=system),) if system else ()) + tuple(turns.messages)


class _Turns:
    """Takes items in order, and holds the assistant's turn until it is over."""

    def __init__(self, pieces: Sequence[Piece], chat_name: ChatName) -> None:
        self.messages: list[Message] = []
        self._pieces = pieces
        self._chat_name = chat_name
        self._results = _results(pieces)
        self._owned = set(self._results.values())
        self._thoughts: list[str] = []
        self._said: list[str] = []
        self._calls: list[int] = []

    def take(self, at: int) -> None:
        """Take the item at a place."""
        match self._pieces[at]:
            case Thought(text):
                self._thoughts.append(text)
            case Call():
                self._calls.append(at)
            case Spoken(role="assistant", content=content):
                self._said.append(_text(content))
            case Spoken(role=role, content=content):
                self.close()
                self._tell(content if role == "user" else _reminder(_text(content)))
            case Result() as result:
                self.close()
                if at not in self._owned:
                    self._tell(_orphan(result))

    def close(self) -> None:
        """End the assistant's turn, if one is under way."""
        said = "\n\n".join(text for text in self._said if text)
        calls = [(at, call) for at in self._calls if isinstance(call := self._pieces[at], Call)]
        if said or calls:
            asked = tuple(self._tool_call(call) for _, call in calls)
            reasoning = "\n\n".join(self._thoughts)
            self.messages.append(Message(role="assistant", content=said, reasoning=reasoning, calls=asked))
        for at, call in calls:
            result = self._pieces[self._results[at]] if at in self._results else None
            content = result.content if isinstance(result, Result) else ""
            self.messages.append(Message(role="tool", content=content, call_id=call.call_id))
        self._thoughts, self._said, self._calls = [], [], []

    def _tool_call(self, call: Call) -> ToolCall:
        arguments = repaired_arguments(call.arguments)
        if arguments is None:  # a call that was cut: engines' templates want an object
            arguments = msgspec.json.encode({"arguments": call.arguments}).decode()
        return ToolCall(id=call.call_id, name=self._chat_name(call.namespace, call.name), arguments=arguments)

    def _tell(self, content: Content) -> None:
        if content:
            self.messages.append(Message(role="user", content=content))


def _results(pieces: Sequence[Piece]) -> dict[int, int]:
    """Return which result belongs to which call, by their places: the first after it, until its id is used again."""
    open_calls: dict[str, int] = {}
    found: dict[int, int] = {}
    for at, piece in enumerate(pieces):
        if isinstance(piece, Call):
            open_calls[piece.call_id] = at
        elif isinstance(piece, Result) and piece.call_id in open_calls:
            found[open_calls.pop(piece.call_id)] = at
    return found


def _is_system(piece: Piece) -> bool:
    return isinstance(piece, Spoken) and piece.role == "system"


def _reminder(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>" if text else ""


def _orphan(result: Result) -> Content:
    heading = f"Result of the tool call {result.call_id}:"
    if isinstance(result.content, str):
        return f"{heading}\n{result.content}"
    return (TextPart(text=heading), *result.content)


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if not isinstance(part, ImagePart))
