"""The secrets of keys: how they are made, what of them is kept, and what of them may be shown.

A fast hash is right for them, which it is not for passwords: nobody can try 2**256 secrets, however fast.
"""

import secrets
from hashlib import sha256

PREFIX = "ctx-"
SECRET_BYTES = 32
SHOWN_CHARS = 8
"""Of a secret, its prefix included: enough to tell keys apart by, and 232 bits stay unknown."""


def new_secret() -> str:
    """Return a secret of 256 bits from the operating system, in characters that fit a URL and a header."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: bytes) -> bytes:
    """Return what of a secret is kept, and by which it is found."""
    return sha256(secret).digest()


def shown_of(secret: str) -> str:
    """Return how a secret begins."""
    return secret[:SHOWN_CHARS]
