"""Memory that a model's folder will take, counted by hand."""

import json
from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model
from cortex.neuron.model_file.checkpoint import PROCESS_MB, estimate_checkpoint_mb
from cortex.neuron.model_file.footprint import MIB, estimate_mb, weights_bytes
from cortex.neuron.model_file.gguf_header import read_header

QWEN3_8B = {
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "head_dim": 128,
    "max_position_embeddings": 40960,
}
PER_TOKEN_BYTES = 2 * 36 * 8 * 128 * 2


def estimate(path: Path, *, context: int | None = None, parallel: int = 4, gpus: int = 1) -> int | None:
    return estimate_checkpoint_mb(path, context=context, parallel=parallel, gpus=gpus)


def cache_mb(tokens: int) -> int:
    return tokens * PER_TOKEN_BYTES // MIB


def folder(root: Path, config: dict[str, object] | str, **files: int) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    named = {name.replace("_", "."): bytes(mib * MIB) for name, mib in files.items()}
    return plant(root / "model", {"config.json": text, **named})


def test_weights_and_the_cache_of_one_whole_context_count(tmp_path: Path) -> None:
    path = folder(tmp_path, QWEN3_8B, a_safetensors=3, b_safetensors=2)
    assert estimate(path) == 5 + cache_mb(40960) + PROCESS_MB["gpu"]
    assert estimate(path, context=4096) == 5 + cache_mb(4096) + PROCESS_MB["gpu"]
    assert estimate(path, context=4096, gpus=2) == 5 + cache_mb(4096) + 2 * PROCESS_MB["gpu"]
    assert estimate(path, context=4096, gpus=0) == 5 + cache_mb(4096) + PROCESS_MB["cpu"]


def test_of_several_formats_one_counts(tmp_path: Path) -> None:
    path = folder(tmp_path, {}, a_safetensors=3, pytorch_bin=7)
    assert estimate(path) == 3 + PROCESS_MB["gpu"]


@pytest.mark.parametrize(
    ("config", "per_token"),
    [
        ({**QWEN3_8B, "num_key_value_heads": None}, 2 * 36 * 32 * 128 * 2),
        ({**QWEN3_8B, "head_dim": None}, PER_TOKEN_BYTES),
        ({"model_type": "x", "text_config": QWEN3_8B}, PER_TOKEN_BYTES),
        ({**QWEN3_8B, "num_hidden_layers": "many"}, 0),
        ("no json", 0),
        ("[]", 0),
    ],
    ids=["all heads", "their width by the whole", "one that sees", "nonsense", "no JSON", "no table"],
)
def test_the_cache_is_counted_as_far_as_the_configuration_tells(tmp_path: Path, config, per_token: int) -> None:
    expected = 1 + -(-1024 * 16 * per_token // MIB) + PROCESS_MB["gpu"]
    assert estimate(folder(tmp_path, config, a_safetensors=1), context=1024 * 16) == expected


def test_a_file_of_ggufs_is_counted_by_its_header(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", TinyModel(ctx=2048))
    expected = estimate_mb(weights_bytes(path), read_header(path), context_tokens=400, gpus=1)
    assert estimate(path, context=100) == expected
    assert estimate(path) == estimate_mb(weights_bytes(path), read_header(path), context_tokens=32768, gpus=1)


def test_any_other_file_is_counted_by_its_size(tmp_path: Path) -> None:
    path = plant(tmp_path, {"ggml-base.bin": bytes(3 * MIB + 1)}) / "ggml-base.bin"
    assert estimate(path, gpus=0) == 4 + PROCESS_MB["cpu"]


def test_a_folder_without_weights_tells_nothing(tmp_path: Path) -> None:
    assert estimate(folder(tmp_path, QWEN3_8B)) is None
