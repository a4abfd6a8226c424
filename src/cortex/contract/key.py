"""The words about keys: who may ask for what, and how much. Data, no behaviour.

A secret is shown once, when it is made; what is kept of it is its hash. Limits that are None do not bound.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$(?!\n)")]
"""Stands in logs and commands as it is: no spaces, no control characters."""
ModelPattern = Annotated[str, Meta(min_length=1, max_length=1024)]
MAX_PATTERNS = 256

KeyScope = Literal["inference", "admin"]
"""inference: may ask models; admin: may also see and steer the fleet."""


Bound = Annotated[int, Meta(ge=0, le=2**62)]


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one key may use. Tokens are prompt and answer together; days and months are the database's, in UTC."""

    requests_per_min: Bound | None = None
    tokens_per_min: Bound | None = None
    concurrent_requests: Bound | None = None
    tokens_per_day: Bound | None = None
    tokens_per_month: Bound | None = None
    cold_starts_per_day: Bound | None = None
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


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that is to be made; see ``Key``."""

    name: KeyName
    scope: KeyScope = "inference"
    models: Annotated[tuple[ModelPattern, ...], Meta(max_length=MAX_PATTERNS)] = ()
    queue_priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    limits: KeyLimits = KeyLimits()
    expires_in_s: Annotated[float, Meta(gt=0, le=3.2e9)] | None = None
    """From now, by the store's clock; None: never."""


class KeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was made, or got another secret, with the secret: nobody can tell it again."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        """Return what may stand in a log or a traceback."""
        return f"KeyMade(key={self.key!r}, secret='{self.key.shown}…')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return likewise what rich shows."""
        return [("key", self.key)]


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """All keys, those too that do not hold any more, the oldest first."""

    keys: tuple[Key, ...]


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """How one limit stands: ``used`` in its present window, and ``held`` by gateways for requests that run or come.

    Of ``concurrent_requests`` all is ``held``, and nothing resets.
    """

    limit: str
    bound: int
    used: int
    held: int
    resets_in_s: float | None


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """How the limits of a key stand over all gateways; a gateway tells what it has used when it asks for more."""

    id: str
    name: str
    limits: tuple[LimitUse, ...]


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing needs to be said; the body may be empty."""
