"""OpenAI's Responses as a dialect: ``POST /v1/responses``, which engines that speak OpenAI chat do not know (well).

Puts the parts together. A response in the background is the same translation, whose client is answered with
``waiting_body`` at once and asks for the rest later: ``waiting_keep`` is what it finds until there is an end.
"""

from typing import Literal

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.chat_body import chat_body
from cortex.dialects.chat_echo import echo_of
from cortex.dialects.engine import EngineTraits
from cortex.dialects.error import openai_body
from cortex.dialects.interface import Keep, Mint, Need
from cortex.dialects.responses_answer import Answer
from cortex.dialects.responses_object import Frame, error_object
from cortex.dialects.responses_record import RESPONSE_PREFIX, record_bytes
from cortex.dialects.responses_reply import reply
from cortex.dialects.responses_request import ResponsesRequest
from cortex.dialects.responses_stream import ResponsesWriter

MAX_TOLD = 20
"""Kinds of things left out that are told of."""

_encode = msgspec.json.Encoder().encode


class ResponsesTranslation:
    """One request. Implements ``Translation``."""

    answer: bytes | None = None

    def __init__(self, body: bytes, mint: Mint) -> None:
        self._request = request = ResponsesRequest(body)
        self._mint = mint
        self._frame = Frame(id=mint.new_id(RESPONSE_PREFIX), created_at=int(mint.epoch_s), request=request)
        self._answer: Answer | None = None
        self._echo = ""
        self.id = self._frame.id
        self.model = request.model
        self.is_stream = request.wire.stream is True
        self.is_background = request.is_background
        self.max_tokens = request.wire.max_output_tokens
        self.dropped = tuple(dict.fromkeys(name[:100] for name in request.dropped))[:MAX_TOLD]
        """What is left out of the request because nothing here could do it; worth a line in the log."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """See ``Translation``; what was supplied is in it no more."""
        return self._request.needs

    def supply(self, need: Need, value: bytes | None) -> None:
        """See ``Translation``."""
        self._request.supply(need, value)

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """See ``Translation``."""
        request = self._request.chat_request()
        self._echo = echo_of(request, traits)
        return chat_body(request, traits, model, context)

    def reply(self, body: bytes) -> bytes:
        """See ``Translation``."""
        answer = Answer(self._frame, self._mint)
        told = reply(body, answer, self._echo)
        self._answer = answer
        return told

    def writer(self) -> ResponsesWriter:
        """See ``Translation``."""
        self._answer = Answer(self._frame, self._mint)
        return ResponsesWriter(self._answer)

    def forget(self) -> None:
        """See ``Translation``."""
        self._request.forget()

    def keep(self, error: CortexError | None) -> Keep | None:
        """See ``Translation``. What failed after the client had been told of it is kept, too."""
        final = self._answer.final if self._answer else None
        if final is None and error is not None and self.is_background:
            return self.failed_keep(error)
        return self._keep(_encode(final)) if final is not None and self._request.is_stored else None

    def waiting_body(self, status: Literal["queued", "in_progress"]) -> bytes:
        """Return the answer to a request in the background that has no end yet."""
        return _encode(self._frame.object(status))

    def waiting_keep(self, status: Literal["queued", "in_progress"]) -> Keep:
        """Return what is to be kept of a request in the background that has no end yet."""
        return self._keep(self.waiting_body(status))

    def failed_keep(self, error: CortexError) -> Keep:
        """Return what is to be kept of a request in the background that had no answer."""
        return self._keep(_encode(self._frame.object("failed", error=error_object(error))))

    def _keep(self, response: bytes) -> Keep:
        return Keep(id=self.id, record=record_bytes(response, self._request.items))


class Responses:
    """Implements ``Dialect``."""

    name = "responses"
    stream_type = b"text/event-stream"

    def translate(self, body: bytes, mint: Mint) -> ResponsesTranslation:
        """See ``Dialect``."""
        return ResponsesTranslation(body, mint)

    def names(self, model: str) -> tuple[str, ...]:
        """See ``Dialect``."""
        return (model,)

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """See ``Dialect``."""
        return openai_body(error)

    def heartbeat(self, words: str, model: str) -> bytes:
        """A comment, which every reader of event streams passes over."""
        return b": %b\n\n" % words.replace("\n", " ").encode()


RESPONSES = Responses()
