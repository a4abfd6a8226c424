"""The words about keys: who may ask for what, and how much. Data, no behaviour.

A secret is shown once, when it is made; what is kept of it is its hash. Limits that are None do not bound.
"""

from typing import Literal

import msgspec

KeyScope = Literal["inference", "admin"]
"""inference: may ask models; admin: may also see and steer the fleet."""


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one key may use. Tokens are prompt and answer together; days and months are the database's, in UTC."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cold_starts_per_day: int | None = None
    """Loads that its requests may cause."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key, as it is kept and told. Times are UTC epoch seconds.

    ``id`` is ``key_`` and letters and digits; ``shown`` how its secret begins, to tell keys apart by.
    """

    id: str
    name: str
    shown: str
    scope: KeyScope = "inference"
    models: tuple[str, ...] = ()
    """Ids and aliases that it may ask for, with ``*`` for any characters; empty: all of them."""
    queue_priority: int = 0
    """Added to the model's own; a higher number waits less."""
    limits: KeyLimits = KeyLimits()
    created_s: float = 0.0
    expires_s: float | None = None
    revoked_s: float | None = None


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was made, or got another secret, with the secret: nobody can tell it again."""

    key: Key
    secret: str
