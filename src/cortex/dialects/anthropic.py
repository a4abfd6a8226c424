"""Anthropic's dialect, ``POST /v1/messages``: where its request, its answers and its errors meet.

Nothing is decided here: ``anthropic_request`` reads, ``anthropic_reply`` and ``anthropic_stream`` write, and
``anthropic_error`` has the envelopes.
"""

from cortex.contract.error import CortexError
from cortex.dialects.anthropic_answer import Answering
from cortex.dialects.anthropic_error import anthropic_body
from cortex.dialects.anthropic_reply import anthropic_reply
from cortex.dialects.anthropic_request import AnthropicRequest, read_anthropic
from cortex.dialects.anthropic_stream import AnthropicWriter
from cortex.dialects.chat_echo import without_echo
from cortex.dialects.chat_reader import read_answer
from cortex.dialects.engine import EngineTraits
from cortex.dialects.interface import Keep, Mint, Need

_PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class AnthropicTranslation:
    """One request and its answers. Implements ``Translation``."""

    answer: bytes | None = None

    def __init__(self, request: AnthropicRequest, mint: Mint) -> None:
        self._request = request
        self._mint = mint
        self._context: int | None = None
        self.model = request.model
        self.is_stream = request.is_stream
        self.max_tokens = request.max_tokens
        self.dropped = request.dropped
        """Tools and blocks that were left out, for a line in the log."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """See ``Translation``."""
        return self._request.needs

    def supply(self, need: Need, value: bytes | None) -> None:
        """See ``Translation``."""
        self._request.supply(need, value)

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """See ``Translation``."""
        self._context = context
        return self._request.body(traits, model, context)

    def reply(self, body: bytes) -> bytes:
        """See ``Translation``."""
        return anthropic_reply(without_echo(read_answer(body), self._request.echo), self._answering())

    def writer(self) -> AnthropicWriter:
        """See ``Translation``."""
        return AnthropicWriter(self._answering())

    def forget(self) -> None:
        """See ``Translation``."""
        self._request.forget()

    def keep(self, error: CortexError | None) -> Keep | None:
        """Nothing: the client sends the whole conversation each time."""
        return None

    def _answering(self) -> Answering:
        """As the last engine asked has it: ``context`` is that one's."""
        request = self._request
        return Answering(
            model=request.model,
            max_tokens=request.max_tokens,
            context=self._context,
            stop=request.stop,
            thinks=request.thinks,
            hides_thinking=request.hides_thinking,
            is_single_call=request.is_single_call,
            call_ids=request.call_ids,
            new_id=self._mint.new_id,
        )


class Anthropic:
    """Implements ``Dialect``."""

    name = "anthropic"
    stream_type = b"text/event-stream"

    @staticmethod
    def translate(body: bytes, mint: Mint) -> AnthropicTranslation:
        """See ``Dialect``."""
        return AnthropicTranslation(read_anthropic(body), mint)

    def names(self, model: str) -> tuple[str, ...]:
        """See ``Dialect``."""
        return (model,)

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """See ``Dialect``."""
        return anthropic_body(error, status, request_id)

    def heartbeat(self, words: str, model: str) -> bytes:
        """A ``ping``, and for people who look a comment beside it that says what is going on."""
        return b": %b\n%b" % (words.replace("\n", " ").encode(), _PING)


ANTHROPIC = Anthropic()
