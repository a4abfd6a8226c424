"""How one ``mistralrs serve`` is called."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cortex.contract.node import Device
from cortex.neuron.mistralrs.command_line import (
    LEAST_CACHE_MB,
    Serve,
    Weights,
    can_limit,
    command_line,
    isq_of,
    known_flags,
    loaded_mb,
    own_flags,
    weights_of_file,
)

GPU = Device(index=0, name="gpu", vram_total_mb=24000)
CPU = Device(index=1, name="cpu", vram_total_mb=64000, kind="cpu")
ALL = frozenset({"--no-ui", "--disable-access-log", "--max-seq-len", "--pa-memory-mb", "--pa-memory-fraction"})


def serve(weights: Weights | None = None, **changes: Any) -> Serve:
    made = Serve(
        weights=weights or Weights(model="a/b"),
        host="127.0.0.1",
        port=8100,
        parallel=4,
        context=None,
        share_mb=10_000,
        fraction=0.5,
        args=(),
    )
    return msgspec.structs.replace(made, **changes)


def test_a_repository_in_full_precision_on_a_cpu() -> None:
    assert command_line(serve(), (CPU,), ALL) == [
        *("serve", "--host", "127.0.0.1", "--port", "8100", "-m", "a/b", "--max-seqs", "4"),
        *("--cpu", "--no-ui", "--disable-access-log"),
    ]


def test_a_file_with_a_projector_on_a_gpu() -> None:
    weights = Weights(model="/m", file="x.gguf", mmproj="/m/p.gguf", size_mb=6000)
    line = command_line(serve(weights, context=8192, args=("--prefix-cache-n", "4")), (GPU,), ALL)
    assert line[9:] == [
        *("--format", "gguf", "-f", "x.gguf", "--mmproj", "/m/p.gguf", "--no-ui", "--disable-access-log"),
        *("--max-seq-len", "8192", "--pa-memory-mb", "3232", "--prefix-cache-n", "4"),
    ]


def test_weights_that_are_quantised_in_place() -> None:
    line = command_line(serve(Weights(model="a/b", isq="Q4K")), (GPU,), ALL)
    assert line[9:] == ["--isq", "Q4K", "--no-ui", "--disable-access-log", "--pa-memory-fraction", "0.500"]


def test_a_cache_has_a_least_size() -> None:
    line = command_line(serve(Weights(model="/m", size_mb=9900)), (GPU,), ALL)
    assert line[-2:] == ["--pa-memory-mb", str(LEAST_CACHE_MB)]


def test_flags_that_a_build_does_not_know_are_left_out() -> None:
    line = command_line(serve(context=4096), (GPU,), frozenset())
    assert line[9:] == []
    assert not can_limit(frozenset())
    assert can_limit(ALL)


@pytest.mark.parametrize(
    ("quant", "isq"),
    [
        ("Q4_K_M", "Q4K"),
        ("q6_k", "Q6K"),
        ("Q8_0", "Q8_0"),
        ("Q4K", "Q4K"),
        ("hqq4", "HQQ4"),
        ("BF16", None),
        ("f16", None),
    ],
)
def test_a_quantisation_by_its_name_for_isq(quant: str, isq: str | None) -> None:
    assert isq_of(quant) == isq


@pytest.mark.parametrize("quant", ["IQ4_XS", "AWQ", ""])
def test_a_quantisation_that_is_none_of_its_own(quant: str) -> None:
    with pytest.raises(ValueError, match=r"is none of mistral\.rs' own: Q2K, "):
        isq_of(quant)


@pytest.mark.parametrize(("isq", "taken_mb"), [(None, 60_000), ("Q8_0", 31_875), ("Q4K", 16_875), ("Q2K", 10_125)])
def test_weights_that_are_quantised_in_place_take_less_than_their_files(isq: str | None, taken_mb: int) -> None:
    assert loaded_mb(60_000, isq) == taken_mb


def test_what_a_help_names() -> None:
    assert known_flags("  -p, --port <PORT>\n      --no-ui\n  like --a-b=c, not x--y") == {
        "-p",
        "--port",
        "--no-ui",
        "--a-b",
    }


def test_what_only_the_neuron_may_set() -> None:
    assert own_flags(["--port=1", "-m", "x", "--seed", "--isq"]) == ["--port=1", "-m", "--isq"]


def test_a_file_is_named_by_its_folder() -> None:
    assert weights_of_file(Path("/m/sub/x.gguf")) == ("/m/sub", "x.gguf")
