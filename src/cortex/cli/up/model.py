"""Which model a local fleet serves: a file, one on Hugging Face, or the demo model that is written on first use.

Looks only as far as to refuse at once what can never work; whether a model loads is the neuron's and engine's matter.
"""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cortex import __version__
from cortex.contract.error import ConfigError
from cortex.kit.place import expanded

GGUF_MAGIC = b"GGUF"
_REMOTE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(:(?P<file>[^:]+))?")
_PART = re.compile(r"-\d{5}-of-\d{5}$")


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """``source`` is what the catalogue says: an absolute path, or ``hf:REPO[:FILE]``."""

    id: str
    source: str
    is_demo: bool = False


def choose_model(wish: str | None, env: Mapping[str, str], cwd: Path, home: Path) -> LocalModel:
    """Return the model for ``--model WISH``. Raises: ConfigError."""
    if wish is None:
        return LocalModel(id="cortex-demo", source=str(_demo(env, home)), is_demo=True)
    if wish.startswith("hf:"):
        return _remote(wish)
    path = (cwd / expanded(wish)).resolve()
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as exc:
        raise ConfigError(f"--model {wish}: cannot be read: {exc.strerror}") from exc
    if not _is_text(path):
        raise ConfigError(f"--model {wish}: the path is not UTF-8 text, in which configuration is written; rename it")
    if magic != GGUF_MAGIC:
        raise ConfigError(f"--model {wish}: not a GGUF file; llama.cpp reads no other kind")
    return LocalModel(id=_id_of(path), source=str(path))


def _remote(wish: str) -> LocalModel:
    parts = _REMOTE.fullmatch(wish)
    if parts is None:
        raise ConfigError(f"--model {wish}: expected hf:OWNER/NAME or hf:OWNER/NAME:FILE.gguf")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(f"--model {wish}: fetching needs huggingface-hub: pip install 'cortex-gateway[neuron]'")
    return LocalModel(id=parts["repo"], source=wish)


def _demo(env: Mapping[str, str], home: Path) -> Path:
    """Return the demo model's file in the user's cache, written when this version has none there yet."""
    told = Path(env.get("XDG_CACHE_HOME", ""))
    cache = told if told.is_absolute() else home / ".cache"  # a relative one is to be ignored, says its specification
    path = cache / "cortex" / f"cortex-demo-{__version__}.gguf"
    if _is_gguf(path):
        return path
    try:
        from cortex.neuron.embedded.tiny_model import write_demo_model
    except ImportError as exc:
        raise ConfigError(
            f"the demo model cannot be written, {exc.name} is not installed: pip install 'cortex-gateway[embedded]'"
        ) from exc
    try:
        return write_demo_model(path)
    except OSError as exc:
        hint = "; set XDG_CACHE_HOME to a directory that can be written"
        raise ConfigError(f"the demo model cannot be written to {path}: {exc.strerror or exc}{hint}") from exc


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError:
        return False


def _id_of(path: Path) -> str:
    """Return the file's name as an id: without its ending and part number, nothing a shell or a URL would take."""
    return re.sub(r"[^\w.-]+", "-", _PART.sub("", path.stem)).strip("-") or "model"
