"""The fleet at a glance: is anything wrong, who uses what, what happened lately."""

from typing import Any

from panel import HALF, QUARTER, dashboard, figure, row, states, table, time_series

ABOUT = "Is anything wrong, who uses what, and what happened lately."
REQUESTS = "rate(cortex_requests_total[$__rate_interval])"
ERRORS = "rate(cortex_request_errors_total[$__rate_interval])"


def made() -> dict[str, Any]:
    """Return the dashboard."""
    return dashboard(
        "cortex-fleet", "cortex: fleet overview", ABOUT, ["model", "node"], [_now(), _traffic(), _room(), _events()]
    )


def _now() -> list[dict[str, Any]]:
    return row(
        "Now",
        figure(
            "Alerts",
            "none",
            'count(ALERTS{alertstate="firing", severity=~"critical|warning"}) or vector(0)',
            bad=">1",
            about="Alerts that fire. Each has its section in the runbook.",
        ),
        figure(
            "Nodes down",
            "none",
            "count(max by (node) (cortex_node_healthy) == 0) or vector(0)",
            bad=">1",
            about="Nodes that no gateway reaches. Runbook: NeuronDown.",
        ),
        figure(
            "Models that nobody serves",
            "none",
            "count(sum by (model) (cortex_model_ready_replicas) == 0) or vector(0)",
            about="Models of the catalogue that are loaded nowhere now. They are loaded when they are asked for.",
        ),
        figure(
            "Requests per second",
            "reqps",
            f"sum({REQUESTS})",
            about="Over all gateways, whatever became of them.",
        ),
        figure(
            "Failing",
            "percentunit",
            f"sum({ERRORS}) / sum({REQUESTS})",
            bad=">0.05",
            about="The share that fails by no fault of the caller. Runbook: ErrorRateHigh.",
        ),
        figure(
            "Tokens per second",
            "none",
            "sum(rate(cortex_completion_tokens_total[$__rate_interval]))",
            about="Generated, over the whole fleet.",
        ),
        figure(
            "Running", "none", "sum(cortex_requests_in_flight) or vector(0)", about="Requests that are in an engine."
        ),
        figure(
            "Waiting",
            "none",
            "sum(cortex_requests_waiting)",
            about="Requests that wait for a slot or a load. Runbook: QueueSaturated.",
        ),
    )


def _traffic() -> list[dict[str, Any]]:
    rate = "rate({}[$__rate_interval])"
    requests, tokens = (
        rate.format('cortex_requests_total{model=~"$model"}'),
        rate.format('cortex_completion_tokens_total{model=~"$model"}'),
    )
    first = rate.format('cortex_time_to_first_token_seconds_bucket{model=~"$model"}')
    return row(
        "Traffic",
        time_series("Requests per second", "reqps", (f"sum by (model) ({requests})", "{{model}}"), about="By model."),
        time_series(
            "Generated tokens per second",
            "none",
            (f"sum by (model) ({tokens})", "{{model}}"),
            about="By model, as engines report them.",
            stacked=True,
        ),
        time_series(
            "Time to the first token, 95 %",
            "s",
            (f"histogram_quantile(0.95, sum by (le, model) ({first}))", "{{model}}"),
            about="Of streams: 95 of 100 have their first token by then. Runbook: HighTTFT.",
        ),
    )


def _room() -> list[dict[str, Any]]:
    used = 'sum by (node) (cortex_device_memory_used_bytes{kind!="cpu", node=~"$node"})'
    total = 'sum by (node) (cortex_device_memory_total_bytes{kind!="cpu", node=~"$node"})'
    return row(
        "Room",
        time_series(
            "GPU memory in use",
            "percentunit",
            (f"{used} / {total}", "{{node}}"),
            about="Of all GPUs of a node. Runbook: VRAMNearlyFull.",
            most=1,
        ),
        time_series(
            "Running requests",
            "none",
            (
                'sum by (model, node) (cortex_requests_in_flight{model=~"$model", node=~"$node"})',
                "{{model}} on {{node}}",
            ),
            about="By model and node.",
            stacked=True,
        ),
        time_series(
            "Waiting requests",
            "none",
            ('sum by (model) (cortex_model_requests_waiting{model=~"$model"})', "{{model}}"),
            about="For a slot or a load. Runbook: QueueSaturated.",
            stacked=True,
        ),
        states(
            "Nodes",
            ('max by (node) (cortex_node_healthy{node=~"$node"})', "{{node}}"),
            about="Whether a gateway reaches them. Runbook: NeuronDown.",
            words={"1": ("up", "green"), "0": ("down", "red")},
        ),
        table(
            "Where models can be used",
            "none",
            'max by (model) (cortex_model_ready_replicas{model=~"$model"})',
            about="The number of places, as the gateway sees it that knows most.",
            width=HALF,
        ),
    )


def _events() -> list[dict[str, Any]]:
    def lately(metric: str, by: str) -> str:
        return f"sum by ({by}) (increase({metric}[$__rate_interval]))"

    return row(
        "Loads and evictions",
        time_series(
            "Loads",
            "none",
            (lately("cortex_loads_total", "outcome"), "{{outcome}}"),
            about="That ended, by how.",
            width=QUARTER,
        ),
        time_series(
            "Load failures",
            "none",
            (lately("cortex_load_failures_total", "model, cause"), "{{model}}: {{cause}}"),
            about="By their cause. Runbook: ModelLoadFailing.",
            width=QUARTER,
        ),
        time_series(
            "Evictions",
            "none",
            (lately("cortex_evictions_total", "model, node"), "{{model}} on {{node}}"),
            about="Who had to make room. Runbook: SwapThrash.",
            width=QUARTER,
        ),
        time_series(
            "Refusals",
            "none",
            (lately("cortex_refusals_total", "model, reason"), "{{model}}: {{reason}}"),
            about="Requests for which no place was to be had. Runbook: NoReadyBackendForModel.",
            width=QUARTER,
        ),
    )
