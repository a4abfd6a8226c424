"""What an engine says in an answer, in order and with every engine's quirks taken away: the pivot on the way back.

Made by ``chat_reader`` from a stream or a whole answer alike, so that both give a client the same. Data, no behaviour.
"""

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.usage import Usage


class Reasoned(msgspec.Struct, frozen=True):
    """A piece of what the model thought; whole characters, never empty."""

    text: str


class Said(msgspec.Struct, frozen=True):
    """A piece of the answer's text; whole characters, never empty."""

    text: str


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tool call. ``arguments`` is the text of a JSON object; ``id`` is the engine's, empty if it gave none."""

    id: str
    name: str
    arguments: str


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The engine is done. ``reason`` is its own word; ``stop`` the stop sequence that ended it, when it said so.

    ``has_cut_call``: a tool call was under way whose arguments never became JSON; it must not be executed.
    """

    reason: str
    stop: str | None = None
    has_cut_call: bool = False


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The newest token counts, cumulative. ``cached_tokens`` are among the prompt's, ``reasoning_tokens`` among the
    completion's; None when the engine did not say."""

    usage: Usage
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Failed(msgspec.Struct, frozen=True):
    """The engine reported an error within its stream, or its answer was of no use."""

    error: CortexError


ChatEvent = Reasoned | Said | Called | Finished | Counted | Failed
