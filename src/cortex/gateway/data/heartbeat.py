"""A sign of life to a client whose stream has nothing to say yet, so that no proxy in between times out.

How it looks is the dialect's business. The first one commits the answer to status 200.
"""

from cortex.dialects.interface import Dialect
from cortex.gateway.data.exchange import Exchange
from cortex.gateway.data.header import own_lines

_STREAM = b"content-type: %b\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n%b"


def begin_stream(exchange: Exchange, dialect: Dialect, request_id: bytes) -> None:
    """Begin the answer to a streamed request before, or without, an engine's own head."""
    exchange.begin(200, _STREAM % (dialect.stream_type, own_lines(dialect, request_id)), None)


def beat(exchange: Exchange, dialect: Dialect, model: str, request_id: bytes, words: str) -> None:
    """Send one; ``words`` say what is going on."""
    if not exchange.is_begun:
        begin_stream(exchange, dialect, request_id)
    exchange.write(dialect.heartbeat(words, model))
