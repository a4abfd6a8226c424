"""Loads a settings struct from a TOML file, with more such files and environment variables laid over it.

Knows nothing of what the settings mean: a kind is a ``msgspec.Struct(frozen=True, kw_only=True,
forbid_unknown_fields=True)`` whose fields all have defaults; ``kit/strict.py`` does the checking. The environment is
an argument; nothing is read that was not handed in.
"""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as shape

from cortex.contract.error import ConfigError
from cortex.kit.credential import Place, settings_of
from cortex.kit.plain_file import read_plain
from cortex.kit.strict import convert, did_you_mean, reject_unknown

T = TypeVar("T", bound=msgspec.Struct)

NOT_SETTINGS = frozenset(
    (
        *("CORTEX_CONFIG", "CORTEX_NEURON_CONFIG", "CORTEX_URL", "CORTEX_NEURON_URL"),
        *("CORTEX_API_KEY", "CORTEX_API_KEY_FILE", "CORTEX_FLEET_TOKEN"),
    )
)
"""Variables of ours that set no key of a file: where the file or a server is, and credentials."""

FOREIGN_PREFIXES = ("CORTEX_NEURON_",)
"""Prefixes of other daemons, which a loader with a shorter prefix passes over."""

SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)(_|$)")
"""Kubernetes puts CORTEX_SERVICE_HOST, CORTEX_PORT=tcp://… and the like into every pod beside a service "cortex"
(its page "Service", under "Environment variables")."""

_COLLECTIONS = (shape.ListType, shape.VarTupleType, shape.TupleType, shape.DictType, shape.StructType)
_SCALARS: dict[type[shape.Type], tuple[type, str]] = {
    shape.IntType: (int, "a whole number"),
    shape.FloatType: (float, "a number"),
    shape.BoolType: (bool, "true or false"),
}


def find_config(
    name: str,
    *,
    explicit: Path | None,
    env: Mapping[str, str],
    env_key: str,
    cwd: Path,
    home: Path,
    etc: Path = Path("/etc/cortex"),
) -> Path | None:
    """Return the first of: ``explicit``, ``$env_key``, ``./name``, ``~/.config/cortex/name``, ``/etc/cortex/name``.

    The current directory and the home may be somebody else's (``sudo -u``): what this user may not look into is passed
    over there.

    Raises: ConfigError when what was named outright is no file, or when this user may not look into ``etc``; in its
    cause there is a PermissionError where another user may see more.
    """
    for source, named in (("--config", explicit), (f"${env_key}", env.get(env_key))):
        if named:
            path = Path(named)
            if (why := _why_no_file(path)) is not None:
                raise ConfigError(f"{path}: {why} (named by {source})", file=str(path)) from _cause(path, why)
            return path
    for place in (cwd / name, home / ".config" / "cortex" / name):
        if _why_no_file(place) is None:
            return place
    place = etc / name
    why = _why_no_file(place)
    if why == _NOT_ALLOWED:
        raise ConfigError(f"{place}: {why}", file=str(place)) from _cause(place, why)
    return place if why is None else None


def _cause(path: Path, why: str) -> OSError | None:
    """Return what says that another user may see more."""
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) if why == _NOT_ALLOWED else None


_NOT_ALLOWED = "this user may not look for it there: Permission denied"


def _why_no_file(path: Path) -> str | None:
    """Return why there is no file to be read at ``path``; None: there is one, whoever may read it."""
    try:
        mode = os.stat(path).st_mode  # of Python's own questions some raise what others answer, by version
    except PermissionError:
        return _NOT_ALLOWED
    except (OSError, ValueError):
        return "no such file"
    if stat.S_ISFIFO(mode):
        return "a pipe, which can be read only once; it is read again at a reload: write it to a file"
    return None if stat.S_ISREG(mode) else "not a file"


def drop_ins(path: Path | None, folder: str) -> list[Path]:
    """Return the files ``*.toml`` in the folder of that name beside the file at ``path``, in the order of their names.

    Hidden ones, which editors leave, are passed over.

    Raises: ConfigError for a folder that may not be read.
    """
    if path is None:
        return []
    place = path.parent / folder
    try:
        names = os.listdir(place)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise ConfigError(f"{place}: cannot be read: {exc.strerror}", file=str(place)) from exc
    return [place / name for name in sorted(names) if name.endswith(".toml") and not name.startswith(".")]


