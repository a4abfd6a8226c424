"""The commands of ``cortex`` and their options; each one's work is in another module, imported when it is run."""

import os
import sys
from typing import Annotated

import typer

from cortex import __version__
from cortex.cli.completion_command import completion
from cortex.cli.doctor_command import doctor
from cortex.cli.failure import FAILED, told
from cortex.cli.fleet_command import COMMANDS
from cortex.cli.key_command import keys
from cortex.cli.option import GATEWAY_URL, NEURON_URL, PAST, Config, Json, Model, Neuron, Node, Port, Source, Url, Wait
from cortex.cli.top_command import top

app = typer.Typer(
    help="One OpenAI-compatible API in front of a fleet of GPU machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

UNLOAD_TIMEOUT_S = 900
"""Longer than a neuron drains by default (300 s) and a GPU driver takes to give memory back."""
LOOK_TIMEOUT_S = 5
"""For the question how far a load is."""
LOAD_TIMEOUT_S = 7200
"""Longer than a gateway lets anybody wait for a load by default (1800 s)."""


@app.callback(invoke_without_command=True)
def cortex(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    key_file: Annotated[
        str | None,
        typer.Option(envvar="CORTEX_API_KEY_FILE", metavar="FILE", help="Holds the key to show to the gateway."),
    ] = None,
) -> None:
    if key_file is not None:
        os.environ["CORTEX_API_KEY_FILE"] = key_file
    if version:
        _print_version("cortex --version")
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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the API listens; 0: any free port.")] = 8000,
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
def check(
    config: Config = None,
    neurons: Annotated[
        bool, typer.Option("--neurons", help="Ask the neurons, too, and say what does not fit them.")
    ] = False,
) -> None:
    """Check the gateway's configuration and catalogue, and say what it would run with."""
    from cortex.cli.serve import check as run

    sys.exit(run(config, asks_neurons=neurons))


@app.command()
def status(url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Show the fleet: nodes, devices, which model is where. Exit code 0: all nodes are healthy, 1: some, 2: none."""
    from cortex.cli.client import gateway
    from cortex.cli.status import STATES, show_status

    with told("cortex status", STATES["down"]):
        code = show_status(gateway(url, os.environ), as_json=as_json)
    raise typer.Exit(code)


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
    node: Node = None,
    wait: Wait = True,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
    neuron: Neuron = None,
    harness: Annotated[str | None, typer.Option(help="Default: the node's only one.", rich_help_panel=PAST)] = None,
    source: Source = None,
    quant: Annotated[str | None, typer.Option(help="Quantisation, like Q4_K_M.", rich_help_panel=PAST)] = None,
    vram_mb: Annotated[
        int | None, typer.Option(min=1, help="MiB it needs; default: estimated.", rich_help_panel=PAST)
    ] = None,
    device: Annotated[
        list[int] | None, typer.Option(help="Index of a device; may be repeated.", rich_help_panel=PAST)
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="Tokens of context per request.", rich_help_panel=PAST)
    ] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Requests at a time.", rich_help_panel=PAST)] = None,
) -> None:
    """Load a model where it fits best, or on one node; or on one neuron, past the gateway and its catalogue."""
    import msgspec

    from cortex.cli import client, steer
    from cortex.cli.load import load as run
    from cortex.cli.load import only_harness
    from cortex.contract.instance import LoadRequest

    wanted = LoadRequest(
        model_id=model,
        harness=harness or "",
        source=source,
        quant=quant,
        vram_mb=vram_mb,
        devices=tuple(device) if device else None,
        context=context,
        parallel=parallel,
    )
    with told("cortex load", FAILED):
        if neuron is None and wanted == LoadRequest(model_id=model, harness=""):
            timeout_s = LOAD_TIMEOUT_S if wait else client.TIMEOUT_S
            server, looks = client.gateway(url, os.environ, timeout_s), client.gateway(url, os.environ, LOOK_TIMEOUT_S)
            steer.load(server, model, node, wait=wait, as_json=as_json, looks=looks)
            return
        _check_past(node, as_json)
        server = client.neuron(neuron or NEURON_URL, os.environ)
        run(server, msgspec.structs.replace(wanted, harness=harness or only_harness(server)), wait=wait)


@app.command()
def unload(
    model: Model,
    node: Node = None,
    force: Annotated[bool, typer.Option("--force", help="Cut running requests after the drain limit.")] = False,
    wait: Wait = True,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
    neuron: Neuron = None,
) -> None:
    """Unload a model from a node; or from one neuron, past the gateway."""
    from cortex.cli import client, steer
    from cortex.cli.load import unload as run
    from cortex.contract.instance import UnloadRequest

    with told("cortex unload", FAILED):
        if neuron is None:
            server = client.gateway(url, os.environ, UNLOAD_TIMEOUT_S)
            steer.unload(server, model, node, force=force, wait=wait, as_json=as_json)
            return
        _check_past(node, as_json)
        server = client.neuron(neuron, os.environ, UNLOAD_TIMEOUT_S)
        run(server, UnloadRequest(model_id=model, force=force, wait=wait))


def _check_past(node: str | None, as_json: bool) -> None:
    """Raise ConfigError for options that mean nothing past the gateway."""
    from cortex.contract.error import ConfigError

    given = [name for name, value in (("--node", node), ("--json", as_json)) if value]
    if given:
        raise ConfigError(f"{' and '.join(given)}: not with a neuron or with what only a neuron is told")


for _command in COMMANDS:
    app.command()(_command)
app.command()(top)
app.command()(doctor)
app.command()(completion)
app.add_typer(keys, name="keys")


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def replay(options: Annotated[list[str] | None, typer.Argument(metavar="TRACE [OPTIONS]")] = None) -> None:
    """Play recorded requests on a simulated fleet: what would one more GPU change?"""
    from cortex.cli.replay import replay as run

    run(options or [])


@app.command()
def version() -> None:
    """Print the version."""
    _print_version("cortex version")


def _print_version(program: str) -> None:
    with told(program):
        print(f"cortex {__version__}")
