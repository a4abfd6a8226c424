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


def tokens_of(body_bytes: int, max_tokens: int | None) -> int:
    """Estimate the tokens of a request and its answer."""
    answer = ANSWER_TOKENS if max_tokens is None else min(max(max_tokens, 0), ANSWER_TOKENS)
    return min(body_bytes // BYTES_PER_TOKEN + answer, MAX_TOKENS)


def opening_of(body: bytes) -> bytes:
    """Return how the conversation in a body begins, which is the same in all its requests."""
    begin = max(body.find(b'"messages"', 0, SOUGHT_BYTES), 0)
    return body[begin : begin + OPENING_BYTES]


def caller_of(exchange: Exchange) -> str:
    """Return a name for whoever asks: a hash of the credential that was shown, without one the address."""
    credential = (
        exchange.header(b"authorization") or exchange.header(b"x-api-key") or exchange.header(b"api-key") or b""
    )
    secret = credential.rpartition(b" ")[2]
    return f"key-{blake2b(secret, digest_size=6).hexdigest()}" if secret else exchange.client


def conversation_of(exchange: Exchange, opening: bytes) -> bytes:
    """Return what names the conversation of a request: the client's own name for it, else its beginning."""
    return exchange.header(b"x-conversation-id") or opening
