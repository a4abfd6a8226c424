"""The command line of ``mistralrs serve`` for one model. No process is touched.

Source: the argument structs of v0.9.2 (read 2026-10). Later versions may have other names for the limits of the cache:
``--help`` tells what this one knows. It listens on every address unless it is told not to, and its cache takes nine
tenths of a GPU unless it is told how much.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from cortex.contract.node import Device

REQUIRED_FLAGS = frozenset({"--port", "--host", "-m"})
OWN_FLAGS = frozenset(
    {"-p", "--port", "--host", "-m", "--model-id", "--format", "-f", "--quantized-file", "--isq", "--quant", "--cpu"}
    | {"-n", "--device-layers", "--mcp-port", "-l", "--log", "--disable-metrics"}
)
"""What only the neuron may set: address, model, devices, and what it measures by; ``-l`` would log bodies."""
TUNING = frozenset(
    {"-a", "--arch", "--dtype", "--prefix-cache-n", "--no-kv-cache", "--pa-block-size", "--pa-cache-type"}
    | {"--max-num-batched-tokens", "--seed", "--max-edge", "--max-num-images", "--max-image-length", "--gqa"}
)
"""What a load may always give. Other flags write files, take memory, or run code (``--agent``, ``--mcp-config``)."""
QUANTS: Mapping[str, float] = {
    "Q2K": 2.7,
    "Q3K": 3.5,
    "Q4K": 4.5,
    "Q5K": 5.5,
    "Q6K": 6.6,
    "Q8K": 9.2,
    "Q4_0": 4.5,
    "Q4_1": 5.0,
    "Q5_0": 5.5,
    "Q5_1": 6.0,
    "Q8_0": 8.5,
    "Q8_1": 9.0,
    "HQQ4": 4.5,
    "HQQ8": 8.5,
}
"""In-place quantisations, as ``--isq`` takes them, with the bits of a weight, its scales included."""
FILE_BITS = 16
"""Of a weight in the files that are quantised in place: bfloat16, mostly."""
FULL = ("F32", "F16", "BF16")
"""No quantisation at all, by the names that catalogues have for it."""
CONTEXT_MB = 768
"""A CUDA context with the libraries' workspaces, per device (about 0.5 GB, and room for a batch)."""
LEAST_CACHE_MB = 256


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What a process serves. ``model``: a folder or a repository, by which it calls it; ``file``: a GGUF there."""

    model: str
    file: str | None = None
    isq: str | None = None
    mmproj: str | None = None
    size_mb: int | None = None
    """What its files take when they are loaded, where they are on this node."""


class Serve(msgspec.Struct, frozen=True, kw_only=True):
    """One process to be."""

    weights: Weights
    host: str
    port: int
    parallel: int
    context: int | None
    share_mb: int
    """What it may take of each device."""
    fraction: float | None
    """The same as a part of its whole memory: from it mistral.rs takes the weights, and has the rest for its cache."""
    args: tuple[str, ...]


def command_line(serve: Serve, devices: Sequence[Device], flags: Collection[str]) -> list[str]:
    """Return the arguments after the program's name. ``flags``: what this build knows."""
    weights = serve.weights
    line = ["serve", "--host", serve.host, "--port", str(serve.port), "-m", weights.model]
    line += ["--max-seqs", str(serve.parallel)]
    optional = [["--no-ui"], ["--disable-access-log"]]
    if weights.file is not None:
        line += ["--format", "gguf", "-f", weights.file]
    if weights.isq is not None:
        line += ["--isq", weights.isq]
    if weights.mmproj is not None:
        line += ["--mmproj", weights.mmproj]
    if serve.context is not None:
        optional.append(["--max-seq-len", str(serve.context)])
    if any(device.kind != "cpu" for device in devices):
        optional.append(cache_limit(serve, flags))
    else:
        line.append("--cpu")
    for words in optional:
        if words and words[0] in flags:
            line += words
    return [*line, *serve.args]


def cache_limit(serve: Serve, flags: Collection[str]) -> list[str]:
    """Return how much its cache may take: in MiB where the weights are known, else by the whole share."""
    size_mb = serve.weights.size_mb
    if size_mb is not None and "--pa-memory-mb" in flags:
        return ["--pa-memory-mb", str(max(LEAST_CACHE_MB, serve.share_mb - size_mb - CONTEXT_MB))]
    if serve.fraction is not None and "--pa-memory-fraction" in flags:
        return ["--pa-memory-fraction", f"{serve.fraction:.3f}"]
    return []


def can_limit(flags: Collection[str]) -> bool:
    """Tell whether this build lets its cache be limited."""
    return bool({"--pa-memory-mb", "--pa-memory-fraction"} & set(flags))


def isq_of(quant: str) -> str | None:
    """Return a quantisation as ``--isq`` has it: ``Q4K`` for ``Q4_K_M``. Raises: ValueError with what there is."""
    plain = re.sub(r"[^A-Z0-9]", "", quant.upper())
    if plain in FULL:
        return None
    short = re.sub(r"(?<=K)[SML]$", "", plain)
    for known in QUANTS:
        if known.replace("_", "") in (plain, short):
            return known
    raise ValueError(f"'{quant}' is none of mistral.rs' own: {', '.join((*QUANTS, *FULL))}")


def loaded_mb(files_mb: int, isq: str | None) -> int:
    """Return what files take when they are loaded."""
    return files_mb if isq is None else int(-(-files_mb * QUANTS[isq] // FILE_BITS))


def known_flags(help_text: str) -> frozenset[str]:
    """Return the flags that a ``--help`` names, long and short."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*|(?<![\w-])-[a-z](?![\w-])", help_text))


def own_flags(args: Iterable[str]) -> list[str]:
    """Return those of somebody's arguments that only the neuron may set."""
    return [word for word in args if word.partition("=")[0] in OWN_FLAGS]


def weights_of_file(path: Path) -> tuple[str, str]:
    """Return how a GGUF file is named: by its folder and its name there."""
    return str(path.parent), path.name
