"""Puts the tool calls of one answer together, however its engine cuts, numbers and repeats them.

Which call a piece belongs to: 1. one with its index and id, 2. the last one with its index, 3. without an index the one
with its id, 4. without either the last one. It starts a new call instead when it has a name and either an id that is
not that call's, or arguments although that call's are complete. Names and ids may come late and in fragments; arguments
may be an object.

A call leaves once it is known to be whole: when something follows it, or at the end. It does not decide what follows.

Source: streams of llama.cpp, mistral.rs, vLLM, SGLang and known failures of other translators (facts, T1, T13, T27).
"""

import json

from cortex.dialects.chat_chunk import CallPiece, Function
from cortex.dialects.chat_event import Called
from cortex.dialects.surrogate import well_formed
from cortex.dialects.tool_argument import may_be_whole, repaired_arguments


class _Call:
    """One call that is being put together."""

    __slots__ = ("arguments", "id", "index", "is_gone", "name", "pieces", "seen")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.arguments: str | None = None
        """What they are once repaired; None when that is unknown or they are not whole."""
        self.seen = 0
        """How many pieces had come when ``arguments`` was last looked for."""
        self.is_gone = False

    def has_arguments(self) -> bool:
        return any(not piece.isspace() for piece in self.pieces)

    def is_whole(self) -> bool:
        """Tell whether the arguments are complete without knowing whether more follow."""
        last = next((piece for piece in reversed(self.pieces) if not piece.isspace()), "")
        return may_be_whole(last) and self.settle() is not None

    def settle(self) -> str | None:
        """Return the arguments as far as they have come, repaired; None when they are no object."""
        if self.seen != len(self.pieces) or not self.pieces:
            text = well_formed("".join(self.pieces))
            self.pieces = [text] if text else []
            self.seen = len(self.pieces)
            self.arguments = repaired_arguments(text)
        return self.arguments


class ToolAssembly:
    """The calls of one answer, in the order in which they began."""

    __slots__ = ("_calls", "_gone", "has_cut_call")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._gone = 0
        """How many of them have left."""
        self.has_cut_call = False
        """A call has turned out not to be one that may be executed."""

    @property
    def is_empty(self) -> bool:
        """No call has begun."""
        return not self._calls

    def take(self, pieces: list[CallPiece]) -> bool:
        """Add what one chunk says of calls. Return whether a call has begun."""
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

    def end(self) -> list[Called]:
        """Return the rest; a call that cannot be executed is dropped, and ``has_cut_call`` is set."""
        out: list[Called] = []
        for call in self._calls[self._gone :]:
            if call.name and call.settle() is not None:
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
        if is_other or (found.name and found.has_arguments() and function.name != found.name):
            return None
        if _text_of(function.arguments).strip() and found.is_whole() and not _is_repeat(found, piece, function):
            return None
        return found

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
        if function.name and function.name != call.name and not (call.name and call.has_arguments()):
            call.name += function.name
        text = _text_of(function.arguments)
        if not text:
            return
        if call.is_gone:
            # It has left: words after it are dropped as any after complete arguments, another object is not.
            self.has_cut_call |= "{" in text and not _is_repeat(call, piece, function)
        else:
            call.pieces.append(text)


def _is_repeat(call: _Call, piece: CallPiece, function: Function) -> bool:
    """Tell whether a piece says once more what a complete call has (vLLM's last chunk, seen by others)."""
    is_same = not piece.id or not call.id or piece.id == call.id
    return is_same and bool(call.id) and repaired_arguments(_text_of(function.arguments)) == call.arguments


def _text_of(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, separators=(",", ":"))
