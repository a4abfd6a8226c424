"""Reads the catalogue, ``models.toml``: which models there are and how each is to be served.

An entry may stand in a group, whose keys are laid under its own, and may have tables named after harnesses. Checks what
can be checked without a fleet: shapes, limits, names that clash. Whether a profile fits anywhere is the fleet's
question. All faults of a file are told at once, since an operator mends them in one go.
"""

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cortex.contract.error import ConfigError
from cortex.contract.profile import Profile, Variant
from cortex.gateway.profile_check import faults_of
from cortex.kit.place import is_closed
from cortex.kit.settings import merge, read_toml
from cortex.kit.strict import convert, did_you_mean

DEFAULT_NAME = "models.toml"

_KEYS = {field.encode_name for field in msgspec.structs.fields(Profile)} - {"variants"}
"""What may stand in an entry; a table of another name is named after a harness."""
_OF_ONE_MODEL = ("id", "aliases", "group")
"""What a group cannot say for its models."""


def catalogue_path(models: str | None, config: Path | None) -> Path | None:
    """Return where the catalogue is, or would be: what ``[gateway] models`` names, else beside ``config``."""
    if models is not None:
        return Path(models)
    return config.parent / DEFAULT_NAME if config is not None else None


def load_catalogue(models: str | None, config: Path | None, *, must_exist: bool = False) -> tuple[Profile, ...]:
    """Return the profiles of the file at ``catalogue_path``.

    A default file that is not there is an empty catalogue unless it ``must_exist``; a named one that is not there is an
    error.

    Raises: ConfigError with one line per fault.
    """
    path = catalogue_path(models, config)
    if path is None or (models is None and not must_exist and not os.path.exists(path) and not is_closed(path)):
        return ()
    if not os.path.isfile(path):
        named = "" if models is None else " (named by [gateway] models)"
        why = "not a file" if os.path.exists(path) else "no such file"
        if is_closed(path):
            why = "this user may not look for it there: Permission denied"
        raise ConfigError(f"{path}: {why}{named}", file=str(path))
    return read_catalogue(path)


def read_catalogue(path: Path) -> tuple[Profile, ...]:
    """Return the profiles of one file, in its order. Raises: ConfigError with one line per fault."""
    tree = read_toml(path)
    for key in tree:
        if key not in ("models", "groups"):
            hint = did_you_mean(key, ["models", "groups"]) or "; every entry stands under [[models]] or [[groups]]"
            raise ConfigError(f"{path}: {key}: unknown key{hint}", file=str(path), key=key)
    faults: list[str] = []
    groups = _groups(path, _entries(path, tree, "groups"), faults)
    profiles = []
    for number, entry in enumerate(_entries(path, tree, "models"), start=1):
        place = f"{path}: {_entry_name('models', number, entry)}"
        try:
            profiles.append(_profile(_in_group(entry, groups, place=place), place=place))
        except ConfigError as exc:
            faults.append(exc.message)
    faults += [f"{path}: {fault}" for fault in _clashes(profiles)]
    if faults:
        raise ConfigError("\n".join(faults), file=str(path))
    return tuple(profiles)


def _entries(path: Path, tree: Mapping[str, Any], key: str) -> list[object]:
    entries = tree.get(key, [])
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: {key}: expected [[{key}]] (two brackets), got [{key}]", file=str(path))
    return entries


def _entry_name(kind: str, number: int, entry: object) -> str:
    named = str(entry.get("id" if kind == "models" else "name") or "") if isinstance(entry, dict) else ""
    shown = named if named.isprintable() else repr(named)
    return f"[[{kind}]] entry {number} ({shown})" if named else f"[[{kind}]] entry {number}"


def _groups(path: Path, entries: list[object], faults: list[str]) -> dict[str, dict[str, Any]]:
    """Return the keys of every group by its name, checked like a model's; a faulty one lends no keys."""
    groups: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"{path}: {_entry_name('groups', number, entry)}"
        name, keys = _name_and_keys(entry)
        fault = _group_fault(name, keys, groups, place)
        if fault is not None:
            faults.append(fault)
        if isinstance(name, str):
            # Of a faulty group only the group is to be told, not that each of its models lacks a harness.
            groups[name] = keys if fault is None else {"harness": "-"}
    return groups


def _name_and_keys(entry: object) -> tuple[object, dict[str, Any]]:
    if not isinstance(entry, dict):
        return None, {}
    return entry.get("name"), {key: value for key, value in entry.items() if key != "name"}


def _group_fault(name: object, keys: dict[str, Any], known: Mapping[str, Any], place: str) -> str | None:
    if not isinstance(name, str) or not name or name != name.strip():
        return f"{place}: name: expected text without blanks around it"
    if name in known:
        return f"{place}: name: '{name}' stands twice; a name means one group"
    for key in _OF_ONE_MODEL:
        if key in keys:
            return f"{place}: {key}: belongs to one model, not to a group"
    try:
        _profile({"id": "-", "harness": "-"} | keys, place=place)
    except ConfigError as exc:
        return exc.message
    return None


def _in_group(entry: object, groups: Mapping[str, dict[str, Any]], *, place: str) -> object:
    """Return an entry with the keys of its group under its own: tables are merged, all else is the entry's."""
    group = entry.get("group") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(group, str):
        return entry
    if group not in groups:
        hint = did_you_mean(group, groups)
        raise ConfigError(f"{place}: group: no [[groups]] entry has the name '{group}'{hint}")
    whole = copy.deepcopy(groups[group])
    merge(whole, entry)
    return whole


def _profile(entry: object, *, place: str) -> Profile:
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: expected a table")
    tables = {key: value for key, value in entry.items() if key not in _KEYS and isinstance(value, dict)}
    profile = convert({key: value for key, value in entry.items() if key not in tables}, Profile, source=place)
    variants = {name: convert(table, Variant, source=f"{place}: {name}") for name, table in tables.items()}
    profile = msgspec.structs.replace(profile, variants=variants)
    for fault in faults_of(profile):
        raise ConfigError(f"{place}: {fault}")
    return profile


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
