"""The keys: who may ask, for what, how much. Changes nothing; secrets are not known here."""

from typing import NamedTuple

import msgspec

from cortex.contract.key import Key, KeyLimits
from cortex.fleet.key_rule import why_not_now
from cortex.gateway.admin.dashboard.page import Desk, Filling, Query

NO_STORE = (
    "Keys are kept in the store, and this gateway has none: set url under [store] in cortex.toml and start it again. "
    "Until then whoever is in trusted_networks is served without one."
)
LIMIT_WORDS = {
    "requests_per_min": "requests a minute",
    "tokens_per_min": "tokens a minute",
    "concurrent_requests": "requests at a time",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
    "cold_starts_per_day": "cold starts a day",
}


class KeyRow(NamedTuple):
    """One key. ``ended``: why it does not hold, empty while it does; ``limits``: those that bound, in words."""

    key: Key
    ended: str
    limits: tuple[tuple[str, int], ...]


async def look_at_keys(desk: Desk, _: Query) -> Filling:
    """Return what the page is filled with: keys that hold first, then by name. Raises: StoreUnavailable."""
    if desk.keys is None:
        return {"keys": [], "is_kept": False, "no_store": NO_STORE}
    rows = [row_of(key, desk.clock.epoch_s()) for key in await desk.keys.list_all()]
    rows.sort(key=lambda row: (bool(row.ended), row.key.name, row.key.created_s))
    return {"keys": rows, "is_kept": True, "no_store": NO_STORE}


def row_of(key: Key, now_s: float) -> KeyRow:
    """Return a key as it is shown."""
    limits = msgspec.structs.asdict(key.limits)
    shown = tuple((limit_word(name), bound) for name, bound in limits.items() if bound is not None)
    return KeyRow(key, why_not_now(key, now_s) or "", shown)


def limit_word(name: str) -> str:
    """Return what a limit is called."""
    return LIMIT_WORDS.get(name, name.replace("_", " "))


LIMIT_FIELDS = KeyLimits.__struct_fields__
