"""Puts the tool calls of one answer together, however its engine cuts, numbers and repeats them.

Which call a piece belongs to: 1. one with its index and id, 2. the last one with its index, 3. without an index the one
with its id, 4. without either the last one. It starts a new call instead when it has a name and an id that is not that
call's, or although that call is complete another name, or arguments. Names and ids may come late and in fragments;
arguments may be an object.

A call leaves once it is known to be whole: when something follows it, or at the end. It does not decide what follows.
Whatever an engine sends, a piece costs no more than itself to look at, and there is an end to what is kept.

Source: streams of llama.cpp, mistral.rs, vLLM, SGLang and known failures of other translators (facts, T1, T13, T27).
"""

import json

from cortex.contract.error import UpstreamBroken
from cortex.dialects.chat_chunk import CallPiece, Function
from cortex.dialects.chat_event import Called
from cortex.dialects.surrogate import well_formed
from cortex.dialects.tool_argument import Outline, repaired_arguments

MAX_CALLS = 1024
MAX_CHARACTERS = 4 << 20
"""Of all calls of an answer together: about a million tokens, which no model says in one answer."""


class _Call:
    """One call that is being put together."""

    __slots__ = (
        "arguments",
        "has_arguments",
        "id",
        "index",
        "is_gone",
        "name",
        "outline",
        "outlined",
        "pieces",
        "retry",
    )

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.has_arguments = False
        """They have begun."""
        self.arguments: str | None = None
        """What they are once repaired; None when they are not known to be whole."""
        self.outline = Outline()
        self.outlined = 0
        """How many pieces the outline knows."""
        self.retry = 0
        """How many pieces there must be before arguments that are no JSON, though they look whole, are read again."""
        self.is_gone = False

    def add(self, text: str) -> None:
        """Add to the arguments."""
        self.pieces.append(text)
        self.arguments = None
        self.has_arguments = self.has_arguments or not text.isspace()

    def is_whole(self) -> bool:
        """Tell whether the arguments are complete without knowing whether more follow."""
        if self.arguments is not None:
            return True
        self.outline.take("".join(self.pieces[self.outlined :]))
        self.outlined = len(self.pieces)
        if not self.has_arguments or not self.outline.may_be_whole or self.outlined < self.retry:
            return False
        self.retry = 2 * self.outlined
        return self.settle() is not None

    def settle(self) -> str | None:
        """Return the arguments as far as they have come, repaired; None when they are no object."""
        if self.arguments is None:
            self.arguments = repaired_arguments(well_formed("".join(self.pieces)))
        return self.arguments


class ToolAssembly:
    """The calls of one answer, in the order in which they began."""

    __slots__ = ("_calls", "_characters", "_gone", "has_cut_call")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._characters = 0
        self._gone = 0
        """How many of them have left."""
        self.has_cut_call = False
        """A call has turned out not to be one that may be executed."""

    @property
    def is_empty(self) -> bool:
        """No call has begun."""
        return not self._calls

    def take(self, pieces: list[CallPiece]) -> bool:
        """Add what one chunk says of calls. Return whether a call has begun. Raises: UpstreamBroken past all bounds."""
        began = len(self._calls)
        for place, piece in enumerate(pieces):
            function = piece.function or Function()
            if not (piece.id or function.name or function.arguments):
                continue
            # Several calls in one chunk that number none of them are as many calls.
            call = None if place and piece.index is None and not piece.id else self._find(piece, function)
            if call is None:
                call = _Call(piece.index)
                self._calls.append(call)
            self._add(call, piece, function)
        if self._characters > MAX_CHARACTERS or len(self._calls) > MAX_CALLS:
            raise UpstreamBroken("The engine sent tool calls without end.")
        return len(self._calls) > began

    def whole(self) -> list[Called]:
        """Return the calls that are whole and have none before them that is not."""
        out: list[Called] = []
        while self._gone < len(self._calls):
            call = self._calls[self._gone]
            if not call.name or not call.is_whole():
                break
            out.append(self._leave(call))
        return out

    def end(self, *, is_cut: bool = False) -> list[Called]:
        """Return the rest; a call that cannot be executed is dropped, and ``has_cut_call`` is set.

        ``is_cut``: the answer was ended in the middle. Then a last call without arguments may have had some coming.
        """
        out: list[Called] = []
        for call in self._calls[self._gone :]:
            is_open = is_cut and call is self._calls[-1] and not call.has_arguments
            if call.name and not is_open and call.settle() is not None:
                out.append(self._leave(call))
            else:
                self.has_cut_call = True
        self._gone = len(self._calls)
        return out

    def _leave(self, call: _Call) -> Called:
        self._gone += 1
        call.is_gone = True
        return Called(id=well_formed(call.id), name=well_formed(call.name), arguments=call.arguments or "{}")

    def _find(self, piece: CallPiece, function: Function) -> _Call | None:
        found = self._candidate(piece)
        if found is None or not function.name:
            return found
        is_other = bool(piece.id and found.id and piece.id != found.id)
        if is_other:
            return None
        is_another = bool(found.name) and function.name != found.name
        if not is_another and not _text_of(function.arguments).strip():
            return found
        return None if found.is_whole() and (is_another or not _is_repeat(found, piece, function)) else found

    def _candidate(self, piece: CallPiece) -> _Call | None:
        same = [call for call in reversed(self._calls) if piece.index is None or call.index in (piece.index, None)]
        if piece.id:
            known = next((call for call in same if call.id == piece.id), None)  # 1, 3
            if known is not None:
                return known
            if piece.index is None and (piece.function is None or piece.function.name):
                return None
        return same[0] if same else None  # 2, 4

    def _add(self, call: _Call, piece: CallPiece, function: Function) -> None:
        call.id = call.id or piece.id or ""
        text = _text_of(function.arguments)
        self._characters += len(text)
        if function.name and function.name != call.name and not call.is_gone:
            call.name += function.name
            self._characters += len(function.name)
        if not text:
            return
        if call.is_gone:
            # It has left: words after it are dropped as any after complete arguments, another object is not.
            self.has_cut_call |= "{" in text and not _is_repeat(call, piece, function)
        else:
            call.add(text)


def _is_repeat(call: _Call, piece: CallPiece, function: Function) -> bool:
    """Tell whether a piece says once more what a complete call has (vLLM's last chunk, seen by others)."""
    is_same = not piece.id or not call.id or piece.id == call.id
    return is_same and bool(call.id) and repaired_arguments(_text_of(function.arguments)) == call.arguments


def _text_of(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, separators=(",", ":"))
