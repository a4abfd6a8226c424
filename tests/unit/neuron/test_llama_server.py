"""llama-server's command line and environment, and what it says of itself, as builds really say it."""

from pathlib import Path

import msgspec
import pytest

from cortex.contract.node import Device, DeviceKind
from cortex.neuron.embedded.argument import parse
from cortex.neuron.harness.interface import Activity
from cortex.neuron.llama_server import (
    REQUIRED_FLAGS,
    Serve,
    activity_in,
    alias_of,
    command_line,
    known_flags,
    usable_kinds,
    version_in,
)

GPU = Device(index=0, name="gpu", vram_total_mb=24000, uuid="GPU-a")
GPU_B = Device(index=1, name="gpu", vram_total_mb=24000, uuid="GPU-b")
CPU = Device(index=2, name="cpu", vram_total_mb=64000, kind="cpu")

SERVE = Serve(
    model=Path("/models/m.gguf"),
    mmproj=None,
    alias="lab/m",
    host="0.0.0.0",
    port=8100,
    prefix="/i/nonce",
    parallel=4,
    context_tokens=32768,
    is_pool=True,
    threads=None,
    args=("--jinja", "--temp", "0.5"),
)
BASE = [
    *("--model", "/models/m.gguf", "--alias", "lab/m", "--host", "0.0.0.0", "--port", "8100"),
    *("--api-prefix", "/i/nonce", "--parallel", "4", "--ctx-size", "32768", "--metrics"),
]


def line(*devices: Device, flags: frozenset[str] | None = None, **changes: object) -> list[str]:
    """Return the arguments after those that every engine is given."""
    whole = command_line(msgspec.structs.replace(SERVE, **changes), devices, flags)
    assert whole[: len(BASE)] == BASE
    return whole[len(BASE) :]


OWN = ["--jinja", "--temp", "0.5"]


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ((CPU,), "--n-gpu-layers 0 --offline --kv-unified --cache-ram 0"),
        ((), "--n-gpu-layers 0 --offline --kv-unified --cache-ram 0"),
        ((GPU,), "--n-gpu-layers 999 --offline --kv-unified"),
        ((GPU, GPU_B), "--n-gpu-layers 999 --tensor-split 1,1 --offline --kv-unified"),
    ],
    ids=["on the CPU", "on nothing", "on a GPU", "split over two"],
)
def test_devices_decide_where_the_layers_go(devices: tuple[Device, ...], words: str) -> None:
    assert line(*devices) == [*words.split(), *OWN]


def test_slots_with_parts_of_their_own_share_no_pool() -> None:
    assert "--kv-unified" not in line(GPU, is_pool=False)


def test_a_projector_and_threads_are_named_when_there_are_any() -> None:
    words = line(GPU, mmproj=Path("/models/p.gguf"), threads=3)
    assert words[:4] == ["--mmproj", "/models/p.gguf", "--threads", "3"]


def test_a_build_is_given_only_optional_flags_that_it_knows() -> None:
    assert line(CPU, flags=frozenset({"--offline"})) == ["--n-gpu-layers", "0", "--offline", *OWN]


def test_a_models_own_arguments_come_last_and_so_win() -> None:
    assert line(CPU, args=("--cache-ram", "64"))[-4:] == ["--cache-ram", "0", "--cache-ram", "64"]


def test_the_embedded_engine_understands_every_line() -> None:
    whole = command_line(msgspec.structs.replace(SERVE, mmproj=Path("/models/p.gguf"), threads=3), (GPU, GPU_B), None)
    setting = parse(whole, {})
    assert (setting["model.path"], setting["api_prefix"], setting["n_gpu_layers"]) == (
        "/models/m.gguf",
        "/i/nonce",
        999,
    )


def test_an_alias_has_no_commas_that_would_split_it() -> None:
    assert alias_of("a,b/c") == "a_b/c"


HELP = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-np,   --parallel N                     number of server slots (default: -1, -1 = auto)
                                        (env: LLAMA_ARG_N_PARALLEL)
-a,    --alias STRING                   set model name aliases, comma-separated
--api-prefix PREFIX                     prefix path the server serves from, without the trailing slash
--metrics                               enable prometheus compatible metrics endpoint (default: disabled)
-kvu,  --kv-unified, -no-kvu, --no-kv-unified
"""


def test_flags_are_read_from_the_help_text() -> None:
    found = known_flags(HELP)
    assert found >= {*REQUIRED_FLAGS, "--help", "--usage", "--parallel", "--kv-unified", "--no-kv-unified"}
    assert not any(flag.startswith("---") or flag == "--" for flag in found)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("version: 6730 (e60f01d94)\nbuilt with cc (GCC) 15.2.1 for x86_64-redhat-linux\n", "6730 (e60f01d94)"),
        ("ggml_cuda_init: found 1 CUDA devices:\nversion: 1 (a)\n", "1 (a)"),
        ("", None),
    ],
)
def test_the_version_is_read_from_its_line(text: str, version: str | None) -> None:
    assert version_in(text) == version


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (
            "Available devices:\n  CUDA0: NVIDIA GeForce RTX 4090 (24081 MiB, 23688 MiB free)\n"
            "  CUDA1: NVIDIA L40S (46068 MiB, 45460 MiB free)\n",
            {"cuda", "mig"},
        ),
        ("Available devices:\n  ROCm0: AMD Radeon (65536 MiB, 65444 MiB free)\n", {"rocm"}),
        ("Available devices:\n  Vulkan0: Intel(R) Arc (15473 MiB, 13925 MiB free)\n", {"cuda", "rocm", "xpu"}),
        ("Available devices:\n  SYCL0: Intel(R) Arc(TM) A770 (15473 MiB, 15473 MiB free)\n", {"xpu"}),
        ("Available devices:\n  BLAS: OpenBLAS (0 MiB, 0 MiB free)\n", set()),
        ("Available devices:\n", set()),
        ("error: invalid argument: --list-devices\n", set()),
    ],
    ids=["CUDA", "ROCm", "Vulkan", "SYCL", "BLAS", "none", "too old"],
)
def test_the_gpus_that_a_build_can_use_are_read_from_its_list(text: str, kinds: set[DeviceKind]) -> None:
    assert usable_kinds(text) == kinds


METRICS = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 21
# TYPE llamacpp:n_decode_total counter
llamacpp:n_decode_total 1.5e+01
# TYPE llamacpp:prompt_tokens_seconds gauge
llamacpp:prompt_tokens_seconds nan
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
"""


def test_activity_is_read_from_the_metrics() -> None:
    assert activity_in(METRICS) == Activity(in_flight=5, work=36)


def test_labels_do_no_harm() -> None:
    assert activity_in('llamacpp:requests_processing{model="a b"} 1\n') == Activity(in_flight=1, work=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "llamacpp:requests_deferred 0\n",
        "llamacpp:requests_processing\n",
        "llamacpp:requests_processing inf\n",
    ],
    ids=["nothing", "no metrics", "half of it", "no value", "no number"],
)
def test_what_does_not_tell_the_requests_is_not_taken_for_quiet(text: str) -> None:
    assert activity_in(text) is None
