"""Nodes and their GPUs: who has the memory, how busy and how hot they are, what their drivers say."""

from typing import Any

from panel import HALF, QUARTER, dashboard, row, states, table, time_series

ABOUT = "Who has the memory, how busy and how hot GPUs are, what their drivers and engines say."
HERE = 'node=~"$node"'
GPU = f'{HERE}, kind!="cpu"'
EACH = "{{node}} {{device}} {{name}}"
RATE = "[$__rate_interval]"


def made() -> dict[str, Any]:
    """Return the dashboard."""
    return dashboard(
        "cortex-node",
        "cortex: nodes and GPUs",
        ABOUT,
        ["node"],
        [_memory(), _work(), _faults(), _engines(), _neurons()],
    )


def _memory() -> list[dict[str, Any]]:
    used, strangers = f"cortex_device_memory_used_bytes{{{GPU}}}", f"cortex_device_memory_strangers_bytes{{{GPU}}}"
    return row(
        "Memory",
        time_series(
            "In use",
            "percentunit",
            (f"{used} / cortex_device_memory_total_bytes{{{GPU}}}", EACH),
            about="By anybody. Runbook: VRAMNearlyFull.",
            most=1,
        ),
        time_series("Free", "bytes", (f"cortex_device_memory_free_bytes{{{GPU}}}", EACH), about="In use by nobody."),
        time_series(
            "Strangers",
            "bytes",
            (strangers, EACH),
            about="Processes that are no engines of cortex, and the driver itself. Runbook: StrangersOnGpu.",
        ),
        time_series(
            "Engines",
            "bytes",
            (f"cortex_instance_memory_bytes{{{HERE}}}", "{{model}} on {{node}}"),
            about="What each model's engine uses, where that can be told apart.",
            width=HALF,
            stacked=True,
        ),
        time_series(
            "Promised",
            "bytes",
            (f"cortex_device_memory_reserved_bytes{{{GPU}}}", EACH),
            about="To loads that are under way.",
            width=HALF,
        ),
    )


def _work() -> list[dict[str, Any]]:
    return row(
        "Work",
        time_series(
            "Utilization",
            "percentunit",
            (f"cortex_device_utilization_ratio{{{GPU}}}", EACH),
            about="How busy it is.",
            most=1,
        ),
        time_series(
            "Temperature",
            "celsius",
            (f"cortex_device_temperature_celsius{{{GPU}}}", EACH),
            about="Runbook: GpuTempHigh.",
        ),
        time_series(
            "Power",
            "watt",
            (f"cortex_device_power_watts{{{GPU}}}", EACH),
            (f"cortex_device_power_limit_watts{{{GPU}}}", f"{EACH} limit"),
            about="Drawn, and what it may draw.",
        ),
    )


def _faults() -> list[dict[str, Any]]:
    states_of = {"0": ("well", "green"), "1": ("trouble", "red")}
    return row(
        "Faults",
        states(
            "Devices",
            (f"cortex_device_trouble{{{HERE}}}", EACH),
            (f"cortex_driver_mismatch{{{HERE}}}", "{{node}} driver"),
            about="Whether their drivers tell how they are. Runbook: DeviceTrouble, DriverMismatch.",
            words=states_of,
            width=QUARTER,
        ),
        time_series(
            "Xid",
            "none",
            (
                f"sum by (node, device, xid) (increase(cortex_device_xid_errors_total{{{GPU}}}{RATE}))",
                "{{node}} {{device}}: Xid {{xid}}",
            ),
            about="NVIDIA's critical errors, by number. Runbook: GpuXid.",
            width=QUARTER,
        ),
        time_series(
            "Memory errors",
            "none",
            (
                f"sum by (node, device, type) (increase(cortex_device_ecc_errors_total{{{GPU}}}{RATE}))",
                "{{node}} {{device}} {{type}}",
            ),
            about="Runbook: GpuMemoryErrors.",
            width=QUARTER,
        ),
        table(
            "What drivers ask for",
            "none",
            f'cortex_device_recovery_action{{{GPU}, action!="none"}}',
            about="A reset, a reboot. Runbook: GpuNeedsRecovery.",
            width=QUARTER,
        ),
        time_series(
            "Devices",
            "none",
            (f"cortex_devices{{{HERE}}}", "{{node}} {{kind}}"),
            about="That there are. Runbook: GpuMissing.",
        ),
        time_series(
            "Age of what is known",
            "s",
            (f"cortex_sample_age_seconds{{{HERE}}}", "{{node}}"),
            about="It grows when a driver hangs. Runbook: NeuronStale.",
        ),
        time_series(
            "What may be missing",
            "none",
            (f"cortex_discovery_troubles{{{HERE}}}", "{{node}}"),
            about="Reasons why there may be more devices than are listed. Runbook: DeviceTrouble.",
        ),
    )


