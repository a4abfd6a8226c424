"""Ollama's ``/api/chat`` and ``/api/generate`` as a dialect: what the data plane needs of them, put together.

How requests are read is ``ollama_request``'s, how answers are said ``ollama_answer``'s business. A stream is lines of
JSON, and is what a caller gets who does not say otherwise.
"""

from typing import Literal

import msgspec

from cortex.contract.error import CortexError
from cortex.dialects.chat_body import chat_body
from cortex.dialects.chat_echo import echo_of
from cortex.dialects.engine import EngineTraits
from cortex.dialects.interface import Keep, Mint, Need
from cortex.dialects.ollama_answer import OllamaWriter, Voice, error_object, line, rfc3339, whole
from cortex.dialects.ollama_name import name_candidates
from cortex.dialects.ollama_request import Reading, read_chat, read_generate
from cortex.dialects.ollama_timing import Timing

_encode = msgspec.json.Encoder().encode


class OllamaTranslation:
    """Implements ``Translation``."""

    needs: tuple[Need, ...] = ()
    answer: bytes | None = None
    dropped: tuple[str, ...] = ()

    def __init__(self, endpoint: Literal["chat", "generate"], reading: Reading, mint: Mint) -> None:
        request = reading.request
        self.model = request.model
        self.is_stream = request.is_stream
        self.max_tokens = request.max_tokens
        self._reading: Reading | None = reading
        self._mint = mint
        self._echo = ""
        self._timing = Timing(mint.elapsed_s)
        self._voice = Voice(
            endpoint=endpoint,
            model=request.model,
            created_at=rfc3339(mint.epoch_s),
            new_id=mint.new_id,
            is_load=reading.is_load,
            is_silent=request.thinking is not None and request.thinking.is_on is False,
        )

    def supply(self, need: Need, value: bytes | None) -> None:
        """See ``Translation``; nothing is ever needed."""

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """See ``Translation``."""
        if self._reading is None:
            raise CortexError("A request that was let go of cannot be sent again.")
        self._timing = Timing(self._mint.elapsed_s)
        self._echo = echo_of(self._reading.request, traits)
        return chat_body(self._reading.request, traits, model, context)

    def reply(self, body: bytes) -> bytes:
        """See ``Translation``."""
        return whole(body, self._echo, self._voice, self._timing)

    def writer(self) -> OllamaWriter:
        """See ``Translation``."""
        return OllamaWriter(self._voice, self._timing)

    def forget(self) -> None:
        """See ``Translation``."""
        self._reading = None

    def keep(self, error: CortexError | None) -> Keep | None:
        """See ``Translation``; Ollama keeps nothing."""
        return None


class Ollama:
    """Implements ``Dialect`` for one endpoint."""

    name = "ollama"
    stream_type = b"application/x-ndjson"

    def __init__(self, endpoint: Literal["chat", "generate"]) -> None:
        self._endpoint: Literal["chat", "generate"] = endpoint

    def translate(self, body: bytes, mint: Mint) -> OllamaTranslation:
        """See ``Dialect``."""
        reading = read_chat(body) if self._endpoint == "chat" else read_generate(body)
        return OllamaTranslation(self._endpoint, reading, mint)

    def names(self, model: str) -> tuple[str, ...]:
        """See ``Dialect``."""
        return name_candidates(model)

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """See ``Dialect``."""
        return _encode(error_object(error))

    def heartbeat(self, words: str, model: str) -> bytes:
        """A piece of an answer with nothing in it; clients pass over ``status``, people who look see what goes on."""
        empty = {"message": {"role": "assistant", "content": ""}} if self._endpoint == "chat" else {"response": ""}
        return line({"model": model, **empty, "done": False, "status": words})


OLLAMA_CHAT = Ollama("chat")
OLLAMA_GENERATE = Ollama("generate")
