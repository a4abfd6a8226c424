"""What a running mistral.rs server was started with, as far as a neighbour can see: quantisations, devices, sizes.

Its API tells no quantisation and no device of a model. Its command line does (``serve …``, or the file of
``from-config``), and which GPUs it sees stands in its environment or in its unit's. What cannot be seen is not claimed.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cortex.contract.node import Device
from cortex.neuron.mistralrs.wire import Info, InfoDevice
from cortex.neuron.model_file.checkpoint import estimate_checkpoint_mb

MAX_SEQS = 32
"""Its default for requests at a time."""
SAME_MEMORY = 0.05
"""CUDA's and the driver's idea of a device's memory may differ by so much."""
_FLAGS = {
    "-m": "model",
    "--model-id": "model",
    "--isq": "isq",
    "--quant": "isq",
    "-f": "file",
    "--quantized-file": "file",
}
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Served(NamedTuple):
    """``quants``: a model's quantisation, or its file's name, by the server's id of the model."""

    quants: Mapping[str, str] = {}
    max_seqs: int = MAX_SEQS
    visible: str | None = None
    """``CUDA_VISIBLE_DEVICES`` of the process, where it can be read."""

    def quant_of(self, name: str) -> str | None:
        """Return what is known of a model's quantisation."""
        return self.quants.get(name)

    def is_quant(self, name: str, wanted: str) -> bool:
        """Tell whether a model may be in a quantisation: nothing that is known says otherwise."""
        have = self.quants.get(name)
        if have is None:
            return True
        if have.isdigit():  # so many bits, whichever way
            return have in wanted
        if "." in have:  # a file's name
            return _plain(wanted) in _plain(have)
        return _plain(have) in (_plain(wanted), _family(wanted))


def _plain(quant: str) -> str:
    return re.sub(r"[^a-z0-9]", "", quant.lower())


def _family(quant: str) -> str:
    """Return ``q4k`` for ``Q4_K_M``: mistral.rs' own quantisations have no sizes."""
    return re.sub(r"(?<=k)[sml]$", "", _plain(quant))


def served_by(pid: int, proc: Path = Path("/proc")) -> Served:
    """Return what can be seen of a process; nothing of one that is gone or another user's."""
    if not pid:
        return Served()
    words = _words(proc / str(pid) / "cmdline")
    visible = next(
        (word.partition("=")[2] for word in _words(proc / str(pid) / "environ") if word.startswith(f"{VISIBLE}=")), None
    )
    if "from-config" in words:
        return _of_file(words)._replace(visible=visible)
    return _of_flags(words)._replace(visible=visible)


def _words(file: Path) -> list[str]:
    try:
        return file.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _of_flags(words: Sequence[str]) -> Served:
    pairs = [word.split("=", 1) if word.startswith("--") and "=" in word else [word] for word in words]
    flat = [word for pair in pairs for word in pair]
    values = {_FLAGS[flag]: value for flag, value in pairwise(flat) if flag in _FLAGS}
    seqs = next((value for flag, value in pairwise(flat) if flag == "--max-seqs"), "")
    quant = values.get("file") or values.get("isq")
    return Served(
        quants={values["model"]: quant} if quant and "model" in values else {},
        max_seqs=int(seqs) if seqs.isdigit() and int(seqs) else MAX_SEQS,
    )


def _of_file(words: Sequence[str]) -> Served:
    try:
        flag = next(n for n, word in enumerate(words) if word in ("-f", "--file"))
        config = tomllib.loads(Path(words[flag + 1]).read_text())
    except (OSError, ValueError, IndexError, StopIteration):
        return Served()
    quants = {str(model.get("model_id")): quant for model in _tables(config, "models") if (quant := _quant_in(model))}
    seqs = _table(config, "runtime").get("max_seqs")
    return Served(quants=quants, max_seqs=seqs if isinstance(seqs, int) and seqs > 0 else MAX_SEQS)


def _quant_in(model: Mapping[str, Any]) -> str | None:
    quantization, form = _table(model, "quantization"), _table(model, "format")
    said = form.get("quantized_file") or next(
        (quantization[key] for key in ("isq", "in_situ_quant", "quant") if quantization.get(key)), None
    )
    return str(said) if said else None


def _table(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _tables(config: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = config.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def devices_of(info: Info, devices: Sequence[Device], visible: str | None) -> tuple[Device, ...]:
    """Return those of this node's devices that a server uses: by what it is shown, else by what it says it sees."""
    gpus = [device for device in devices if device.kind in ("cuda", "mig")]
    seen = [device for device in info.devices if device.kind == "cuda"]
    if not seen or not gpus:
        return tuple(device for device in devices if device.kind == "cpu")
    shown = _shown(visible, gpus) if visible is not None else []
    if len(shown) == len(seen):
        return tuple(sorted(shown, key=lambda device: device.index))
    if len(seen) >= len(gpus):
        return tuple(gpus)
    return tuple(sorted(_alike(seen, gpus), key=lambda device: device.index))


def _shown(visible: str, gpus: Sequence[Device]) -> list[Device]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` names: numbers, or UUIDs that may be cut short."""
    found: list[Device] = []
    for word in filter(None, (part.strip() for part in visible.split(","))):
        if word.isdigit():
            found += gpus[int(word) : int(word) + 1]
        else:
            found += [gpu for gpu in gpus if gpu.uuid and gpu.uuid.startswith(word)][:1]
    return found


def _alike(seen: Sequence[InfoDevice], gpus: Sequence[Device]) -> list[Device]:
    """Return as many GPUs as are seen, each by name and memory as far as these are told, else simply the next one."""
    left, found = list(gpus), []
    for one in seen:
        same = [gpu for gpu in left if _may_be(one, gpu)]
        found.append((same or left)[0])
        left.remove(found[-1])
    return found


def _may_be(one: InfoDevice, gpu: Device) -> bool:
    total_mb = (one.total_memory_bytes or 0) >> 20
    is_as_large = not total_mb or abs(gpu.vram_total_mb - total_mb) <= SAME_MEMORY * total_mb
    return is_as_large and one.name in (None, gpu.name)


def size_mb(name: str, info: Info | None, gpus: int) -> int | None:
    """Estimate what a model takes by its files on this node: its id is a path, or a repository in a cache."""
    folder = Path(name) if name.startswith("/") else _snapshot(name, info)
    try:
        return None if folder is None else estimate_checkpoint_mb(folder, context=None, parallel=1, gpus=gpus)
    except OSError:
        return None


def _snapshot(name: str, info: Info | None) -> Path | None:
    """Return the newest snapshot of a repository, as huggingface-hub keeps them."""
    if info is None or not info.hf_cache_path:
        return None
    snapshots = Path(info.hf_cache_path) / f"models--{name.replace('/', '--')}" / "snapshots"
    try:
        return max(snapshots.iterdir(), key=lambda folder: folder.stat().st_mtime, default=None)
    except OSError:
        return None
