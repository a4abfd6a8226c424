"""The commands with which an operator steers the fleet, through the gateway's admin API."""

import os
from typing import Annotated

import typer

from cortex.cli.failure import FAILED, told
from cortex.cli.option import GATEWAY_URL, Json, Model, Node, NodeName, Url

WHAT_IF = "What if, instead of what the catalogue says"
Harness = Annotated[
    str | None, typer.Option(help="Its harness; for a model not in the catalogue too.", rich_help_panel=WHAT_IF)
]
VramMb = Annotated[int | None, typer.Option(min=1, help="MiB that it needs.", rich_help_panel=WHAT_IF)]
MinDevices = Annotated[int | None, typer.Option(min=0, help="Devices that it needs.", rich_help_panel=WHAT_IF)]
MinDeviceVramMb = Annotated[
    int | None, typer.Option(min=0, help="MiB that each of its devices must have.", rich_help_panel=WHAT_IF)
]
Priority = Annotated[int | None, typer.Option(help="Its priority: a higher one wins.", rich_help_panel=WHAT_IF)]


def pin(model: Model, node: Node = None, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Keep a model on a node: nobody evicts it there."""
    _pin("cortex pin", model, node, url, pinned=True, as_json=as_json)


def unpin(
    model: Model,
    node: Node = None,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="Pinned or not, as the catalogue says.")] = False,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Let a model be evicted from a node again."""
    _pin("cortex unpin", model, node, url, pinned=None if catalogue else False, as_json=as_json)


def drain(node: NodeName, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Place nothing new on a node, and have it emptied: what is in use is loaded elsewhere first; nothing is cut."""
    _maintain("cortex drain", node, url, is_on=True, as_json=as_json)


def undrain(node: NodeName, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Use a node again."""
    _maintain("cortex undrain", node, url, is_on=False, as_json=as_json)


def explain(
    model: Model,
    harness: Harness = None,
    vram_mb: VramMb = None,
    min_devices: MinDevices = None,
    min_device_vram_mb: MinDeviceVramMb = None,
    priority: Priority = None,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Say for every node why a model would be loaded there or not."""
    from cortex.cli.client import gateway
    from cortex.cli.prospect import show_explanation

    what_if = _what_if(harness, vram_mb, min_devices, min_device_vram_mb, priority)
    with told("cortex explain", FAILED):
        show_explanation(gateway(url, os.environ), {"model": model, **what_if}, as_json=as_json)


def plan(
    model: Model,
    node: Node = None,
    harness: Harness = None,
    vram_mb: VramMb = None,
    min_devices: MinDevices = None,
    min_device_vram_mb: MinDeviceVramMb = None,
    priority: Priority = None,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Say what would happen if a model was asked for now, without doing it."""
    from cortex.cli.client import gateway
    from cortex.cli.prospect import show_plan

    what_if = _what_if(harness, vram_mb, min_devices, min_device_vram_mb, priority)
    with told("cortex plan", FAILED):
        show_plan(gateway(url, os.environ), {"model": model, "node": node, **what_if}, as_json=as_json)


def callers(url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Show whose requests have caused loads and evictions."""
    from cortex.cli.client import gateway
    from cortex.cli.status import show_callers

    with told("cortex callers", FAILED):
        show_callers(gateway(url, os.environ), as_json=as_json)


def decisions(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until interrupted.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="So many of the newest.")] = 20,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only of this model, by id or alias.")] = None,
    node: Node = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, like eviction.")] = None,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Show what the gateway decided, and why."""
    from cortex.cli.client import gateway
    from cortex.cli.decision import follow_decisions, show_decisions

    with told("cortex decisions", FAILED):
        show = follow_decisions if follow else show_decisions
        show(gateway(url, os.environ), limit, {"model": model, "node": node, "kind": kind}, as_json=as_json)


def logs(
    model: Model,
    node: Node = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until its engine ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=2000, help="So many of the last.")] = 200,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Show what a model's engine wrote."""
    from cortex.cli.client import gateway
    from cortex.cli.log import follow_log, show_log

    with told("cortex logs", FAILED):
        (follow_log if follow else show_log)(gateway(url, os.environ), model, node, lines, as_json=as_json)


def usage(
    by: Annotated[
        str, typer.Option(metavar="WORDS", help="key, model, node, day, operation; several with commas between.")
    ] = "key,model",
    since: Annotated[str, typer.Option(metavar="WHEN", help="30m, 24h, 7d ago, or a day or time of UTC.")] = "7d",
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Default: now.")] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this key.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only of this model, by id.")] = None,
    node: Node = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Show what was used: requests, tokens, cold starts. Needs a gateway with a store."""
    from cortex.cli.client import gateway
    from cortex.cli.usage import show_usage
    from cortex.contract.error import ConfigError

    with told("cortex usage", FAILED):
        if as_csv and as_json:
            raise ConfigError("--csv and --json: choose one")
        asked = {"by": by, "since": since, "until": until, "key": key, "model": model, "node": node}
        show_usage(gateway(url, os.environ), asked, as_csv=as_csv, as_json=as_json)


def _what_if(
    harness: str | None,
    vram_mb: int | None,
    min_devices: int | None,
    min_device_vram_mb: int | None,
    priority: int | None,
) -> dict[str, object]:
    return {
        "harness": harness,
        "vram_mb": vram_mb,
        "min_devices": min_devices,
        "min_device_vram_mb": min_device_vram_mb,
        "priority": priority,
    }


def _pin(program: str, model: str, node: str | None, url: str, *, pinned: bool | None, as_json: bool) -> None:
    from cortex.cli.client import gateway
    from cortex.cli.steer import pin as run

    with told(program, FAILED):
        run(gateway(url, os.environ), model, node, pinned=pinned, as_json=as_json)


def _maintain(program: str, node: str, url: str, *, is_on: bool, as_json: bool) -> None:
    from cortex.cli.client import gateway
    from cortex.cli.steer import maintain

    with told(program, FAILED):
        maintain(gateway(url, os.environ), node, is_on=is_on, as_json=as_json)


COMMANDS = (pin, unpin, drain, undrain, explain, plan, decisions, logs, callers, usage)
