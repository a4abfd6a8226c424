"""The commands of ``cortex`` and their options; each one's work is in another module, imported when it is run."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cortex import __version__
from cortex.cli.failure import FAILED, told

app = typer.Typer(
    help="One OpenAI-compatible API in front of a fleet of GPU machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GATEWAY_URL = "http://127.0.0.1:8000"
NEURON_URL = "http://127.0.0.1:9090"
UNLOAD_TIMEOUT_S = 900
"""Longer than a neuron drains by default (300 s) and a GPU driver takes to give memory back."""

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of the configuration file found.")]
Url = Annotated[str, typer.Option(envvar="CORTEX_URL", metavar="URL", help="The gateway.")]
Neuron = Annotated[str, typer.Option(envvar="CORTEX_NEURON_URL", metavar="URL", help="The neuron.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's id.")]
Source = Annotated[str | None, typer.Option(metavar="PATH|hf:REPO[:FILE]", help="The model's file.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Default: a free one.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]


@app.callback(invoke_without_command=True)
def cortex(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        _print_version()
        raise typer.Exit


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def serve(options: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]")] = None) -> None:
    """Run the gateway: API on port 8000, metrics on port 9100."""
    from cortex.cli.serve import serve as run

    sys.exit(run(options or []))


@app.command()
def up(
    model: Annotated[
        str | None, typer.Option(metavar="PATH|hf:REPO[:FILE]", help="A GGUF model; default: the demo model.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the API listens.")] = 8000,
    neuron_port: Port = None,
    metrics_port: Port = None,
    engine_port: Port = None,
) -> None:
    """Run a whole fleet on this machine: one gateway, one neuron, one engine, one model."""
    from cortex.cli.up.command import up as run
    from cortex.cli.up.plan import Wish

    wish = Wish(model=model, port=port, neuron_port=neuron_port, metrics_port=metrics_port, engine_port=engine_port)
    with told("cortex up", FAILED):
        sys.exit(run(wish, os.environ))


@app.command()
def check(config: Config = None) -> None:
    """Check the gateway's configuration and catalogue, and say what it would run with."""
    from cortex.cli.serve import check as run

    sys.exit(run(config))


@app.command()
def status(url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Show the fleet: nodes, devices, and which model is where."""
    from cortex.cli.client import gateway
    from cortex.cli.status import show_status

    with told("cortex status", FAILED):
        show_status(gateway(url, os.environ), as_json=as_json)


@app.command()
def models(url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """List every model that can be asked for."""
    from cortex.cli.client import gateway
    from cortex.cli.status import show_models

    with told("cortex models", FAILED):
        show_models(gateway(url, os.environ), as_json=as_json)


@app.command()
def load(
    model: Model,
    neuron: Neuron = NEURON_URL,
    harness: Annotated[str | None, typer.Option(help="Default: the node's only one.")] = None,
    source: Source = None,
    quant: Annotated[str | None, typer.Option(help="Quantisation, like Q4_K_M.")] = None,
    vram_mb: Annotated[int | None, typer.Option(min=1, help="MiB it needs; default: estimated.")] = None,
    device: Annotated[list[int] | None, typer.Option(help="Index of a device; may be repeated.")] = None,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of context per request.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Requests at a time.")] = None,
    wait: Wait = True,
) -> None:
    """Load a model on one node, past the gateway."""
    from cortex.cli.client import neuron as server_at
    from cortex.cli.load import load as run
    from cortex.cli.load import only_harness
    from cortex.contract.instance import LoadRequest

    with told("cortex load", FAILED):
        server = server_at(neuron, os.environ)
        request = LoadRequest(
            model_id=model,
            harness=harness or only_harness(server),
            source=source,
            quant=quant,
            vram_mb=vram_mb,
            devices=tuple(device) if device else None,
            context=context,
            parallel=parallel,
        )
        run(server, request, wait=wait)


@app.command()
def unload(
    model: Model,
    neuron: Neuron = NEURON_URL,
    force: Annotated[bool, typer.Option("--force", help="Cut running requests after the drain limit.")] = False,
    wait: Wait = True,
) -> None:
    """Unload a model from one node, past the gateway."""
    from cortex.cli.client import neuron as server_at
    from cortex.cli.load import unload as run
    from cortex.contract.instance import UnloadRequest

    with told("cortex unload", FAILED):
        server = server_at(neuron, os.environ, timeout_s=UNLOAD_TIMEOUT_S)
        run(server, UnloadRequest(model_id=model, force=force, wait=wait))


@app.command()
def version() -> None:
    """Print the version."""
    _print_version()


def _print_version() -> None:
    print(f"cortex {__version__}")
