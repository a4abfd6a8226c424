"""What a caller is told whose key has reached a limit: which one, of which key, and when it opens again.

OpenAI's clients tell two codes apart: ``rate_limit_exceeded``, which passes by itself, and ``insufficient_quota``.
"""

from math import ceil

from cortex.contract.error import QuotaExhausted, RateLimited, TokensExceedLimit
from cortex.contract.key import Key
from cortex.fleet.quota import CONCURRENT, KIND, Kind, Span
from cortex.fleet.quota_holding import Asked, Denial

_A: dict[Span, str] = {"minute": "a minute", "day": "a day", "month": "a month"}


def denied(key: Key, denial: Denial) -> RateLimited | QuotaExhausted:
    """Return the refusal of a request for which nothing is left of a limit."""
    kind, retry_in_s = denial.kind, max(0.0, denial.retry_in_s)
    name = CONCURRENT if kind is None else kind.name
    kept = _kept(key, name, denial.limit)
    if kind is None:
        words = f"{kept}: so many run already. Try again when one of them is over."
    else:
        left = f"{denial.left} of them are left" if denial.left else "none of them is left"
        asks = f", and this request may take {denial.need}" if kind.unit == "tokens" else ""
        words = f"{kept}: {left}{asks}. Try again in {_in_words(retry_in_s)}."
    error = QuotaExhausted if kind is not None and kind.span != "minute" else RateLimited
    return error(words, key=key.name, limit=name, retry_in_s=round(retry_in_s, 3))


def too_large(key: Key, kind: Kind, limit: int, asked: Asked) -> TokensExceedLimit:
    """Return the refusal of a request that asks for a longer answer than its key could ever get."""
    words = f"{_kept(key, kind.name, limit)}, and this request asks for an answer of up to {asked.answer}."
    return TokensExceedLimit(f"{words} Ask for fewer with max_tokens.", key=key.name, limit=kind.name)


def _kept(key: Key, name: str, limit: int) -> str:
    whose = f"The key '{key.name}' ({key.shown}…) may"
    if name == CONCURRENT:
        return f"{whose} have {limit} requests in flight at a time ({name})"
    kind = KIND[name]
    return f"{whose} use {limit} {kind.unit} {_A[kind.span]} ({name})"


def _in_words(seconds: float) -> str:
    whole = max(1, ceil(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{ceil(whole / 60)} min" if whole < 7200 else f"{ceil(whole / 3600)} h"
