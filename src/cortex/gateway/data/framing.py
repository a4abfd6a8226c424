"""What the head of a request says of its body, and the refusal of one that is too large. Reads no body."""

from typing import TYPE_CHECKING

from cortex.contract.error import BodyTooLarge, UnsupportedEncoding

if TYPE_CHECKING:
    from cortex.gateway.data.exchange import Exchange


def check_framing(exchange: "Exchange", limit_bytes: int) -> None:
    """Look at what the head says of the body. Raises: BodyTooLarge, UnsupportedEncoding."""
    encoding = exchange.header(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedEncoding
    length = exchange.content_length
    if length is not None and length > limit_bytes:
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> BodyTooLarge:
    """The refusal of a body over the limit."""
    mib = limit_bytes / (1 << 20)
    return BodyTooLarge(
        f"The request body is larger than {mib:g} MiB. Send less, or have the operator raise max_body_mb in [gateway].",
        limit_bytes=limit_bytes,
    )
