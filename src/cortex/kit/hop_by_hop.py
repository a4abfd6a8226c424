"""The headers that belong to one connection and that nobody in between passes on. Data, no behaviour.

Source: RFC 9110 §7.6.1, and what is used like them.
"""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Names in lower case."""
