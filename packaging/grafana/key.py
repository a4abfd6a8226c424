"""Who uses what: requests and tokens by key, and what callers' cold starts cost the fleet."""

from typing import Any

from panel import HALF, THIRD, dashboard, row, table, time_series

ABOUT = "Requests and tokens by key, and what callers' cold starts cost. cortex usage has the exact sums."
HERE = 'key=~"$key"'
RATE = "[$__rate_interval]"


def made() -> dict[str, Any]:
    """Return the dashboard."""
    return dashboard("cortex-key", "cortex: keys and usage", ABOUT, ["key"], [_keys(), _limits(), _callers()])


def _keys() -> list[dict[str, Any]]:
    tokens = f"cortex_key_tokens_total{{{HERE}}}"
    return row(
        "Keys",
        time_series(
            "Requests per second",
            "reqps",
            (f"sum by (key) (rate(cortex_key_requests_total{{{HERE}}}{RATE}))", "{{key}}"),
            about="Of requests with a key.",
        ),
        time_series(
            "Prompt tokens per second",
            "none",
            (f'sum by (key) (rate(cortex_key_tokens_total{{{HERE}, type="prompt"}}{RATE}))', "{{key}}"),
            about="As engines report them.",
            stacked=True,
        ),
        time_series(
            "Generated tokens per second",
            "none",
            (f'sum by (key) (rate(cortex_key_tokens_total{{{HERE}, type="completion"}}{RATE}))', "{{key}}"),
            about="As engines report them.",
            stacked=True,
        ),
        table(
            "Tokens of the last day",
            "none",
            f"topk(20, sum by (key, type) (increase({tokens}[1d])))",
            about="The twenty that used most.",
        ),
        table(
            "Requests of the last day",
            "none",
            f"topk(20, sum by (key) (increase(cortex_key_requests_total{{{HERE}}}[1d])))",
            about="The twenty that sent most.",
            width=HALF,
        ),
    )


def _limits() -> list[dict[str, Any]]:
    return row(
        "Limits",
        time_series(
            "Refused",
            "cps",
            (f"sum by (limit) (rate(cortex_quota_denied_total{RATE}))", "{{limit}}"),
            about="Requests whose key had reached a limit.",
        ),
        time_series(
            "Let in without the store",
            "cps",
            (f"rate(cortex_quota_unchecked_total{RATE})", "{{instance}}"),
            about="Requests of keys with limits while the store could not be asked. Runbook: LimitsUnchecked.",
        ),
        time_series(
            "Reports to the store",
            "cps",
            (f"rate(cortex_quota_reports_total{RATE})", "{{instance}}"),
            about="How often a gateway told what was used, and asked for more.",
        ),
    )


def _callers() -> list[dict[str, Any]]:
    def lately(metric: str) -> tuple[str, str]:
        return f"topk(10, sum by (caller) (increase({metric}{RATE})))", "{{caller}}"

    return row(
        "Who causes loads",
        time_series(
            "Loads",
            "none",
            lately("cortex_caller_loads_total"),
            about="For which a caller's request was the cause.",
            width=THIRD,
        ),
        time_series(
            "Evictions",
            "none",
            lately("cortex_caller_evictions_total"),
            about="For those loads. Runbook: SwapThrash.",
            width=THIRD,
        ),
        time_series(
            "Time of devices spent loading",
            "s",
            lately("cortex_caller_loading_seconds_total"),
            about="For those loads.",
            width=THIRD,
        ),
    )
