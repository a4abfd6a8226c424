"""How limits stand, in the words of each dialect."""

import pytest

from cortex.fleet.quota_holding import Standing
from cortex.gateway.data.limit_header import duration, rate_lines

EPOCH_S = 1_800_000_000.25  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0ms"), (0.0171, "17ms"), (1, "1s"), (1.5, "1.5s"), (59.999, "59.999s"), (360, "6m0s"), (7201, "2h0m1s")],
)
def test_a_duration_is_written_as_openai_does(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_openais_lines() -> None:
    lines = rate_lines("openai", (Standing(60, 59, 1.0), Standing(150000, 149984, 360.0)), EPOCH_S)
    assert lines == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
        b"x-ratelimit-limit-tokens: 150000\r\nx-ratelimit-remaining-tokens: 149984\r\n"
        b"x-ratelimit-reset-tokens: 6m0s\r\n"
    )


def test_anthropics_lines_say_a_time_that_is_not_too_early() -> None:
    assert rate_lines("anthropic", (None, Standing(5, 0, 59.5)), EPOCH_S) == (
        b"anthropic-ratelimit-tokens-limit: 5\r\nanthropic-ratelimit-tokens-remaining: 0\r\n"
        b"anthropic-ratelimit-tokens-reset: 2027-01-15T08:01:00Z\r\n"
    )


def test_without_limits_nothing_is_said() -> None:
    assert rate_lines("openai", (None, None), EPOCH_S) == b""
