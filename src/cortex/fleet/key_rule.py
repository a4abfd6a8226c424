"""Whether a key holds now, and whether it may ask for a model. Pure: the moment and the model's names are handed in.

Decides nothing about how much a key may use, and knows no secret.
"""

from collections.abc import Iterable

from cortex.contract.key import Key


def why_not_now(key: Key, epoch_s: float) -> str | None:
    """Return in words that a key does not hold at a moment (UTC epoch seconds), None while it does."""
    if key.revoked_s is not None:
        return "was revoked"
    if key.expires_s is not None and key.expires_s <= epoch_s:
        return "has expired"
    return None


def may_ask(key: Key, names: Iterable[str]) -> bool:
    """Tell whether a key may ask for a model that goes by ``names``: its id, its aliases and what it was asked by.

    One of them is enough, so a key for an alias holds for the id behind it, and the other way about.
    """
    return not key.models or any(_fits(pattern, name) for name in names for pattern in key.models)


def _fits(pattern: str, name: str) -> bool:
    """Tell whether a name fits a pattern, in which nothing but ``*`` has a meaning; takes time in proportion only."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    at, end = len(first), len(name) - len(last)
    if at > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
