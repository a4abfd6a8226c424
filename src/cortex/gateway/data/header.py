"""Which headers cross the gateway, and how they are written. Pure text work on lower-case names.

Towards the engine: nothing hop-by-hop, no credentials of the caller, nothing that changes how an engine compresses
(usage must be readable) or cancels: llama.cpp goes on generating after a disconnect when ``X-Conversation-Id`` is set
(measured 2026-10). Towards the client: nothing hop-by-hop; framing is the gateway's own. In neither direction what lets
web pages read answers (CORS): llama.cpp allows every ``Origin`` that asks (measured 2026-11), and that is not for an
engine to say.
"""

from cortex.dialects.interface import Dialect
from cortex.kit.cause import valid_request_id as valid_request_id
from cortex.kit.hop_by_hop import HOP_BY_HOP

HeaderList = list[tuple[bytes, bytes]]

_NOT_TO_ENGINE = HOP_BY_HOP | frozenset(
    (
        b"host",
        b"content-length",
        b"expect",
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"cookie",
        b"accept-encoding",
        b"x-conversation-id",
        b"x-request-id",
        b"http2-settings",
        b"origin",
        b"access-control-request-method",
        b"access-control-request-headers",
        b"access-control-request-private-network",
    )
)
_LIMITS = frozenset(
    f"x-ratelimit-{what}-{unit}".encode() for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
)
"""How the limits of an engine's account stand is not how those of the caller's key do."""
_NOT_TO_CLIENT = (
    HOP_BY_HOP
    | _LIMITS
    | frozenset(
        (
            b"content-length",
            b"x-request-id",
            b"access-control-allow-origin",
            b"access-control-allow-credentials",
            b"access-control-allow-headers",
            b"access-control-allow-methods",
            b"access-control-expose-headers",
            b"access-control-allow-private-network",
            b"access-control-max-age",
        )
    )
)
_TRACING = frozenset((b"traceparent", b"tracestate", b"baggage"))
_TRANSLATED = b"content-type: application/json\r\naccept: */*\r\n"
_USUAL_CONNECTION = frozenset((b"keep-alive", b"close"))


def to_engine(headers: HeaderList) -> bytes:
    """The caller's headers that an engine may see, as lines."""
    return _lines(headers, _NOT_TO_ENGINE)


def to_client(headers: HeaderList) -> bytes:
    """The engine's headers that a client may see, as lines."""
    return _lines(headers, _NOT_TO_CLIENT)


def of_translated(headers: HeaderList) -> bytes:
    """The headers of a request that is written anew for an engine, as lines: of the caller's only those of tracing."""
    return _TRANSLATED + b"".join([b"%b: %b\r\n" % pair for pair in headers if pair[0] in _TRACING])


def own_lines(dialect: Dialect, request_id: bytes) -> bytes:
    """The lines that name the request in an answer of the gateway's own; each SDK looks for its own name."""
    if dialect.name == "anthropic":
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (request_id, request_id)
    return b"x-request-id: %b\r\n" % request_id


def _lines(headers: HeaderList, dropped: frozenset[bytes]) -> bytes:
    """Headers as lines, without those to be dropped and those that ``Connection`` names as hop-by-hop."""
    lines = []
    for pair in headers:
        name = pair[0]
        if name not in dropped:
            lines.append(b": ".join(pair))
        elif name == b"connection" and pair[1].lower() not in _USUAL_CONNECTION:
            named = frozenset([token.strip().lower() for token in pair[1].split(b",")])
            if not named <= dropped:
                return _lines(headers, dropped | named)
    lines.append(b"")
    return b"\r\n".join(lines)


def content_length(headers: HeaderList) -> int | None:
    """The length an answer declares; None when it declares none."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def content_type(headers: HeaderList) -> bytes:
    """The media type of an answer, lower case, without parameters."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""
