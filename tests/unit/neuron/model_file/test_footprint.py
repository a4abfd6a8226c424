"""Memory that a GGUF model will take, counted by hand for known shapes."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model
from cortex.neuron.model_file.footprint import (
    MIB,
    PROCESS_MB,
    cache_bytes_per_token,
    compute_bytes,
    estimate_mb,
    shards,
    weights_bytes,
)
from cortex.neuron.model_file.gguf_header import GgufHeader, Value, read_header

QWEN3_30B: dict[str, Value] = {
    "block_count": 48,
    "embedding_length": 2048,
    "attention.head_count": 32,
    "attention.head_count_kv": 4,
    "attention.key_length": 128,
    "attention.value_length": 128,
}


def header(facts: dict[str, Value], vocabulary: int = 0) -> GgufHeader:
    return GgufHeader(architecture="x", facts=facts, vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 48 * 4 * (128 + 128) * 2),
        ({"attention.value_length": 64}, 48 * 4 * (128 + 64) * 2),
        ({"attention.key_length": None, "attention.value_length": None}, 48 * 4 * (64 + 64) * 2),
        ({"attention.head_count_kv": None}, 48 * 32 * (128 + 128) * 2),
        ({"attention.head_count_kv": (4, 0, 8)}, 12 * (128 + 128) * 2),
        ({"attention.head_count_kv": None, "attention.head_count": (16, 8)}, 24 * (128 + 128) * 2),
        ({"attention.head_count_kv": (4.5, float("nan"))}, 0),
    ],
    ids=[
        "as named",
        "values of another width",
        "width by heads",
        "no shared heads",
        "by layer",
        "heads by layer",
        "odd",
    ],
)
def test_a_token_in_the_cache_takes_keys_and_values_of_every_layer(changes: dict[str, Value], expected: int) -> None:
    facts = {key: value for key, value in (QWEN3_30B | changes).items() if value is not None}
    assert cache_bytes_per_token(header(facts)) == expected


def test_a_model_without_attention_has_no_cache() -> None:
    assert cache_bytes_per_token(header({"block_count": 24, "embedding_length": 1024})) == 0


def test_buffers_grow_with_vocabulary_and_width() -> None:
    assert compute_bytes(header(QWEN3_30B, vocabulary=151936)) == 512 * 4 * (151936 + 16 * 2048)


@pytest.mark.parametrize(
    ("gpus", "expected_mb"),
    [(0, 100 + 48), (1, 100 + 400), (2, 100 + 800)],
    ids=["on the CPU", "on a GPU", "over two GPUs"],
)
def test_without_a_header_files_and_processes_count(gpus: int, expected_mb: int) -> None:
    assert estimate_mb(100 * MIB, None, context_tokens=9999, gpus=gpus) == expected_mb


@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_with_a_header_cache_and_buffers_are_added_and_each_gpu_has_its_own_buffers(gpus: int) -> None:
    known = header(QWEN3_30B, vocabulary=151936)
    whole = 18000 * MIB + 32768 * cache_bytes_per_token(known) + max(1, gpus) * compute_bytes(known)
    process_mb = gpus * PROCESS_MB["gpu"] or PROCESS_MB["cpu"]
    assert estimate_mb(18000 * MIB, known, context_tokens=32768, gpus=gpus) == -(-whole // MIB) + process_mb


def test_a_real_models_estimate_is_near_what_its_engine_was_seen_to_take(tmp_path: Path) -> None:
    """A model of 64 layers took 81 MB with a context of 1024 (measured 2026-11)."""
    path = write_model(tmp_path / "m.gguf", TinyModel(layers=64, dim=64, ctx=1024))
    estimate = estimate_mb(weights_bytes(path), read_header(path), context_tokens=1024, gpus=0)
    assert 75 <= estimate <= 110


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.gguf", ("m.gguf",)),
        ("m-00001-of-00002.gguf", ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")),
        ("m-00001-of-00002.GGUF", ("m-00001-of-00002.GGUF", "m-00002-of-00002.GGUF")),
        ("m-00002-of-00002.gguf", ("m-00002-of-00002.gguf",)),
        ("a-of-b.gguf", ("a-of-b.gguf",)),
        ("m-00001-of-²²²²².gguf", ("m-00001-of-²²²²².gguf",)),
    ],
    ids=["whole", "split", "split in capitals", "a later part", "no parts", "no number"],
)
def test_all_parts_of_a_split_model_are_known_by_the_first(name: str, expected: tuple[str, ...]) -> None:
    folder = Path("/models")
    assert shards(folder / name) == tuple(folder / part for part in expected)


def test_weights_are_all_parts_and_a_missing_one_counts_as_nothing(tmp_path: Path) -> None:
    plant(tmp_path, {"m-00001-of-00003.gguf": "abc", "m-00003-of-00003.gguf": "de", "m-00001-of-00002.gguf": "x"})
    assert weights_bytes(tmp_path / "m-00001-of-00003.gguf") == 5
