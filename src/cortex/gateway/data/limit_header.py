"""How the limits of a key stand, as each dialect's clients read it in the headers of an answer.

Source: OpenAI's guide on rate limits (2026-06): ``x-ratelimit-*``, resets as durations like ``1s`` and ``6m0s``;
Anthropic's API reference on rate limits (2026-10): ``anthropic-ratelimit-*``, resets as times in RFC 3339.
"""

import time

from cortex.fleet.quota_holding import Standing

Standings = tuple[Standing | None, Standing | None]
"""Of requests and of tokens; None where there is no such limit."""


def rate_lines(dialect: str, standings: Standings, epoch_s: float) -> bytes:
    """Return the header lines; ``epoch_s``: UTC now."""
    lines = _anthropic if dialect == "anthropic" else _openai
    requests, tokens = standings
    found = b"" if requests is None else lines("requests", requests, epoch_s)
    return found if tokens is None else found + lines("tokens", tokens, epoch_s)


def _openai(unit: str, now: Standing, _epoch_s: float) -> bytes:
    return (
        f"x-ratelimit-limit-{unit}: {now.limit}\r\nx-ratelimit-remaining-{unit}: {now.remaining}\r\n"
        f"x-ratelimit-reset-{unit}: {duration(now.reset_s)}\r\n"
    ).encode()


def _anthropic(unit: str, now: Standing, epoch_s: float) -> bytes:
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s + now.reset_s + 0.999))
    name = f"anthropic-ratelimit-{unit}"
    return f"{name}-limit: {now.limit}\r\n{name}-remaining: {now.remaining}\r\n{name}-reset: {reset}\r\n".encode()


def duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``17ms``, ``1.5s``, ``6m0s``, ``2h0m0s``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return (f"{hours}h" if hours else "") + f"{rest // 60}m{rest % 60}s"
