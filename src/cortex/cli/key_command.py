"""``cortex keys``: the commands and their options; the work is in ``key.py`` and ``key_host.py``."""

import os
from typing import Annotated

import typer

from cortex.cli.failure import FAILED, told
from cortex.cli.option import GATEWAY_URL, Config, Json, Url

keys = typer.Typer(
    help="Who may ask the gateway, and for what.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

KeyNamed = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its name if no other has it.")]

Limit = Annotated[int | None, typer.Option(metavar="NUMBER", min=0, help="Over all gateways; default: no limit.")]


@keys.command("list")
def list_keys(url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Show all keys, those too that do not hold any more; secrets are never shown again."""
    from cortex.cli import key
    from cortex.cli.client import gateway

    with told("cortex keys list", FAILED):
        key.show_keys(gateway(url, os.environ), as_json=as_json)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; stands in the access log.")],
    admin: Annotated[
        bool,
        typer.Option(
            "--admin", help="For operators, made in the store itself, on its host: how the first one is made."
        ),
    ] = False,
    scope: Annotated[str | None, typer.Option(metavar="inference|admin", help="Default: inference.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Only this one, by id or alias, * for any characters; may be repeated."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="It expires after so many; default: never.")] = None,
    requests_per_min: Limit = None,
    tokens_per_min: Limit = None,
    tokens_per_day: Limit = None,
    tokens_per_month: Limit = None,
    concurrent_requests: Limit = None,
    cold_starts_per_day: Limit = None,
    queue_priority: Annotated[int, typer.Option(help="Added to the model's own; who has more waits less.")] = 0,
    config: Config = None,
    url: Url = GATEWAY_URL,
    as_json: Json = False,
) -> None:
    """Make a key, and print its secret, which is not kept."""
    from cortex.cli import key

    with told("cortex keys create", FAILED):
        limits = {
            "requests_per_min": requests_per_min,
            "tokens_per_min": tokens_per_min,
            "tokens_per_day": tokens_per_day,
            "tokens_per_month": tokens_per_month,
            "concurrent_requests": concurrent_requests,
            "cold_starts_per_day": cold_starts_per_day,
        }
        wish = key.wish(name, "admin" if admin else scope, model or [], days, limits, queue_priority)
        if admin:
            from cortex.cli.key_host import make_key

            key.show_made(make_key(config, wish), as_json=as_json)
        else:
            from cortex.cli.client import gateway

            key.create(gateway(url, os.environ), wish, as_json=as_json)


@keys.command()
def revoke(named: KeyNamed, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """End a key for good, on every gateway."""
    from cortex.cli import key
    from cortex.cli.client import gateway

    with told("cortex keys revoke", FAILED):
        key.revoke(gateway(url, os.environ), named, as_json=as_json)


@keys.command()
def rotate(named: KeyNamed, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Give a key another secret, and print it; the one before holds no longer."""
    from cortex.cli import key
    from cortex.cli.client import gateway

    with told("cortex keys rotate", FAILED):
        key.rotate(gateway(url, os.environ), named, as_json=as_json)


@keys.command()
def limits(named: KeyNamed, url: Url = GATEWAY_URL, as_json: Json = False) -> None:
    """Show the limits of a key: how much of each is used, and how much gateways hold for what is running and next."""
    from cortex.cli import key
    from cortex.cli.client import gateway

    with told("cortex keys limits", FAILED):
        key.show_limits(gateway(url, os.environ), named, as_json=as_json)
