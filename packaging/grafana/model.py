"""Models and their latency: how long requests take, where the time goes, and what becomes of loads."""

from typing import Any

from panel import HALF, dashboard, heat, row, time_series

ABOUT = "How long requests take, where the time goes, and what becomes of loads."
HERE = 'model=~"$model", node=~"$node"'
RATE = "[$__rate_interval]"


def made() -> dict[str, Any]:
    """Return the dashboard."""
    return dashboard(
        "cortex-model",
        "cortex: models and latency",
        ABOUT,
        ["model", "node"],
        [_requests(), _latency(), _waits(), _loads()],
    )


def rate(metric: str) -> str:
    """The rate of a counter of the models and nodes that were chosen."""
    return f"rate({metric}{{{HERE}}}{RATE})"


def quantiles(metric: str, by: str = "model") -> list[tuple[str, str]]:
    """The middle, and what only one in twenty and one in a hundred exceeds."""
    buckets = f"sum by (le, {by}) ({rate(f'{metric}_bucket')})"
    return [
        (f"histogram_quantile({share}, {buckets})", f"{{{{{by}}}}} {name}")
        for share, name in ((0.5, "50 %"), (0.95, "95 %"), (0.99, "99 %"))
    ]


def _requests() -> list[dict[str, Any]]:
    requests, errors = rate("cortex_requests_total"), rate("cortex_request_errors_total")
    failing = f"sum by (model) ({errors}) / (sum by (model) ({requests}) > 0)"
    aborts = f"sum by (model, node, by) ({rate('cortex_stream_aborts_total')})"
    return row(
        "Requests",
        time_series(
            "Requests per second",
            "reqps",
            (f"sum by (model, node) ({rate('cortex_requests_total')})", "{{model}} on {{node}}"),
            about="By model and node; those that reached no node have none.",
        ),
        time_series(
            "Share that fails",
            "percentunit",
            (failing, "{{model}}"),
            about="By no fault of the caller. Runbook: ErrorRateHigh.",
        ),
        time_series(
            "Streams broken off",
            "cps",
            (aborts, "{{model}} on {{node}} by the {{by}}"),
            about="After the first content: the client left, or the engine died or fell silent. Runbook: StreamAborts.",
        ),
        time_series(
            "Prompt tokens per second",
            "none",
            (f"sum by (model) ({rate('cortex_prompt_tokens_total')})", "{{model}}"),
            about="As engines report them.",
            stacked=True,
        ),
        time_series(
            "Generated tokens per second",
            "none",
            (f"sum by (model) ({rate('cortex_completion_tokens_total')})", "{{model}}"),
            about="As engines report them.",
            stacked=True,
        ),
        time_series(
            "Speed of one request",
            "none",
            *quantiles("cortex_tokens_per_second"),
            about="Tokens per second that one caller gets.",
        ),
    )


def _latency() -> list[dict[str, Any]]:
    first = "cortex_time_to_first_token_seconds"
    gaps = 'gen_ai_server_time_per_output_token_seconds_bucket{gen_ai_request_model=~"$model"}'
    gap = f"histogram_quantile(0.95, sum by (le, gen_ai_request_model) (rate({gaps}{RATE})))"
    return row(
        "Latency",
        time_series(
            "Time to the first token",
            "s",
            *quantiles(first),
            about="From arrival to the first content of a stream, cold starts included. Runbook: HighTTFT.",
        ),
        time_series(
            "Whole requests",
            "s",
            *quantiles("cortex_request_duration_seconds"),
            about="From arrival to the last byte, of successful requests.",
        ),
        time_series(
            "Between two tokens, 95 %",
            "s",
            (gap, "{{gen_ai_request_model}}"),
            about="OpenTelemetry's gen_ai.server.time_per_output_token.",
        ),
        heat(
            "Time to the first token",
            "s",
            f"sum by (le) (increase({first}_bucket{{{HERE}}}{RATE}))",
            about="How many requests had it by when.",
        ),
        heat(
            "Whole requests",
            "s",
            f"sum by (le) (increase(cortex_request_duration_seconds_bucket{{{HERE}}}{RATE}))",
            about="How many were over by when.",
        ),
    )


def _waits() -> list[dict[str, Any]]:
    return row(
        "Waiting",
        time_series(
            "Waiting requests",
            "none",
            ('sum by (model) (cortex_model_requests_waiting{model=~"$model"})', "{{model}}"),
            about="For a slot or a load. Runbook: QueueSaturated.",
        ),
        time_series(
            "Wait for a slot", "s", *quantiles("cortex_queue_wait_seconds"), about="Of those that waited for one."
        ),
        time_series(
            "Wait for a load", "s", *quantiles("cortex_cold_start_seconds"), about="Of those that waited for one."
        ),
        time_series(
            "Cold starts per second",
            "cps",
            (f"sum by (model) ({rate('cortex_cold_starts_total')})", "{{model}}"),
            about="Requests that waited for a load.",
        ),
        time_series(
            "Refusals per second",
            "cps",
            (f'sum by (model, reason) (rate(cortex_refusals_total{{model=~"$model"}}{RATE}))', "{{model}}: {{reason}}"),
            about="Requests for which no place was to be had. Runbook: NoReadyBackendForModel.",
        ),
        time_series(
            "Places where it can be used",
            "none",
            ('max by (model) (cortex_model_ready_replicas{model=~"$model"})', "{{model}}"),
            about="As the gateway sees it that knows most.",
        ),
    )


def _loads() -> list[dict[str, Any]]:
    def count(metric: str, by: str) -> str:
        return f"sum by ({by}) (increase({metric}{{{HERE}}}{RATE}))"

    return row(
        "Loads",
        time_series("How long loads take", "s", *quantiles("cortex_load_seconds"), about="Of those that succeeded."),
        time_series(
            "Loads",
            "none",
            (count("cortex_loads_total", "model, outcome"), "{{model}} {{outcome}}"),
            about="That ended. put_off: the node had no room yet, or another gateway loads it.",
        ),
        time_series(
            "Load failures",
            "none",
            (count("cortex_load_failures_total", "model, node, cause"), "{{model}} on {{node}}: {{cause}}"),
            about="By their cause. Runbook: ModelLoadFailing.",
        ),
        time_series(
            "Evictions",
            "none",
            (count("cortex_evictions_total", "model, node, reason"), "{{model}} on {{node}}: {{reason}}"),
            about="Who had to make room. Runbook: SwapThrash.",
            width=HALF,
        ),
        time_series(
            "Unloads",
            "none",
            (count("cortex_unloads_total", "model, node, reason"), "{{model}} on {{node}}: {{reason}}"),
            about="For another reason than a load: idle, pressure of strangers, an operator, the steward.",
            width=HALF,
        ),
    )
