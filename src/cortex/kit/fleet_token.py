"""The credential that a neuron asks for and gateways show it: from a file that the settings name, else from around.

Around is first the service manager's ``cortex.fleet-token`` (``credential.py``), then ``$CORTEX_FLEET_TOKEN``, for
those whose secrets come in the environment. Engines inherit none of it (``neuron/environment.py``).
"""

from collections.abc import Mapping

from cortex.contract.error import ConfigError
from cortex.kit.credential import FLEET_TOKEN, credential_file
from cortex.kit.plain_file import read_plain

VARIABLE = "CORTEX_FLEET_TOKEN"


def fleet_token(file: str | None, env: Mapping[str, str], *, where: str = "token_file") -> str | None:
    """Return the credential, None where there is none. ``where``: what names the file. Raises: ConfigError."""
    given = credential_file(FLEET_TOKEN, env) if file is None else None
    if given is not None:
        file, where = str(given), "credential"
    if file is None:
        said = env.get(VARIABLE)
        return _checked(said, f"${VARIABLE}: expected a credential, the variable") if said else None
    try:
        said = read_plain(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where} {file}: cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}", path=file
        ) from error
    return _checked(said, f"{where} {file}: expected a credential, the file")


def has_fleet_token(file: str | None, env: Mapping[str, str]) -> bool:
    """Tell whether a credential is configured, whatever is in it."""
    return bool(file or credential_file(FLEET_TOKEN, env) or env.get(VARIABLE))


def _checked(said: str, about: str) -> str:
    token = said.strip()
    if not token:
        raise ConfigError(f"{about} is empty")
    if not token.isprintable():  # a header has no room for a second line
        raise ConfigError(f"{about} has more than one line, or characters that cannot be shown")
    return token
