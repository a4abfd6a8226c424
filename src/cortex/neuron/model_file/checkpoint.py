"""Estimates the memory that a server of the Python world takes for a model's folder or file: weights, cache, buffers.

By the files' sizes and the folder's ``config.json``, as Hugging Face has it. Such servers take what they are given
(vLLM, SGLang) or what they like; where the operator knows better, ``vram_mb`` says so.
"""

from pathlib import Path
from typing import Any

import msgspec

from cortex.kit.json_fault import NOT_JSON
from cortex.neuron.model_file.footprint import MIB, estimate_mb, weights_bytes
from cortex.neuron.model_file.gguf_header import read_header

_WEIGHTS = ("*.safetensors", "*.gguf", "*.bin", "*.pt", "*.pth")
"""In this order: of a folder that has several formats a server takes the first."""
DEFAULT_CONTEXT_TOKENS = 32768
CACHE_VALUE_BYTES = 2
PROCESS_MB = {"cpu": 1024, "gpu": 2048}
"""A Python server beside its model: the CUDA context, its graphs, and a batch's activations, per device."""


def estimate_checkpoint_mb(path: Path, *, context: int | None, parallel: int, gpus: int) -> int | None:
    """Return MiB over all devices; None for a folder without weights. Raises: OSError when it cannot be read."""
    if path.is_file() and path.suffix.lower() == ".gguf":
        tokens = DEFAULT_CONTEXT_TOKENS if context is None else context * parallel
        return estimate_mb(weights_bytes(path), read_header(path), context_tokens=tokens, gpus=gpus)
    whole = path.stat().st_size if path.is_file() else _folder_bytes(path)
    if not whole:
        return None
    config = _config(path)
    tokens = context or min(_number(config, "max_position_embeddings") or DEFAULT_CONTEXT_TOKENS, 131072)
    whole += tokens * _cache_bytes_per_token(config)
    return -(-whole // MIB) + (PROCESS_MB["gpu"] * gpus if gpus else PROCESS_MB["cpu"])


def _folder_bytes(folder: Path) -> int:
    for pattern in _WEIGHTS:
        size_bytes = sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())
        if size_bytes:
            return size_bytes
    return 0


def _config(path: Path) -> dict[str, Any]:
    """Return a folder's configuration; that of the language model in one that sees or hears as well."""
    try:
        config = msgspec.json.decode((path / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, *NOT_JSON):
        return {}
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _cache_bytes_per_token(config: dict[str, Any]) -> int:
    heads = _number(config, "num_attention_heads")
    width = _number(config, "head_dim") or (_number(config, "hidden_size") // heads if heads else 0)
    kv_heads = _number(config, "num_key_value_heads") or heads
    return 2 * _number(config, "num_hidden_layers") * kv_heads * width * CACHE_VALUE_BYTES


def _number(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else 0
