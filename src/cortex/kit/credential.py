"""Secrets that the service manager hands to a daemon: files by name in ``$CREDENTIALS_DIRECTORY``.

The units of both daemons ask for those named here (``LoadCredential=``), and start without them as well. What each is
for is said where it is used. Source: systemd.exec(5), "CREDENTIALS"; tried with systemd 252.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cortex.contract.error import ConfigError
from cortex.kit.plain_file import read_plain

VARIABLE = "CREDENTIALS_DIRECTORY"
GIVEN = Path("run/credentials")
"""Below it is a folder for each running unit that has any, for root and the unit's user."""
STORE = Path("etc/credstore")
"""Where units find those that they ask for by name alone; for root only."""
CONFIG = Path("etc/cortex")

FLEET_TOKEN = "cortex.fleet-token"
STORE_URL = "cortex.store-url"
TLS_CERT = "cortex.tls-cert"
TLS_KEY = "cortex.tls-key"


class Place(NamedTuple):
    """Which setting a credential is: its path, or with ``is_text`` what is in it."""

    keys: tuple[str, ...]
    is_text: bool = False


def credential_file(name: str, env: Mapping[str, str]) -> Path | None:
    """Return the file of a credential; None where there is none, or where this user may not know."""
    folder = env.get(VARIABLE)
    if not folder:
        return None
    file = Path(folder) / name
    try:
        return file if file.exists() else None
    except OSError:
        return None


def settings_of(places: Mapping[str, Place], env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the settings that credentials make, each with what it is to be called. Raises: ConfigError."""
    for name, found in places.items():
        file = credential_file(name, env)
        if file is not None:
            yield f"credential {name}", found.keys, _text(name, file) if found.is_text else str(file)


def is_credential(path: Path, env: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Tell whether a file is one that the service manager has put there, who sees to it that only its unit reads it."""
    folders = [root / GIVEN, *([Path(env[VARIABLE])] if env.get(VARIABLE) else ())]
    return any(path.is_relative_to(folder) for folder in folders)


def as_the_unit(env: Mapping[str, str], unit: str, config: Path | None, root: Path = Path("/")) -> Mapping[str, str]:
    """Return the environment with the credentials that a unit has, or would have, for who looks at its configuration.

    Only where this user may read them; those of a unit are none of another configuration's business.
    """
    if env.get(VARIABLE) or config is None or not config.absolute().is_relative_to(root / CONFIG):
        return env
    folders = (root / GIVEN / unit, root / STORE)
    found = next((folder for folder in folders if _has_files(folder)), None)
    return env if found is None else {**env, VARIABLE: str(found)}


def _has_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _text(name: str, file: Path) -> str:
    try:
        text = read_plain(file).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"credential {name}: {file}: cannot be read: {why}", path=str(file)) from error
    if not text:
        raise ConfigError(f"credential {name}: {file}: expected a value, the file is empty", path=str(file))
    if not text.isprintable():
        raise ConfigError(f"credential {name}: {file}: expected one line of text", path=str(file))
    return text
