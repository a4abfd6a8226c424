"""Reads the catalogue, ``models.toml``: which models there are and how each is to be served.

Checks what can be checked without a fleet: shapes, limits, names that clash. Whether a profile fits anywhere is the
fleet's question. All faults of a file are told at once, since an operator mends them in one go.
"""

from collections.abc import Iterator
from pathlib import Path

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile
from cortex.dialects.openai_request import MAX_MODEL_CHARS
from cortex.kit.settings import read_toml
from cortex.kit.strict import convert, did_you_mean

DEFAULT_NAME = "models.toml"

_ABOVE_ZERO = ("vram_mb", "context", "parallel", "max_replicas", "idle_unload_s")
_NOT_BELOW_ZERO = ("min_devices", "min_device_vram_mb", "min_replicas", "min_residency_s")
_NOT_BLANK = ("id", "harness", "quant", "source", "mmproj", "images_workflow")
_LISTS_NOT_BLANK = ("aliases", "pinned_on", "capabilities")


def load_catalogue(models: str | None, config: Path | None, *, must_exist: bool = False) -> tuple[Profile, ...]:
    """Return the profiles of the file that ``[gateway] models`` names, else of ``models.toml`` beside ``config``.

    A default file that is not there is an empty catalogue unless it ``must_exist``; a named one that is not there is an
    error.

    Raises: ConfigError with one line per fault.
    """
    if models is not None:
        named = Path(models)
        if not named.is_file():
            raise ConfigError(f"{named}: no such file (named by [gateway] models)", file=models)
        return read_catalogue(named)
    beside = config.parent / DEFAULT_NAME if config is not None else None
    if beside is None or not (must_exist or beside.exists()):
        return ()
    if not beside.is_file():
        raise ConfigError(f"{beside}: {'not a file' if beside.exists() else 'no such file'}", file=str(beside))
    return read_catalogue(beside)


def read_catalogue(path: Path) -> tuple[Profile, ...]:
    """Return the profiles of one file, in its order. Raises: ConfigError with one line per fault."""
    tree = read_toml(path)
    for key in tree:
        if key != "models":
            hint = did_you_mean(key, ["models"]) or "; every entry stands under [[models]]"
            raise ConfigError(f"{path}: {key}: unknown key{hint}", file=str(path), key=key)
    entries = tree.get("models", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: models: expected [[models]] (two brackets), got [models]", file=str(path))
    profiles, faults = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            profiles.append(_profile(entry, place=f"{path}: {_entry_name(number, entry)}"))
        except ConfigError as exc:
            faults.append(exc.message)
    faults += [f"{path}: {fault}" for fault in _clashes(profiles)]
    if faults:
        raise ConfigError("\n".join(faults), file=str(path))
    return tuple(profiles)


def _entry_name(number: int, entry: object) -> str:
    named = str(entry.get("id") or "") if isinstance(entry, dict) else ""
    shown = named if named.isprintable() else repr(named)
    return f"[[models]] entry {number} ({shown})" if named else f"[[models]] entry {number}"


def _profile(entry: object, *, place: str) -> Profile:
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: expected a table")
    profile = convert(entry, Profile, source=place)
    for fault in _faults(profile):
        raise ConfigError(f"{place}: {fault}")
    return profile


def _faults(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with one profile by itself."""
    for key in _NOT_BLANK:
        value = getattr(profile, key)
        if value is not None and (not value or value != value.strip()):
            yield f"{key}: expected text without blanks around it, got '{value}'"
    for key in _LISTS_NOT_BLANK:
        for value in getattr(profile, key):
            if not value or value != value.strip():
                yield f"{key}: expected text without blanks around it, got '{value}'"
    for key, names in (("id", (profile.id,)), ("aliases", profile.aliases)):
        for name in names:
            if not name.isprintable():
                yield f"{key}: expected printable text, got {name!r}"
            if len(name) > MAX_MODEL_CHARS:
                yield f"{key}: expected at most {MAX_MODEL_CHARS} characters, got {len(name)}"
    for key in _ABOVE_ZERO:
        value = getattr(profile, key)
        if value is not None and not value > 0:  # nan is neither
            yield f"{key}: expected a number above 0, got {value}"
    for key in _NOT_BELOW_ZERO:
        value = getattr(profile, key)
        if value is not None and not value >= 0:
            yield f"{key}: expected 0 or more, got {value}"
    if profile.max_replicas is not None and profile.max_replicas < profile.min_replicas:
        yield f"max_replicas: expected at least min_replicas ({profile.min_replicas}), got {profile.max_replicas}"


def _clashes(profiles: list[Profile]) -> Iterator[str]:
    """Yield each name that would mean two models. A name is an id or an alias; both are asked for alike."""
    owner = {}
    for profile in profiles:
        if profile.id in owner:
            yield f"id '{profile.id}' stands twice; an id names one model"
        owner[profile.id] = profile.id
    for profile in profiles:
        for alias in profile.aliases:
            if alias in owner:
                whose = "its own id" if owner[alias] == profile.id == alias else f"a name of {owner[alias]} already"
                yield f"{profile.id}: aliases: '{alias}' is {whose}"
            owner.setdefault(alias, profile.id)
