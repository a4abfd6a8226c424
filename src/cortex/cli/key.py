"""What ``cortex keys`` does through the gateway's admin API, and how it shows keys.

A new secret is all that goes to standard output, so that a script can keep it; what is said about it goes to the other.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from cortex.cli.client import Server
from cortex.cli.json_output import print_json
from cortex.cli.table import show
from cortex.contract.error import ConfigError
from cortex.contract.key import KeyMade, KeyWish

API = "/admin/v1/keys"
DAY_S = 86400.0


def wish(
    name: str,
    scope: str | None,
    models: Sequence[str],
    days: float | None,
    limits: Mapping[str, int | None] = MappingProxyType({}),
    queue_priority: int = 0,
) -> KeyWish:
    """Return what is asked for. Raises: ConfigError."""
    asked: dict[str, object] = {"name": name, "scope": scope or "inference", "models": models}
    asked |= {"queue_priority": queue_priority, "limits": dict(limits)}
    if days is not None:
        asked["expires_in_s"] = days * DAY_S
    try:
        return msgspec.convert(asked, KeyWish)
    except msgspec.ValidationError as exc:
        if "`$.name`" in str(exc):
            words = "a name has up to 64 letters, digits and . _ @ + -, a letter or a digit first"
            raise ConfigError(f"such a key cannot be made: {words}") from None
        raise ConfigError(f"such a key cannot be made: {exc}") from None


def create(gateway: Server, wanted: KeyWish, *, as_json: bool) -> None:
    """Make a key, and show its secret."""
    _show_said(gateway.post(API, wanted), as_json=as_json)


def show_keys(gateway: Server, *, as_json: bool) -> None:
    """Show all keys."""
    said = gateway.get(API, holds=("keys",))
    if as_json:
        print_json(said)
        return
    header = ("ID", "NAME", "SECRET", "SCOPE", "MODELS", "LIMITS", "CREATED", "EXPIRES", "REVOKED")
    show(header, [_row(key) for key in said["keys"]])
    if not said["keys"]:
        _tell("there is no key: trusted networks need none; the first is made by cortex keys create NAME --admin")


def show_limits(gateway: Server, named: str, *, as_json: bool) -> None:
    """Show how the limits of a key stand."""
    said = gateway.get(f"{API}/{_id_of(gateway, named)}/limits", holds=("limits",))
    if as_json:
        print_json(said)
        return
    rows = [
        (use["limit"], use["bound"], use["used"], use["held"], _ahead(use["resets_in_s"])) for use in said["limits"]
    ]
    show(("LIMIT", "BOUND", "USED", "HELD", "RESETS IN"), rows)
    if not rows:
        _tell(f"{said['name']} has no limits")


def revoke(gateway: Server, named: str, *, as_json: bool) -> None:
    """End a key."""
    said = gateway.post(f"{API}/{_id_of(gateway, named)}/revoke", {})
    if as_json:
        print_json(said)
    else:
        print(f"{said['id']} ({said['name']}) is revoked")


def rotate(gateway: Server, named: str, *, as_json: bool) -> None:
    """Give a key another secret, and show that."""
    _show_said(gateway.post(f"{API}/{_id_of(gateway, named)}/rotate", {}), as_json=as_json)


def show_made(made: KeyMade, *, as_json: bool) -> None:
    """Show a new secret."""
    if as_json:
        print_json(made)
        return
    _tell(f"{made.key.id} ({made.key.name}, {made.key.scope}): its secret is not shown again")
    print(made.secret)


def _show_said(said: object, *, as_json: bool) -> None:
    show_made(msgspec.convert(said, KeyMade), as_json=as_json)


def _id_of(gateway: Server, named: str) -> str:
    """Return the id in a path's words of the key that goes by an id or a name. Raises: ConfigError."""
    known = gateway.get(API, holds=("keys",))["keys"]
    if any(key["id"] == named for key in known):
        return quote(named, safe="")
    called = [key for key in known if key["name"] == named]
    ids = [key["id"] for key in called if key["revoked_s"] is None]
    if len(ids) > 1:
        raise ConfigError(f"{len(ids)} keys are named '{named}': say which by its id, one of {', '.join(ids)}")
    if ids:
        return quote(ids[0], safe="")
    if called:
        revoked = ", ".join(key["id"] for key in called)
        raise ConfigError(f"'{named}' is revoked: such a key goes by its id ({revoked})")
    raise ConfigError(f"no key has the name or id '{named}': cortex keys list shows all")


def _tell(text: str) -> None:
    """Say something to the person, beside what a script reads."""
    print(text, file=sys.stderr)


def _row(key: Mapping[str, Any]) -> tuple[object, ...]:
    models = ", ".join(key["models"]) or "all"
    times = (_day(key[name]) for name in ("created_s", "expires_s", "revoked_s"))
    limits = ", ".join(f"{name}={bound}" for name, bound in key["limits"].items() if bound is not None)
    return (key["id"], key["name"], f"{key['shown']}…", key["scope"], models, limits or "none", *times)


def _ahead(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}h {rest // 60:02}m" if hours else f"{rest // 60}m {rest % 60:02}s"


def _day(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch_s))
