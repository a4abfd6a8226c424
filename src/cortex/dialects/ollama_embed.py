"""Ollama's ``/api/embed`` and the older ``/api/embeddings`` as engines' ``/v1/embeddings``, there and back.

The body goes to ``/v1/embeddings`` of the engine, not to its chat: who sends it has to know. A request without text
needs no engine at all: ``answer`` is then the whole answer. Vectors stay as the engine wrote them; whether they have
length 1 is its business, and too long a text is refused, not cut, for nobody here has the model's tokenizer.

Source: Ollama's ``server/routes.go`` (0.40, read 2026-11); ``/v1/embeddings`` of llama-server and mistral.rs (2026-10).
"""

from typing import Literal

import msgspec

from cortex.contract.error import CortexError, UpstreamBroken
from cortex.dialects.client_body import read_client_body
from cortex.dialects.engine import EngineTraits
from cortex.dialects.engine_error import stream_error
from cortex.dialects.interface import Keep, Mint, Need, StreamWriter
from cortex.dialects.ollama_answer import error_object
from cortex.dialects.ollama_name import name_candidates
from cortex.dialects.ollama_timing import Timing
from cortex.dialects.ollama_wire import EmbedAsked
from cortex.dialects.openai_request import checked_model

ENGINE_PATH = "/v1/embeddings"

Endpoint = Literal["embed", "embeddings"]

_asked = msgspec.json.Decoder(EmbedAsked).decode
_encode = msgspec.json.Encoder().encode


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw(b"null")
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Vector] | None = None
    usage: _Usage | None = None
    error: object = None


_answer = msgspec.json.Decoder(_Answer)


class EmbedTranslation:
    """Implements ``Translation``, but that ``body`` is for ``ENGINE_PATH``."""

    is_stream = False
    max_tokens: int | None = None
    needs: tuple[Need, ...] = ()
    dropped: tuple[str, ...] = ()

    def __init__(self, endpoint: Endpoint, asked: EmbedAsked, mint: Mint) -> None:
        text = asked.input if endpoint == "embed" else asked.prompt
        self.model = checked_model(asked.model or "")
        self.answer: bytes | None = None
        """The whole answer, when no engine has to be asked."""
        self._texts = [text] if isinstance(text, str) else text or []
        self._dimensions = asked.dimensions
        self._endpoint = endpoint
        self._mint = mint
        self._timing = Timing(mint.elapsed_s)
        self._count = len(self._texts)
        if not text:
            self.answer = self._said([], None)

    def supply(self, need: Need, value: bytes | None) -> None:
        """See ``Translation``; nothing is ever needed."""

    def body(self, traits: EngineTraits, model: str, context: int | None) -> bytes:
        """Return the request as OpenAI's for embeddings."""
        self._timing = Timing(self._mint.elapsed_s)
        asked: dict[str, object] = {"model": model, "input": self._texts}
        if self._dimensions is not None:
            asked["dimensions"] = self._dimensions
        return _encode(asked)

    def reply(self, body: bytes) -> bytes:
        """Return the client's answer for the engine's. Raises: UpstreamError."""
        try:
            answer = _answer.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamBroken("The engine's answer has no embeddings in it.") from exc
        if answer.error is not None:
            raise stream_error(answer.error)
        data = answer.data or []
        if len(data) != self._count or not all(bytes(vector.embedding).startswith(b"[") for vector in data):
            raise UpstreamBroken(f"The engine was to embed {self._count} texts, and its answer has not that many.")
        if all(vector.index is not None for vector in data):
            data.sort(key=lambda vector: vector.index or 0)
        tokens = answer.usage.prompt_tokens if answer.usage else None
        return self._said([vector.embedding for vector in data], tokens)

    def writer(self) -> StreamWriter:
        """Embeddings are never streamed."""
        raise CortexError("Embeddings are never streamed.")

    def forget(self) -> None:
        """See ``Translation``."""
        self._texts = []

    def keep(self, error: CortexError | None) -> Keep | None:
        """See ``Translation``; Ollama keeps nothing."""
        return None

    def _said(self, vectors: list[msgspec.Raw], tokens: int | None) -> bytes:
        if self._endpoint == "embeddings":
            return _encode({"embedding": vectors[0] if vectors else []})
        said: dict[str, object] = {"model": self.model, "embeddings": vectors, **self._timing.members()}
        if tokens is not None:
            said["prompt_eval_count"] = tokens
        return _encode(said)


class OllamaEmbed:
    """Implements ``Dialect`` for one of the two endpoints."""

    name = "ollama"
    stream_type = b"application/x-ndjson"

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint: Endpoint = endpoint

    def translate(self, body: bytes, mint: Mint) -> EmbedTranslation:
        """See ``Dialect``."""
        return EmbedTranslation(self._endpoint, read_client_body(body, _asked), mint)

    def names(self, model: str) -> tuple[str, ...]:
        """See ``Dialect``."""
        return name_candidates(model)

    def error_body(self, error: CortexError, status: int, request_id: str) -> bytes:
        """See ``Dialect``."""
        return _encode(error_object(error))

    def heartbeat(self, words: str, model: str) -> bytes:
        """Nothing: an answer that is no stream has no room for it."""
        return b""


OLLAMA_EMBED = OllamaEmbed("embed")
OLLAMA_EMBEDDINGS = OllamaEmbed("embeddings")
