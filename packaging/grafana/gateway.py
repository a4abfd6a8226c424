"""What goes on inside gateways: their own share of the time, their loop, their store, their configuration."""

from typing import Any

from panel import HALF, QUARTER, dashboard, heat, row, states, time_series

ABOUT = "The gateways' own share of the time, their event loop, their store, their configuration."
HERE = 'instance=~"$gateway"'
PROCESS = f'job="cortex-gateway", {HERE}'
RATE = "[$__rate_interval]"


def made() -> dict[str, Any]:
    """Return the dashboard."""
    return dashboard(
        "cortex-gateway",
        "cortex: gateway internals",
        ABOUT,
        ["gateway"],
        [_overhead(), _process(), _store(), _configuration()],
    )


def _quantile(share: float, metric: str, by: str, labels: str = HERE) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{{labels}}}{RATE})))"


def _overhead() -> list[dict[str, Any]]:
    overhead, lag = "cortex_gateway_overhead_seconds", "cortex_event_loop_lag_seconds"
    return row(
        "Overhead",
        time_series(
            "Own share of the time",
            "s",
            (_quantile(0.5, overhead, "half"), "{{half}} 50 %"),
            (_quantile(0.99, overhead, "half"), "{{half}} 99 %"),
            about="request: until it is sent on, without waits for a place; response: until its begin is written.",
        ),
        time_series(
            "How late the event loop is, 99 %",
            "s",
            (_quantile(0.99, lag, "instance", PROCESS), "{{instance}}"),
            about="Every chunk is late by as much. Runbook: EventLoopLag.",
        ),
        time_series(
            "The worst of a minute",
            "s",
            (f"cortex_event_loop_lag_worst_seconds{{{PROCESS}}}", "{{instance}}"),
            about="A stop of the loop, with its whole length.",
        ),
        heat(
            "Overhead of requests",
            "s",
            f'sum by (le) (increase({overhead}_bucket{{{HERE}, half="request"}}{RATE}))',
            about="How many were sent on by when.",
        ),
        time_series(
            "Relayed",
            "Bps",
            (
                f"sum by (instance, direction) (rate(cortex_relayed_bytes_total{{{HERE}}}{RATE}))",
                "{{instance}} {{direction}}",
            ),
            about="Bytes of bodies, counted when a request is over.",
            width=HALF,
        ),
    )


def _process() -> list[dict[str, Any]]:
    return row(
        "Process",
        time_series(
            "CPU",
            "percentunit",
            (f"rate(process_cpu_seconds_total{{{PROCESS}}}{RATE})", "{{instance}}"),
            about="Of one core: a gateway uses no more.",
            width=QUARTER,
        ),
        time_series(
            "Memory",
            "bytes",
            (f"process_resident_memory_bytes{{{PROCESS}}}", "{{instance}}"),
            about="Resident.",
            width=QUARTER,
        ),
        time_series(
            "File descriptors",
            "percentunit",
            (f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}}", "{{instance}}"),
            about="A stream takes two. Runbook: DescriptorsRunOut.",
            width=QUARTER,
            most=1,
        ),
        time_series(
            "Connections of clients",
            "none",
            (f"cortex_client_connections{{{HERE}}}", "{{instance}}"),
            about="Open ones, idle ones included.",
            width=QUARTER,
        ),
        time_series(
            "Bodies in memory",
            "bytes",
            (f"cortex_buffered_body_bytes{{{HERE}}}", "{{instance}}"),
            about="Of requests; max_buffered_mb bounds them.",
        ),
        time_series(
            "Clients turned away",
            "cps",
            (f"rate(cortex_client_connections_refused_total{{{HERE}}}{RATE})", "{{instance}} connections"),
            (f"rate(cortex_tls_handshake_failures_total{{{HERE}}}{RATE})", "{{instance}} TLS handshakes"),
            about="For want of room, or by TLS. Runbook: ClientsTurnedAway.",
        ),
        time_series(
            "Spans",
            "cps",
            (f"rate(cortex_spans_sent_total{{{PROCESS}}}{RATE})", "{{instance}} sent"),
            (f"rate(cortex_spans_dropped_total{{{PROCESS}}}{RATE})", "{{instance}} lost"),
            about="Of traces, where they are wished. Runbook: SpansDropped.",
        ),
        time_series(
            "Running and waiting",
            "none",
            (
                f"sum by (instance) (cortex_requests_in_flight{{{HERE}}}) or 0 * cortex_requests_waiting{{{HERE}}}",
                "{{instance}} running",
            ),
            (f"cortex_requests_waiting{{{HERE}}}", "{{instance}} waiting"),
            about="Requests of each gateway. Runbook: QueueSaturated.",
        ),
        time_series(
            "Loads under way",
            "none",
            (
                f"sum by (instance) (cortex_loads_under_way{{{HERE}}}) or 0 * cortex_requests_waiting{{{HERE}}}",
                "{{instance}}",
            ),
            about="That a gateway waits for.",
        ),
        time_series(
            "Garbage collections",
            "cps",
            (
                f"sum by (instance, generation) (rate(python_gc_collections_total{{{PROCESS}}}{RATE}))",
                "{{instance}} {{generation}}",
            ),
            about="The oldest generation stops the loop longest.",
        ),
    )


