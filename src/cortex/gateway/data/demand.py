"""What a request asks for beside its model: whose share it takes, how much work it is, which conversation it is of.

All of it costs next to nothing: no second look at a body, however large.
"""

from hashlib import blake2b

from cortex.gateway.data.exchange import Exchange

BYTES_PER_TOKEN = 4
ANSWER_TOKENS = 512
"""What an answer is taken for; less where the caller allows less. Clients ask for far more than they get."""

MAX_TOKENS = 131_072
"""A picture in a body is no text: it counts for so much at most."""

OPENING_BYTES = 1024
SOUGHT_BYTES = 4096
"""How far into a body the conversation is looked for."""

SHORT_BYTES = 2048
"""A body up to this size has no opening: reading so little again costs an engine nothing."""

MAX_REMEMBERED = 4096

CONVERSATION_HEADERS = (b"x-conversation-id", b"x-claude-code-session-id", b"session_id")
"""Where clients name their conversation. Source: llama.cpp's own; Claude Code 2.1.197; Codex 0.169 (run 2026-10)."""


def tokens_of(body_bytes: int, max_tokens: int | None) -> int:
    """Estimate the tokens of a request and its answer."""
    answer = ANSWER_TOKENS if max_tokens is None or max_tokens > ANSWER_TOKENS else max_tokens if max_tokens > 0 else 0
    tokens = body_bytes // BYTES_PER_TOKEN + answer
    return tokens if tokens < MAX_TOKENS else MAX_TOKENS


def opening_of(body: bytes) -> bytes:
    """Return how the conversation in a body begins, which is the same in all its requests; empty for a short one."""
    if len(body) <= SHORT_BYTES:
        return b""
    begin = body.find(b'"messages"', 0, SOUGHT_BYTES)
    return body[:OPENING_BYTES] if begin < 0 else body[begin : begin + OPENING_BYTES]


def conversation_of(exchange: Exchange, opening: bytes) -> bytes:
    """Return what names the conversation of a request: the client's own name for it, else its beginning."""
    return exchange.first_header(CONVERSATION_HEADERS) or opening


class Callers:
    """Names whoever asks: by the key; while there are none by a hash of what was shown as one, else by the address.

    Names are remembered, for hashing is dear on the hot path; no credential is: only Python's own hash of it.
    """

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def name_of(self, exchange: Exchange) -> str:
        """Return the caller's name: the id of the key by which it was let in, if it was."""
        if exchange.key is not None:
            return exchange.key.id
        credential = (
            exchange.header(b"authorization") or exchange.header(b"x-api-key") or exchange.header(b"api-key") or None
        )
        if credential is None:
            return exchange.client
        name = self._names.get(hash(credential))
        if name is None:
            if len(self._names) >= MAX_REMEMBERED:
                self._names.clear()
            name = self._names[hash(credential)] = _name_of(credential)
        return name or exchange.client


def _name_of(credential: bytes) -> str:
    secret = credential.rpartition(b" ")[2]
    return f"key-{blake2b(secret, digest_size=6).hexdigest()}" if secret else ""
