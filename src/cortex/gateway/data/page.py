"""The gateway's own small answers: models, health, liveness, readiness, and refusals that name what is wrong.

Answers are given when the request is whole, so that the connection lives on; a request that waits for leave to send
its body, or declares a large one, is answered at once.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from cortex import __version__
from cortex.contract.error import (
    CortexError,
    MalformedRequest,
    MethodNotAllowed,
    ModelNotFound,
    NoHealthyNode,
    Unauthorized,
)
from cortex.contract.key import Key
from cortex.dialects.error import plain_body
from cortex.dialects.interface import Dialect
from cortex.dialects.model_list import model_object, model_page
from cortex.dialects.openai import OPENAI
from cortex.gateway.data.exchange import JSON_HEADERS
from cortex.gateway.data.header import own_lines
from cortex.gateway.data.key_door import entries_for
from cortex.gateway.data.refusal import retry_lines
from cortex.gateway.edge_error import status_of
from cortex.gateway.ports import FleetReads

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange

MAX_SWALLOWED_BYTES = 65536
"""A body that nobody wants is read to its end only up to this size."""

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A whole answer. ``headers`` are formatted lines."""

    status: int
    body: bytes
    headers: bytes = JSON_HEADERS


class Page:
    """Gives one answer to one request. Implements Handler."""

    __slots__ = ("_dialect", "_exchange", "_request_id", "_swallowed_bytes", "_write")

    def __init__(
        self, exchange: "Exchange", write: Callable[[], Answer], request_id: bytes, dialect: Dialect = OPENAI
    ) -> None:
        self._exchange = exchange
        self._dialect = dialect
        self._write = write
        self._request_id = request_id
        self._swallowed_bytes = 0
        if exchange.header(b"expect") is not None or (exchange.content_length or 0) > MAX_SWALLOWED_BYTES:
            self._answer()

    def on_body(self, piece: bytes) -> None:
        self._swallowed_bytes += len(piece)
        if self._swallowed_bytes > MAX_SWALLOWED_BYTES:
            self._answer()

    def on_end(self) -> None:
        self._answer()

    def on_gone(self) -> None:
        """There was nothing to give back."""

    def on_pause(self) -> None:
        """The answer is short."""

    def on_resume(self) -> None:
        """The answer is short."""

    def on_shutdown(self) -> None:
        self._exchange.abort()

    def _answer(self) -> None:
        if self._exchange.is_ended:
            return
        dialect, request_id = self._dialect, self._request_id
        try:
            answer = self._write()
        except CortexError as error:
            answer = error_answer(error, dialect, request_id)
        self._exchange.reply(answer.status, answer.headers + own_lines(dialect, request_id), answer.body)


def failing(error: CortexError) -> Callable[[], Answer]:
    """What writes a page that is nothing but an error."""

    def write() -> Answer:
        raise error

    return write


def error_answer(error: CortexError, dialect: Dialect, request_id: bytes) -> Answer:
    """An error as an answer in the caller's dialect."""
    status = status_of(error, dialect.name)
    lines = JSON_HEADERS + retry_lines(error) + _challenge(error)
    if isinstance(error, MethodNotAllowed):
        lines += f"allow: {error.details['allowed']}, OPTIONS\r\n".encode()
    return Answer(status, dialect.error_body(error, status, request_id.decode("ascii")), lines)


def plain_answer(error: CortexError) -> Answer:
    """An error as an answer in the plain envelope of our own API."""
    return Answer(status_of(error), plain_body(error), JSON_HEADERS + _challenge(error))


def _challenge(error: CortexError) -> bytes:
    """What a 401 has to say of how to do better. Source: RFC 9110 §15.5.2, RFC 6750 §3."""
    return b"www-authenticate: Bearer\r\n" if isinstance(error, Unauthorized) else b""


class FleetPages:
    """What the gateway says about itself and its fleet. ``created_s``: what ``created`` of every model says."""

    def __init__(self, reads: FleetReads, *, created_s: float, is_stopping: Callable[[], bool]) -> None:
        self._reads = reads
        self._created_s = int(created_s)
        self._created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._created_s))
        self._is_stopping = is_stopping

    def root(self) -> Answer:
        """Say what is here."""
        return Answer(200, _encode({"name": "cortex", "version": __version__, "api": "/v1", "models": "/v1/models"}))

    def livez(self) -> Answer:
        """Say that the process answers."""
        return Answer(200, b'{"status":"ok"}')

    def readyz(self) -> Answer:
        """Say whether requests should be sent here: every node was asked once, and nobody stops the gateway."""
        if self._is_stopping():
            return Answer(503, b'{"status":"stopping"}')
        if not self._reads.is_ready():
            return Answer(503, b'{"status":"starting"}')
        return Answer(200, b'{"status":"ok"}')

    def health(self) -> Answer:
        """Say how the nodes are; 503 when none is healthy."""
        said = self._reads.health()
        return Answer(503 if said["status"] == "down" else 200, _encode(said))

    def models(self, query: bytes, key: Key | None = None) -> Answer:
        """List the fleet's models, or those of them that a key may ask for."""
        asked = dict(parse_qsl(query.decode("latin-1")))
        entries = entries_for(key, self._reads.model_entries())
        return Answer(200, _encode(model_page([self._model(entry) for entry in entries], asked)))

    def model(self, quoted: bytes, key: Key | None = None) -> Answer:
        """Describe one model, asked for by id or alias, with raw or quoted slashes; to a key one that it may ask for.

        Raises: NoHealthyNode, ModelNotFound, in this order.
        """
        try:
            name = unquote_to_bytes(quoted).decode()
        except UnicodeDecodeError:
            raise MalformedRequest("The model's id in the path is not UTF-8 text.", param="model") from None
        entries = entries_for(key, self._reads.model_entries())
        for entry in entries:
            if entry["id"] == name:
                return Answer(200, _encode(self._model(entry)))
        for entry in entries:
            aliases = entry["aliases"]
            if isinstance(aliases, list) and name in aliases:
                return Answer(200, _encode(self._model(entry)))
        if self._reads.health()["status"] == "down":
            raise NoHealthyNode(f"No node is healthy, and the catalogue has no '{name}'. See GET /health.", model=name)
        raise ModelNotFound(f"No model named '{name}' is known. GET /v1/models lists the ids.", model=name)

    def _model(self, entry: dict[str, object]) -> dict[str, object]:
        return model_object(entry, created_s=self._created_s, created_at=self._created_at)
