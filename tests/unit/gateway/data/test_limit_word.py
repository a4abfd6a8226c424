"""What is said of a limit that is reached: which, of which key, how much is left, when again. No secret."""

import pytest

from cortex.contract.error import QuotaExhausted, RateLimited
from cortex.contract.key import Key
from cortex.fleet.quota import KIND
from cortex.fleet.quota_holding import Asked, Denial
from cortex.gateway.data.limit_word import denied, too_large

KEY = Key(id="key_1", name="alice", shown="ctx-12")


@pytest.mark.parametrize(
    ("limit", "left", "retry_in_s", "words", "kind"),
    [
        (
            "requests_per_min",
            0,
            11.2,
            "The key 'alice' (ctx-12…) may use 60 requests a minute (requests_per_min): none of them is left. "
            "Try again in 12 s.",
            RateLimited,
        ),
        (
            "tokens_per_day",
            20,
            7300,
            "The key 'alice' (ctx-12…) may use 60 tokens a day (tokens_per_day): 20 of them are left, and this request "
            "may take 30. Try again in 3 h.",
            QuotaExhausted,
        ),
        (
            "tokens_per_month",
            0,
            130,
            "The key 'alice' (ctx-12…) may use 60 tokens a month (tokens_per_month): none of them is left, and this "
            "request may take 30. Try again in 3 min.",
            QuotaExhausted,
        ),
    ],
)
def test_a_limit_is_named(limit: str, left: int, retry_in_s: float, words: str, kind: type[RateLimited]) -> None:
    error = denied(KEY, Denial(KIND[limit], 60, 30, left, retry_in_s))
    assert (type(error), error.message) == (kind, words)
    assert error.details == {"key": "alice", "limit": limit, "retry_in_s": retry_in_s}


def test_places_are_no_count() -> None:
    error = denied(KEY, Denial(None, 3, 1, 0, 1.0))
    assert error.message == (
        "The key 'alice' (ctx-12…) may have 3 requests in flight at a time (concurrent_requests): so many run already. "
        "Try again when one of them is over."
    )


def test_what_can_never_be_had_says_what_to_do() -> None:
    error = too_large(KEY, KIND["tokens_per_min"], 100, Asked(5, 4000))
    assert "asks for an answer of up to 4000. Ask for fewer with max_tokens" in error.message
    assert not error.retryable