def load_settings(
    kind: type[T],
    *,
    path: Path | None,
    env: Mapping[str, str],
    env_prefix: str,
    folder: str | None = None,
    credentials: Mapping[str, Place] | None = None,
) -> T:
    """Return ``kind`` filled from the file at ``path`` (None: no file), environment over it, defaults under it.

    ``folder`` names a folder beside that file, whose files are laid over it in the order of their names: tables are
    merged, everything else, lists too, is replaced. ``credentials`` names settings that the service manager may give,
    which go before the files.

    With the prefix ``CORTEX_`` the variable ``CORTEX_GATEWAY__LISTEN`` sets ``[gateway] listen``. Lists and tables
    are given as JSON; an empty variable sets an optional key to nothing.

    Raises: ConfigError for a file that cannot be read, an unknown key or variable, a value of the wrong type.
    """
    source = str(path) if path is not None else "(no file)"
    tree = read_toml(path) if path is not None else {}
    reject_unknown(tree, kind, source=source)
    origin: dict[str, str] = {}
    for file in drop_ins(path, folder) if folder is not None else []:
        more = read_toml(file)
        reject_unknown(more, kind, source=str(file))
        merge(tree, more)
        origin |= dict.fromkeys(_leaves(more), str(file))
    for called, keys, value in settings_of(credentials or {}, env):
        merge(tree, _nested(keys, value))
        origin[".".join(keys)] = called
    for variable, keys, shaped in _variables(kind, env, env_prefix):
        set_here = _nested(keys, _from_text(variable, env[variable], shaped))
        reject_unknown(set_here, kind, source=variable)
        merge(tree, set_here)
        origin[".".join(keys)] = variable
    return convert(tree, kind, source=source, origin=origin)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; raise ConfigError with file, line and column, or with why it cannot be read."""
    try:
        return tomllib.loads(read_plain(path).removeprefix("\ufeff"))  # which some editors write before the first line
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}", file=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text (byte {exc.start})", file=str(path)) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}", file=str(path)) from exc
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: it is nested too deeply", file=str(path)) from None


_Setter = tuple[str, tuple[str, ...], shape.Type]


def _variables(kind: type[msgspec.Struct], env: Mapping[str, str], prefix: str) -> list[_Setter]:
    """Return the variables that set a key of ``kind``: name, key path, shape; sections before their keys."""
    known = {prefix + "__".join(keys).upper(): (keys, shaped) for keys, shaped in _keys(shape.type_info(kind))}
    found = []
    for variable, value in env.items():
        if not variable.startswith(prefix) or _is_foreign(variable, value, prefix):
            continue
        if variable not in known:
            hint = did_you_mean(variable, known)
            raise ConfigError(f"{variable}: no setting has this environment variable{hint}", key=variable)
        found.append((variable, *known[variable]))
    return sorted(found, key=lambda setter: (len(setter[1]), setter[0]))


def _is_foreign(variable: str, value: str, prefix: str) -> bool:
    others = (other for other in FOREIGN_PREFIXES if len(other) > len(prefix))
    return (
        variable in NOT_SETTINGS
        or variable.startswith(tuple(others))
        or SERVICE_LINK.search(variable) is not None
        or value.startswith(("tcp://", "udp://"))
    )


def _keys(shaped: shape.Type, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], shape.Type]]:
    """Return every key path of a struct with the shape of its value, tables included."""
    found: list[tuple[tuple[str, ...], shape.Type]] = []
    for field in shaped.fields if isinstance(shaped, shape.StructType) else ():
        path = (*before, field.encode_name)
        found += [(path, field.type), *_keys(field.type, path)]
    return found


def _from_text(variable: str, text: str, shaped: shape.Type) -> Any:
    """Turn a variable's text into plain data: JSON for lists and tables, else by the key's scalar type."""
    members = shaped.types if isinstance(shaped, shape.UnionType) else (shaped,)
    wanted = [member for member in members if not isinstance(member, shape.NoneType)]
    if not text and len(wanted) < len(members):
        return None
    if any(isinstance(member, _COLLECTIONS) for member in wanted):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as exc:
            raise ConfigError(f"{variable}: expected JSON (a list or a table): {exc}", key=variable) from exc
    names = []
    for member in wanted:
        scalar, name = _SCALARS.get(type(member), (str, "text"))
        names.append(name)
        try:
            return msgspec.convert(text.strip(), scalar, strict=False)
        except msgspec.ValidationError:
            continue
    raise ConfigError(f"{variable}: expected {' or '.join(names)}, got '{text}'", key=variable)


def _leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the dotted key of everything in ``tree`` that is no table."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _nested(keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay one table over another in place: tables are merged, everything else replaced."""
    for key, value in over.items():
        below = tree.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            merge(below, value)
        else:
            tree[key] = value


def check_pair(key: str, value: str | None, other_key: str, other: str | None) -> None:
    """Raise ValueError when of two keys that belong together only one is given."""
    if (value is None) != (other is None):
        missing, given = (key, other_key) if value is None else (other_key, key)
        raise ValueError(f"{missing}: expected as well, because {given} is given")
