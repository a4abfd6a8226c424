"""What a running server was started with is seen from beside, and nothing is claimed that cannot be seen."""

from pathlib import Path

import pytest

from cortex.contract.node import Device
from cortex.neuron.mistralrs.served import Served, devices_of, served_by, size_mb
from cortex.neuron.mistralrs.wire import Info, InfoBuild, InfoDevice

BIG_A = Device(index=0, name="NVIDIA GeForce RTX 5090", vram_total_mb=32607, uuid="GPU-aaa1")
BIG_B = Device(index=1, name="NVIDIA GeForce RTX 5090", vram_total_mb=32607, uuid="GPU-bbb2")
SMALL = Device(index=2, name="NVIDIA L40S", vram_total_mb=46068, uuid="GPU-ccc3")
CPU = Device(index=3, name="cpu", vram_total_mb=64000, kind="cpu")
NODE = (BIG_A, BIG_B, SMALL, CPU)


def seen(*gpus: Device) -> Info:
    """Return what a server says that sees these."""
    devices = [
        InfoDevice(kind="cuda", ordinal=n, name=gpu.name, total_memory_bytes=(gpu.vram_total_mb - 300) << 20)
        for n, gpu in enumerate(gpus)
    ]
    return Info(build=InfoBuild(), devices=(*devices, InfoDevice(kind="cpu")))


@pytest.mark.parametrize(
    ("info", "visible", "expected"),
    [
        (seen(BIG_A, BIG_B, SMALL), None, [0, 1, 2]),
        (seen(SMALL), None, [2]),
        (seen(BIG_A), None, [0]),
        (seen(BIG_B), "1", [1]),
        (seen(SMALL, BIG_A), "GPU-ccc3, GPU-aa", [0, 2]),
        (seen(BIG_A, SMALL), "nonsense", [0, 2]),
        (seen(), None, [3]),
    ],
    ids=["all", "by its name", "the first of two alike", "by a number", "by UUIDs", "not understood", "no GPU"],
)
def test_which_devices_a_server_uses(info: Info, visible: str | None, expected: list[int]) -> None:
    assert [device.index for device in devices_of(info, NODE, visible)] == expected


@pytest.mark.parametrize(
    ("total_mb", "expected"), [(45_900, [2]), (32_200, [0]), (None, [0])], ids=["by its memory", "the first", "no idea"]
)
def test_a_gpu_that_is_not_named_is_known_by_its_memory(total_mb: int | None, expected: list[int]) -> None:
    seen_one = InfoDevice(kind="cuda", ordinal=0, total_memory_bytes=None if total_mb is None else total_mb << 20)
    info = Info(build=InfoBuild(), devices=(seen_one,))
    assert [device.index for device in devices_of(info, NODE, None)] == expected


def test_on_a_node_without_gpus_it_uses_the_cpu() -> None:
    assert devices_of(seen(BIG_A), (CPU,), None) == (CPU,)


def a_process(folder: Path, *words: str, environ: str = "") -> Served:
    (folder / "7").mkdir()
    (folder / "7" / "cmdline").write_text("\0".join(words) + "\0")
    (folder / "7" / "environ").write_text(environ)
    return served_by(7, folder)


def test_a_single_models_flags(tmp_path: Path) -> None:
    served = a_process(
        tmp_path,
        "mistralrs",
        "serve",
        "-m",
        "a/b",
        "--isq=Q4K",
        "--max-seqs",
        "8",
        environ="A=1\0CUDA_VISIBLE_DEVICES=1\0",
    )
    assert served == Served(quants={"a/b": "Q4K"}, max_seqs=8, visible="1")


def test_a_single_file(tmp_path: Path) -> None:
    served = a_process(tmp_path, "mistralrs", "serve", "--format", "gguf", "-m", "/m", "-f", "x-Q4_K_M.gguf")
    assert (served.quant_of("/m"), served.max_seqs) == ("x-Q4_K_M.gguf", 32)


def test_several_models_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / "m.toml"
    config.write_text(
        'command = "serve"\n[runtime]\nmax_seqs = 4\n'
        '[[models]]\nmodel_id = "a"\n[models.quantization]\nin_situ_quant = "Q8_0"\n'
        '[[models]]\nmodel_id = "b"\n[models.format]\nquantized_file = "b-Q6_K.gguf"\n[[models]]\nmodel_id = "c"\n'
    )
    served = a_process(tmp_path, "mistralrs", "from-config", "--file", str(config))
    assert served == Served(quants={"a": "Q8_0", "b": "b-Q6_K.gguf"}, max_seqs=4)


@pytest.mark.parametrize(
    "words",
    [("mistralrs", "from-config", "-f", "/nowhere.toml"), ("mistralrs", "from-config", "-f"), ("mistralrs", "serve")],
)
def test_what_cannot_be_seen_is_not_claimed(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert a_process(tmp_path, *words) == Served()


def test_a_process_that_is_gone_or_unknown_tells_nothing(tmp_path: Path) -> None:
    assert served_by(7, tmp_path) == served_by(0) == Served()


@pytest.mark.parametrize(
    ("have", "wanted", "is_so"),
    [
        ("Q4K", "Q4_K_M", True),
        ("Q4K", "Q4K", True),
        ("q4k", "Q5_K_M", False),
        ("Q8_0", "Q8_0", True),
        ("Q8_0", "Q4_K_M", False),
        ("4", "Q4_K_M", True),
        ("4", "Q8_0", False),
        ("Qwen-Q4_K_M.gguf", "Q4_K_M", True),
        ("Qwen-Q4_K_M.gguf", "Q6_K", False),
    ],
)
def test_whether_a_model_is_in_a_quantisation(have: str, wanted: str, is_so: bool) -> None:
    assert Served(quants={"a": have}).is_quant("a", wanted) is is_so


def test_an_unknown_quantisation_contradicts_nothing() -> None:
    assert Served().is_quant("a", "Q4_K_M")


def test_a_size_is_that_of_the_files(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"\0" * (3 << 20))
    info = Info(build=InfoBuild(), hf_cache_path=str(tmp_path))
    of_cache, of_path = size_mb("a/b", info, 0), size_mb(str(snapshot), None, 0)
    assert of_cache == of_path
    assert of_cache is not None
    assert of_cache >= 3


@pytest.mark.parametrize("name", ["a/b", "/nowhere"])
def test_without_files_there_is_no_size(tmp_path: Path, name: str) -> None:
    assert size_mb(name, Info(build=InfoBuild(), hf_cache_path=str(tmp_path)), 1) is None
    assert size_mb(name, None, 1) is None
