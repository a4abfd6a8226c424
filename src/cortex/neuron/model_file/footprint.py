"""Estimates the memory that llama.cpp takes for a GGUF model: weights, cache, compute buffers, the process itself.

Meant to err upwards by a tenth or so; where the operator knows better, ``vram_mb`` says so. What an architecture
saves by sliding windows or compressed attention is not counted.
"""

import re
from pathlib import Path

from cortex.neuron.model_file.gguf_header import GgufHeader

MIB = 1 << 20
CACHE_VALUE_BYTES = 2
"""f16, llama.cpp's default for the KV cache."""
BATCH_TOKENS = 512
"""llama.cpp's default ``--ubatch-size``."""
PROCESS_MB = {"cpu": 48, "gpu": 400}
"""The engine without a model: 36 MB on a CPU (measured 2026-11); a CUDA context takes 300 to 450 MB per device."""


def shards(path: Path) -> tuple[Path, ...]:
    """Return all files of a model that may be split (``…-00001-of-00003.gguf``), the first one being given."""
    split = re.fullmatch(r"(.*-)00001(-of-(\d{5}))", path.stem)
    if split is None:
        return (path,)
    return tuple(path.with_stem(f"{split[1]}{number:05d}{split[2]}") for number in range(1, int(split[3]) + 1))


def weights_bytes(path: Path) -> int:
    """Return the size of a model's files; a missing shard counts as nothing."""
    return sum(file.stat().st_size for file in shards(path) if file.is_file())


def cache_bytes_per_token(header: GgufHeader) -> int:
    """Return the size of one token in the KV cache."""
    layers = header.number("block_count")
    heads = header.number("attention.head_count")
    width = header.number("embedding_length") // heads if heads else 0
    key = header.number("attention.key_length", width)
    value = header.number("attention.value_length", width)
    per_layer = header.facts.get("attention.head_count_kv", header.facts.get("attention.head_count", 0))
    if isinstance(per_layer, tuple):
        kv_heads = sum(number for number in per_layer if isinstance(number, int))
    else:
        kv_heads = layers * header.number("attention.head_count_kv", heads)
    return kv_heads * (key + value) * CACHE_VALUE_BYTES


def compute_bytes(header: GgufHeader) -> int:
    """Return the size of the buffers for one batch, by its two widest tensors."""
    width = header.number("embedding_length")
    return BATCH_TOKENS * 4 * (header.vocabulary + 16 * width)


def estimate_mb(files_bytes: int, header: GgufHeader | None, *, context_tokens: int, gpus: int) -> int:
    """Return MiB over all devices: ``context_tokens`` is the whole cache; without a header the files alone count."""
    process_mb = PROCESS_MB["gpu"] * gpus if gpus else PROCESS_MB["cpu"]
    whole = files_bytes
    if header is not None:
        whole += context_tokens * cache_bytes_per_token(header) + compute_bytes(header) * max(1, gpus)
    return -(-whole // MIB) + process_mb