def _store() -> list[dict[str, Any]]:
    return row(
        "Store",
        states(
            "Store",
            (f"cortex_store_up{{{HERE}}}", "{{instance}}"),
            about="Whether it answered when it was last asked; only with a store. Runbook: StoreDown.",
            words={"1": ("up", "green"), "0": ("down", "red")},
            width=QUARTER,
        ),
        time_series(
            "Requests not written yet",
            "none",
            (f"cortex_ledger_pending{{{HERE}}}", "{{instance}}"),
            about="Of the usage ledger; up to 20,000.",
            width=QUARTER,
        ),
        time_series(
            "Ledger behind by",
            "s",
            (f"cortex_ledger_lag_seconds{{{HERE}}}", "{{instance}}"),
            about="Runbook: LedgerBehind.",
            width=QUARTER,
        ),
        time_series(
            "Lost to the ledger",
            "none",
            (f"increase(cortex_ledger_lost_total{{{HERE}}}{RATE})", "{{instance}}"),
            about="Requests. Runbook: LedgerLosing.",
            width=QUARTER,
        ),
    )


def _configuration() -> list[dict[str, Any]]:
    return row(
        "Configuration",
        states(
            "Catalogue",
            (f"cortex_catalogue_current{{{HERE}}}", "{{instance}}"),
            about="Whether the file on disk is in use. Runbook: ConfigReloadFailed.",
            words={"1": ("in use", "green"), "0": ("unusable", "red")},
            width=QUARTER,
        ),
        states(
            "cortex.toml",
            (f"cortex_config_reload_success{{{PROCESS}}}", "{{instance}}"),
            about="Whether it could be used when it was last read. Runbook: ConfigReloadFailed.",
            words={"1": ("read", "green"), "0": ("unusable", "red")},
            width=QUARTER,
        ),
        time_series(
            "Age of the catalogue",
            "s",
            (f"time() - cortex_catalogue_loaded_timestamp_seconds{{{HERE}}}", "{{instance}}"),
            about="Since it was last read.",
            width=QUARTER,
        ),
        time_series(
            "Certificates hold for",
            "s",
            (f"cortex_tls_certificate_not_after_seconds{{{HERE}}} - time()", "{{instance}} {{certificate}}"),
            about="Only with TLS. Runbook: CertificateExpiring.",
            width=QUARTER,
        ),
        time_series(
            "Reloads that failed",
            "none",
            (f"increase(cortex_catalogue_reload_failures_total{{{HERE}}}{RATE})", "{{instance}}"),
            about="Runbook: ConfigReloadFailed.",
            width=QUARTER,
        ),
        states(
            "Steward",
            (f"cortex_steward{{{HERE}}}", "{{instance}}"),
            about="Which gateway preloads and keeps replica counts. Runbook: StewardMissing.",
            words={"1": ("steward", "green"), "0": ("", "transparent")},
            width=QUARTER,
        ),
    )
