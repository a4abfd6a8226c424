"""What the data plane must know of a client-facing dialect: how it says errors and signs of life, and, where engines do
not speak it, how a request becomes OpenAI chat (the pivot) and an engine's answer becomes the dialect's again.

A ``Translation`` is one request, a ``StreamWriter`` one attempt at answering it; both are made anew each time and share
nothing. HTTP status codes are decided in ``gateway/edge_error`` and handed in.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.engine import EngineTraits
from cortex.dialects.usage import Usage


class Mint(msgspec.Struct, frozen=True, kw_only=True):
    """What a pure machine cannot make itself: the time, and ids that nobody else has.

    ``new_id("msg_")`` is the prefix and 24 letters and digits; ``epoch_s`` is UTC seconds when the request arrived,
    ``elapsed_s()`` seconds since then; without it durations are not told.
    """

    epoch_s: float
    new_id: Callable[[str], str]
    elapsed_s: Callable[[], float] | None = None


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must be fetched before a request can be sent.

    ``image``: ``ref`` is an http or https URL, the value the picture as a ``data:`` URL. ``response``: ``ref`` is the
    id of an earlier response, the value its record as it was kept, or None when there is none.
    """

    kind: Literal["image", "response"]
    ref: str


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be kept of a request that is over: a record under an id (``previous_response_id``)."""

    id: str
    record: bytes


class StreamWriter(Protocol):
    """Turns the chunks of one engine's stream into the client's. Says nothing before the first content, the finish or
    an error, so that an attempt that fails before that leaves no trace."""

    @property
    def usage(self) -> Usage | None:
        """The newest token counts."""

    @property
    def is_complete(self) -> bool:
        """Whether the engine said how it finished, so that its answer is whole."""

    @property
    def failure(self) -> CortexError | None:
        """The engine reported an error, or its answer was of no use; the client has been told, nothing may follow."""

    def feed(self, payload: bytes) -> bytes:
        """Take the payload of one ``data:`` event, never ``[DONE]``; return what the client may have now."""

    def end(self) -> bytes:
        """The engine's stream is over: the rest of the client's, when it is complete; nothing when it is not."""

    def fail(self, error: CortexError, status: int) -> bytes:
        """End the client's stream with an error, wherever it stands."""


class Tap(Protocol):
    """Stands on the way of one stream from engine to client: what to pass on, when it began, how it ended, what it
    cost. ``now_s`` is monotonic seconds; the caller decides what a missing end means."""

    first_content_s: float | None
    last_data_s: float | None

    @property
    def usage(self) -> Usage | None:
        """The newest token counts."""

    @property
    def is_done(self) -> bool:
        """Whether the stream came to its proper end."""

    @property
    def carries_error(self) -> bool:
        """Whether the stream ended with the engine's own error, which the client has been told."""

    @property
    def failure(self) -> CortexError | None:
        """That error, where it was looked at."""

    def feed(self, piece: bytes, now_s: float) -> bytes:
        """Take what one read of the engine's socket gave, never nothing; return what the client may have now."""

    def look_for_content(self) -> float:
        """Return when content came last, after the first."""

    def close(self) -> bytes:
        """The engine's answer is over: return what was still held, if the stream ended properly."""

    def fail(self, error: CortexError, status: int) -> bytes:
        """Return what ends the client's stream with an error, wherever it stands."""


class Translation(Protocol):
    """One request of a dialect that engines do not speak."""

    model: str
    """As the caller named it."""
    is_stream: bool
    max_tokens: int | None

    @property
    def needs(self) -> tuple[Need, ...]:
        """What must be supplied before ``body``; what was supplied may show that more is needed."""

    @property
    def answer(self) -> bytes | None:
        """The client's whole answer where no engine is needed for it."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What is left out of the request because nothing here could do it; worth a line in the log."""

    def supply(self, need: Need, value: bytes | None) -> None:
        """Take what was needed. Raises: CallerError when the request cannot be served with it."""

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """Return the request as OpenAI chat for an engine that knows the model by this name.

        ``context``: how many tokens the engine takes at most, None when unknown.
        """

    def reply(self, body: bytes) -> bytes:
        """Return the client's whole answer for the engine's. Raises: UpstreamError when that one is of no use."""

    def writer(self) -> StreamWriter:
        """Return a fresh machine for a streamed answer."""

    def forget(self) -> None:
        """It will not be sent again: let go of what only ``body`` needs; an agent's request is large."""

    def keep(self, error: CortexError | None) -> Keep | None:
        """Return what is to be kept now that the request is over, with an error or without; None when nothing is."""


class Dialect(Protocol):
    """A client-facing protocol."""

    name: str
    stream_type: bytes
    """Media type of its streams."""

    def names(self, model: str) -> tuple[str, ...]:
        """Return under which names the model that a caller names so may be known, the likeliest first."""

    @property
    def translate(self) -> Callable[[bytes, Mint], Translation] | None:
        """Read a request body; None where engines speak the dialect. Raises: CallerError."""

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """Return the whole answer to a request that failed before the first byte of its answer."""

    def heartbeat(self, words: str, model: str) -> bytes:
        """Return a sign of life for a stream in which there is nothing to say yet; ``words`` say what is going on."""
