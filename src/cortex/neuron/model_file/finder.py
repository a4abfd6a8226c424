"""Finds a model's GGUF file on this node: by path, or by id and quantisation below the model directories.

It goes by names only. Nothing is guessed: two files that match equally are named in the refusal.
"""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cortex.contract.error import ConfigError
from cortex.kit.place import expanded, is_closed
from cortex.neuron.refusal import SourceMissing

_QUANT = re.compile(
    r"(ud-)?(i?q\d[a-z0-9-]*|tq\d[a-z0-9-]*|mxfp4[a-z0-9-]*|b?f16|fp16|f32|fp32)(-\d{5}-of-\d{5})?|\d{5}-of-\d{5}"
)
"""How file names end after the model's name, in plain form: Q4_K_M, UD-IQ2_XXS, BF16, 00001-of-00003."""

_GGUF = "*.[gG][gG][uU][fF]"

DEFAULT_QUANT = "Q4_K_M"

MAX_FILES = 20_000
"""GGUF files looked at below one model directory; more is a sign that it is the wrong one."""


class ModelFile(NamedTuple):
    """A model's file, or its first part, and the names of its folders, from the model directory down."""

    path: Path
    folders: tuple[str, ...] = ()


def find_file(source: str, what: str = "source", quant: str | None = None) -> Path:
    """Return the file at a path, or of a source's folder there the one in a quantisation. Raises: SourceMissing."""
    path = expanded_source(source, what)
    if not path.is_absolute():
        raise SourceMissing(f"{what} '{source}': give an absolute path, or hf:<repo>[:<file>]", source=source)
    if is_closed(f"{path}/."):
        raise SourceMissing(f"{what} '{source}': the neuron may not look there: Permission denied", source=source)
    if os.path.isdir(path) and what == "source":
        # Not deeper: any folder may be named, and a walk through a whole disk takes minutes.
        names = [str(file.relative_to(path)) for depth in ("", "*/") for file in path.glob(depth + _GGUF)]
        chosen = choose_in_repo(names, None, quant)
        if isinstance(chosen, str):
            raise SourceMissing(f"{what} '{source}': {chosen}", source=source)
        return path / chosen[0]
    if not os.path.isfile(path):
        raise SourceMissing(f"{what} '{source}': no such file on this node", source=source)
    own = _quant_of(path)
    if quant is not None and own is not None and not _has_quant(path.name, quant):
        raise SourceMissing(
            f"quant: the name of {what} '{source}' says {own}, not {quant}: leave `quant` out, or name another file",
            source=source,
        )
    return path


def expanded_source(source: str, what: str = "source") -> Path:
    """Return a path with its ``~`` resolved. Raises: SourceMissing."""
    try:
        return expanded(source)
    except ConfigError as error:
        raise SourceMissing(f"{what} {error.message}", source=source) from error


def find_by_id(model_id: str, quant: str | None, model_dirs: Sequence[str]) -> Path:
    """Return the one file below ``model_dirs`` that is this model in this quantisation. Raises: SourceMissing."""
    files = [file for folder in model_dirs for file in _model_files(Path(folder))]
    found = choose(model_id, quant, files)
    wanted = model_id + (f" in {quant}" if quant else "")
    if not found:
        places = ", ".join(model_dirs) or "none are configured"
        others = choose(model_id, None, files) if quant else []
        if others:
            names = ", ".join(str(file) for file in others[:8])
            raise SourceMissing(f"quant: no file of {model_id} in {quant}; there are: {names}")
        closed = ", ".join(folder for folder in model_dirs if is_closed(f"{folder}/."))
        but = f", of which the neuron may not look into {closed}" if closed else ""
        raise SourceMissing(
            f"no GGUF file for {wanted} below model_dirs ({places}){but}; "
            "give `source`: an absolute path, or hf:<repo>[:<file>]",
            model_dirs=list(model_dirs),
        )
    if len(found) > 1:
        names = ", ".join(str(file) for file in found[:8])
        raise SourceMissing(f"{len(found)} files could be {wanted}: {names}; give `quant` or `source`")
    return found[0]