def _engines() -> list[dict[str, Any]]:
    return row(
        "Engines",
        table(
            "Instances",
            "none",
            f"sum by (node, model, harness, state) (cortex_instance_state{{{HERE}}})",
            about="And the state that each is in.",
        ),
        table(
            "Loads since the neuron started",
            "none",
            f"cortex_instance_restarts_total{{{HERE}}}",
            about="After the first one, by model.",
        ),
        time_series(
            "Requests in engines",
            "none",
            (f"cortex_instance_in_flight{{{HERE}}}", "{{model}} on {{node}}"),
            about="By the engine's own count where it counts.",
        ),
        time_series(
            "Silent",
            "s",
            (f"cortex_instance_silent_seconds{{{HERE}}}", "{{model}} on {{node}}"),
            about="For how long an engine has not said what it is doing. Runbook: EngineSilent.",
        ),
        time_series(
            "Gateways that hold it",
            "none",
            (f"cortex_instance_holders{{{HERE}}}", "{{model}} on {{node}}"),
            about="A drain waits for them.",
        ),
        states(
            "Harnesses",
            (f"cortex_harness_healthy{{{HERE}}}", "{{node}} {{harness}}"),
            about="Whether they can be used. Runbook: HarnessUnusable.",
            words={"1": ("well", "green"), "0": ("unusable", "red")},
        ),
        time_series(
            "Unloads since the last restart",
            "none",
            (f"cortex_harness_cycles{{{HERE}}}", "{{node}} {{harness}}"),
            (f"cortex_harness_leaking_cycles{{{HERE}}}", "{{node}} {{harness}} leaking"),
            about="Of a harness; leaking: the memory did not come back. Runbook: HarnessLeaking.",
            width=HALF,
        ),
    )


def _neurons() -> list[dict[str, Any]]:
    return row(
        "Neurons",
        table("Versions", "none", f"cortex_neuron_info{{{HERE}}}", about="Runbook: VersionSkew.", width=HALF),
        states(
            "Maintenance",
            (f"cortex_neuron_maintenance{{{HERE}}}", "{{node}}"),
            about="Whether a node takes nothing new.",
            words={"0": ("in use", "green"), "1": ("drained", "blue")},
        ),
        states(
            "neuron.toml",
            (f'cortex_config_reload_success{{job="cortex-neuron", {HERE}}}', "{{node}}"),
            about="Whether it and the token could be used when they were last read. Runbook: ConfigReloadFailed.",
            words={"1": ("read", "green"), "0": ("unusable", "red")},
        ),
        time_series(
            "Certificates hold for",
            "s",
            (f'cortex_tls_certificate_not_after_seconds{{job="cortex-neuron", {HERE}}} - time()', "{{node}}"),
            about="The neurons' own; only with TLS. Runbook: CertificateExpiring.",
            width=QUARTER,
        ),
        time_series(
            "Spans",
            "cps",
            (f'rate(cortex_spans_sent_total{{job="cortex-neuron", {HERE}}}{RATE})', "{{node}} sent"),
            (f'rate(cortex_spans_dropped_total{{job="cortex-neuron", {HERE}}}{RATE})', "{{node}} lost"),
            about="Of traces, where they are wished. Runbook: SpansDropped.",
            width=QUARTER,
        ),
        time_series(
            "Uptime",
            "s",
            (f"cortex_neuron_uptime_seconds{{{HERE}}}", "{{node}}"),
            about="Of the neuron; engines outlive it.",
            width=QUARTER,
        ),
        time_series(
            "Relayed",
            "Bps",
            (
                f"sum by (node, direction) (rate(cortex_neuron_relayed_bytes_total{{{HERE}}}{RATE}))",
                "{{node}} {{direction}}",
            ),
            about="To engines that listen on loopback only.",
            width=QUARTER,
        ),
        time_series(
            "CPU of the neuron",
            "percentunit",
            (f'rate(process_cpu_seconds_total{{job="cortex-neuron", {HERE}}}{RATE})', "{{node}}"),
            about="Of one core.",
            width=QUARTER,
        ),
        time_series(
            "Memory of the neuron",
            "bytes",
            (f'process_resident_memory_bytes{{job="cortex-neuron", {HERE}}}', "{{node}}"),
            about="Engines are not in it.",
            width=QUARTER,
        ),
    )
