"""The request as it goes to an engine: a body held whole, so that it can be sent again.

Rewrites what must differ between caller and engine (the model's name, ``include_usage``); decides nothing about where
the request goes.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from cortex.dialects.engine import traits_of
from cortex.dialects.interface import Translation
from cortex.dialects.openai_request import Head, with_include_usage, with_max_tokens, with_model
from cortex.fleet.poison import Fingerprint
from cortex.gateway.data.demand import opening_of, tokens_of

if TYPE_CHECKING:
    from cortex.fleet.effect import Target
    from cortex.gateway.data.body_room import BodyShare
    from cortex.gateway.data.upstream import Owner, UpstreamConnection


class Outgoing(Protocol):
    """What a call sends to an engine."""

    model: str
    is_stream: bool
    hides_usage: bool
    """The usage chunk was asked for by us and is kept from the client."""
    tokens: int
    """About how much work it is."""
    max_tokens: int | None
    """The longest answer that the caller allows; None where it does not say."""
    untold: int
    """For how many answers the engine tells the cost of one; 1: it tells all there is."""
    answers: int
    """How many are asked for, to all prompts together."""
    prompts: int
    """To how many prompts those are."""
    opening: bytes
    """How its conversation begins; empty where there is none."""
    size_bytes: int
    """What is held of the body."""
    translation: Translation | None
    """For a request of a dialect that engines do not speak."""

    def can_send(self) -> bool:
        """Whether the whole request can be sent (again)."""

    def is_sent(self) -> bool:
        """Whether the engine was given the request to its end."""

    def send(self, connection: "UpstreamConnection", owner: "Owner", lines: bytes, target: "Target") -> None:
        """Send it to a place. ``lines`` are the request line and headers but for the framing."""

    def ask_for_less(self, answer_tokens: int) -> bool:
        """Ask for an answer of so many tokens at most when it is sent again, 0: as many as there is room for, which is
        less than now; False where that is not for us to say, or was said already."""

    def on_body(self, piece: bytes) -> None:
        """More of the body came from the client."""

    def on_end(self) -> None:
        """The client's body is complete."""

    def on_lost(self) -> None:
        """The connection it was sent on is gone."""

    def fingerprint(self) -> Fingerprint | None:
        """What the body is known by; None where it is not held whole."""

    def settle(self) -> None:
        """It will not be sent again, though more of it may come: let go of what was sent. Told again and again."""

    def said(self) -> bytes:
        """The body as the client sent it, as far as it is held and can be read."""

    def release(self) -> None:
        """It is over: let go of everything."""


class HeldBody:
    """A JSON body, complete."""

    __slots__ = (
        "_body",
        "_is_held",
        "_share",
        "answers",
        "hides_usage",
        "is_stream",
        "max_tokens",
        "model",
        "opening",
        "prompts",
        "size_bytes",
        "tokens",
        "untold",
    )

    translation: Translation | None = None

    def __init__(self, body: bytes, head: Head, *, counts_usage: bool, share: "BodyShare | None" = None) -> None:
        """``share``: of the room for bodies, given back with the body."""
        self._share = share
        self.model = head.model
        self.is_stream = head.is_stream
        self.hides_usage = counts_usage and head.is_stream and not head.wants_usage
        self._is_held = True
        self._body = with_include_usage(body, head) if self.hides_usage else body
        self.size_bytes = len(body)
        self.max_tokens = head.max_tokens
        self.answers, self.untold, self.prompts = head.choices, 1, head.prompts
        self.tokens = tokens_of(self.size_bytes, head.max_tokens)
        self.opening = opening_of(body) if counts_usage else b""  # what is no text of a model is no conversation

    def can_send(self) -> bool:
        """While the body is still held."""
        return self._is_held

    def is_sent(self) -> bool:
        """It is written in one go."""
        return True

    def send(self, connection: "UpstreamConnection", owner: "Owner", lines: bytes, target: "Target") -> None:
        """Send the whole request."""
        body = self._body
        if target.engine_model and target.engine_model != self.model:
            body = with_model(body, target.engine_model)
        if self.answers > 1:
            self.untold = self.answers if traits_of(target.kind).counts_first_choice else 1
        connection.send(owner, b"%bcontent-length: %d\r\n\r\n" % (lines, len(body)), body)

    def ask_for_less(self, answer_tokens: int) -> bool:
        """It is the caller's own."""
        return False

    def on_body(self, piece: bytes) -> None:
        """Nothing can come: the body is complete."""

    def on_end(self) -> None:
        """It was complete."""

    def on_lost(self) -> None:
        """The body is still held."""

    def fingerprint(self) -> Fingerprint | None:
        """While the body is still held."""
        return (self.size_bytes, blake2b(self._body, digest_size=8).digest()) if self._is_held else None

    def settle(self) -> None:
        """Forget the body: an agent's is hundreds of kilobytes, and its answer takes minutes."""
        self._is_held = False
        self._body = b""
        self._share = None

    def said(self) -> bytes:
        """While the body is still held."""
        return self._body

    def release(self) -> None:
        """Forget the body."""
        self.settle()


class TranslatedBody(HeldBody):
    """A request of a dialect that engines do not speak; written anew for the engine that it goes to.

    What is held is the client's own body: by it the request is known when engines die of it.
    """

    __slots__ = ("_most_tokens", "_translation", "translation")

    def __init__(self, body: bytes, translation: Translation, model: str, share: "BodyShare | None" = None) -> None:
        """``model``: what the model is known by, be it called otherwise by the caller."""
        self._share = share
        self.translation: Translation | None = translation
        self._translation = translation
        self._most_tokens: int | None = None
        self.model = model
        self.is_stream = translation.is_stream
        self.hides_usage = False
        self._is_held = True
        self._body = body
        self.size_bytes = len(body)
        self.max_tokens = translation.max_tokens
        self.answers = self.untold = self.prompts = 1
        self.tokens = tokens_of(self.size_bytes, translation.max_tokens)
        self.opening = opening_of(body)

    def send(self, connection: "UpstreamConnection", owner: "Owner", lines: bytes, target: "Target") -> None:
        """Send the whole request, as this engine takes it."""
        body = self._translation.body(traits_of(target.kind), target.engine_model or target.model, target.context)
        if self._most_tokens is not None:
            body = with_max_tokens(body, self._most_tokens)
        connection.send(owner, b"%bcontent-length: %d\r\n\r\n" % (lines, len(body)), body)

    def ask_for_less(self, answer_tokens: int) -> bool:
        """Clamp what the caller asked for, once."""
        if self._most_tokens is not None:
            return False
        self._most_tokens = answer_tokens
        return True

    def settle(self) -> None:
        """Forget the body and what was made of it."""
        if self._is_held:
            self._translation.forget()
        super().settle()
