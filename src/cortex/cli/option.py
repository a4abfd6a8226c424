"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cortex.cli.completion import complete_model, complete_node

GATEWAY_URL = "http://127.0.0.1:8000"
NEURON_URL = "http://127.0.0.1:9090"
PAST = "Past the gateway, on one neuron"
"""Heading of the options that are a neuron's."""

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of the configuration file found.")]
Url = Annotated[str, typer.Option(envvar="CORTEX_URL", metavar="URL", help="The gateway.")]
Neuron = Annotated[
    str | None,
    typer.Option(envvar="CORTEX_NEURON_URL", metavar="URL", help="The neuron.", rich_help_panel=PAST),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's id or alias.", autocompletion=complete_model)]
Node = Annotated[str | None, typer.Option(metavar="NODE", help="The node's name.", autocompletion=complete_node)]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.", autocompletion=complete_node)]
Source = Annotated[
    str | None, typer.Option(metavar="PATH|hf:REPO[:FILE]", help="The model's file.", rich_help_panel=PAST)
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Default: a free one.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