def choose(model_id: str, quant: str | None, files: Iterable[ModelFile]) -> list[Path]:
    """Return those files that are the model, and in the quantisation if one is asked for, without repeats.

    1. The file's name is the id's last part, with nothing but a quantisation after it; or
    2. one of its folders is named by the id's last part, with or without ``-GGUF``.
    3. Where several remain, those below a folder named like the id's owner win. Case and punctuation do not count.
    """
    *owner, name = (_plain(part) for part in model_id.split("/"))
    named = {file.path.resolve(): file for file in files if _is_named(file, name)}
    found = [file for file in named.values() if quant is None or _has_quant(file.path.name, quant)]
    owned = [file for file in found if owner and owner[-1] in map(_plain, file.folders)]
    return [file.path for file in owned or found]


def choose_in_repo(names: Collection[str], file: str | None, quant: str | None) -> tuple[str, ...] | str:
    """Return the parts of one model among a repository's files, or why there is not exactly one.

    A named file is taken; else the one in the asked quantisation; else Q4_K_M; else the only one.
    """
    models = [name for name in names if is_model_file(name.rpartition("/")[2])]
    if file is not None:
        return _all_parts(file, names) if file in names else f"no file '{file}'; there are: {_some(models)}"
    if not models:
        return "it holds no GGUF file"
    found = [name for name in models if _has_quant(name, quant or DEFAULT_QUANT)]
    if not found and quant is None:
        found = models
    if not found:
        return f"no file in {quant}; there are: {_some(models)}"
    if len(found) > 1:
        return f"several files fit: {_some(found)}; name one: hf:<repo>:<file>"
    return _all_parts(found[0], names)


def _all_parts(first: str, names: Collection[str]) -> tuple[str, ...] | str:
    split = re.fullmatch(r"(.*-)00001(-of-(\d{5})\.gguf)", first)
    if split is None:
        return (first,)
    parts = tuple(f"{split[1]}{number:05d}{split[2]}" for number in range(1, int(split[3]) + 1))
    missing = [part for part in parts if part not in names]
    return f"parts are missing: {_some(missing)}" if missing else parts


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:12]) + (", …" if len(names) > 12 else "")


def is_model_file(name: str) -> bool:
    """Tell a model, or the first part of one, from projectors and further parts."""
    lower = name.lower()
    if not lower.endswith(".gguf") or lower.startswith("mmproj") or "-mmproj" in lower:
        return False
    part = re.search(r"-(\d{5})-of-\d{5}\.gguf$", lower)
    return part is None or part[1] == "00001"


def _model_files(folder: Path) -> Iterable[ModelFile]:
    if not os.path.isdir(folder):
        return
    for count, file in enumerate(folder.rglob(_GGUF)):
        if count >= MAX_FILES:
            raise SourceMissing(f"more than {MAX_FILES} files below {folder}: give a narrower model_dirs, or `source`")
        if is_model_file(file.name) and os.path.isfile(file):
            yield ModelFile(file, file.relative_to(folder).parent.parts)


def _is_named(file: ModelFile, name: str) -> bool:
    own = _plain(file.path.stem)
    if own == name or (own.startswith(name + "-") and _QUANT.fullmatch(own.removeprefix(name + "-"))):
        return True
    return any(_plain(folder) in (name, f"{name}-gguf") for folder in file.folders)


def _quant_of(path: Path) -> str | None:
    """Return the quantisation that a file's name ends with; None when it names none."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)
    last = re.search(r"[-._]((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|B?F16|FP16|F?P?32))$", stem, re.I)
    return last[1] if last else None


def _has_quant(name: str, quant: str) -> bool:
    return f"-{_plain(quant)}-" in f"-{_plain(name)}-"


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")
