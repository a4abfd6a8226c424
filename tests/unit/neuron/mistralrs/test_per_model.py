"""One ``mistralrs serve`` per model: what is found, what is refused, what it is started with."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.closed_folder import close
from tests.unit.neuron.harness.builder import a_launch, a_record, a_request, a_site

from cortex.contract.error import CallerError, MalformedRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpReply
from cortex.neuron.mistralrs.command_line import Weights
from cortex.neuron.mistralrs.per_model import MistralRsPerModel, ModelQuestions
from cortex.neuron.refusal import SourceMissing
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle

GPU = Device(index=0, name="gpu", vram_total_mb=20_000)
OTHER = Device(index=1, name="gpu", vram_total_mb=20_000)
CPU = Device(index=0, name="cpu", vram_total_mb=64_000, kind="cpu")


def a_harness(**entry: Any) -> MistralRsPerModel:
    model_dirs = entry.pop("model_dirs", ())
    gpu_kinds = entry.pop("gpu_kinds", frozenset())
    site = a_site(env={**os.environ, "PATH": "/usr/bin:/bin"}, model_dirs=model_dirs, gpu_kinds=gpu_kinds)
    return MistralRsPerModel(HarnessEntry(name="m", kind="mistralrs", mode="per_model", **entry), site)


def a_program(folder: Path, script: str = "") -> str:
    """Write a mistralrs that writes down what it is called with."""
    file = folder / "mistralrs"
    fake = f'"{sys.executable}" -P -m cortex.testing.fake_mistralrs'
    file.write_text(script or f'#!/bin/sh\n[ "$2" = --host ] && {{ echo "$@"; env; exit 3; }}\nexec {fake} "$@"\n')
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def program(tmp_path: Path) -> str:
    return a_program(tmp_path)


def prepared(harness: MistralRsPerModel, *devices: Device, **request: Any) -> Any:
    wanted = a_request(**{"model_id": "a/b", "vram_mb": 100, **request})
    return asyncio.run(harness.prepare(wanted, devices or (CPU,)))


def test_it_tells_version_and_cuda_of_its_program(program: str) -> None:
    detail = asyncio.run(a_harness(binary=program, package="mistralrs-cuda13-server").probe())
    assert (detail.usable, detail.version, detail.engine_cuda) == (True, "0.9.5", "13")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"binary": "/nowhere/mistralrs"}, "binary /nowhere/mistralrs: there is no such program"),
        ({"package": "mistralrs-cuda12-server"}, "there is no such program (package mistralrs-cuda12-server)"),
    ],
)
def test_without_its_program_it_is_unusable(entry: dict[str, str], why: str) -> None:
    detail = asyncio.run(a_harness(**entry).probe())
    assert not detail.usable
    assert why in (detail.why_not or "")


def test_another_program_of_that_name_is_unusable(tmp_path: Path) -> None:
    detail = asyncio.run(a_harness(binary=a_program(tmp_path, "#!/bin/sh\necho hello\n")).probe())
    assert not detail.usable
    assert "has no `serve` as it is known here" in (detail.why_not or "")


def test_it_warns_of_a_build_whose_cache_cannot_be_limited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = a_program(tmp_path, "#!/bin/sh\necho -m --port --host\n")
    harness = a_harness(binary=file, gpu_kinds=frozenset({"cuda"}))
    assert asyncio.run(harness.probe()).usable
    assert "lets nobody limit its cache" in caplog.text
    assert harness.device_kinds == {"cuda"}


def test_a_repository_is_the_model_itself() -> None:
    ready = prepared(a_harness(), quant="Q4_K_M", parallel=3)
    assert (ready.need_mb, ready.is_estimate, ready.parallel) == (100, False, 3)
    assert ready.plan == Weights(model="a/b", isq="Q4K")


@pytest.mark.parametrize(
    ("source", "weights"),
    [
        ("hf:o/r", Weights(model="o/r")),
        ("hf:o/r:x-Q4_K_M.gguf", Weights(model="o/r", file="x-Q4_K_M.gguf")),
    ],
)
def test_a_repository_by_its_source(source: str, weights: Weights) -> None:
    assert prepared(a_harness(), source=source).plan == weights


def test_files_of_this_node_by_their_source(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\0" * (2 << 20))
    (tmp_path / "x.gguf").write_bytes(b"\0" * (3 << 20))
    folder, file = prepared(a_harness(), source=str(tmp_path)), prepared(a_harness(), source=str(tmp_path / "x.gguf"))
    assert folder.plan == Weights(model=str(tmp_path), size_mb=2)
    assert file.plan == Weights(model=str(tmp_path), file="x.gguf", size_mb=3)


def test_files_below_a_model_directory_come_before_repositories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "config.json").write_text("{}")
    (tmp_path / "c-Q4_K_M.gguf").write_bytes(b"GGUF")
    harness = a_harness(model_dirs=(str(tmp_path),))
    assert prepared(harness).plan.model == str(tmp_path / "a" / "b")
    assert prepared(harness, model_id="c", quant="Q4_K_M").plan.file == "c-Q4_K_M.gguf"


def test_gpus_that_come_later_are_used() -> None:
    site = a_site(gpu_kinds=frozenset())
    harness = MistralRsPerModel(HarnessEntry(name="mistralrs", mode="per_model"), site)
    assert harness.device_kinds == {"cpu"}
    site.gpu_kinds = frozenset({"cuda", "rocm"})
    assert harness.device_kinds == {"cuda"}


def test_without_vram_mb_files_are_estimated(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\0" * (2 << 20))
    ready = prepared(a_harness(), source=str(tmp_path), vram_mb=None)
    assert ready.is_estimate
    assert ready.need_mb > 2


def test_what_is_quantised_as_it_is_loaded_needs_less(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\0" * (32 << 20))
    as_it_is = prepared(a_harness(), source=str(tmp_path), vram_mb=None)
    smaller = prepared(a_harness(), source=str(tmp_path), vram_mb=None, quant="Q4_K_M")
    assert (as_it_is.plan.size_mb, smaller.plan.size_mb) == (32, 9)
    assert as_it_is.need_mb - smaller.need_mb == 32 - 9


@pytest.mark.parametrize(
    ("request_", "refusal", "words"),
    [
        ({"vram_mb": None}, MalformedRequest, "vram_mb: say what a/b needs"),
        ({"quant": "IQ4_XS"}, MalformedRequest, "quant: 'IQ4_XS' is none of mistral.rs' own"),
        ({"args": ("--port", "1")}, MalformedRequest, "args: --port cannot be given"),
        ({"args": ("--mcp-config", "x")}, MalformedRequest, "args: --mcp-config cannot be given to harness"),
        ({"args": ("--dtype=f16", "--agent")}, MalformedRequest, "args: --agent cannot be given to harness"),
        ({"args": ("a\0b",)}, MalformedRequest, "args: expected words without zero bytes"),
        ({"source": "/nowhere/x"}, SourceMissing, "no such file or folder on this node"),
        ({"source": "x.gguf"}, SourceMissing, "give an absolute path"),
        ({"source": "hf:../x"}, SourceMissing, "no repository of Hugging Face"),
        ({"model_id": "-x"}, MalformedRequest, "model_id: expected words that do not begin with a dash"),
        ({"model_id": "a/b/c"}, SourceMissing, "no repository of Hugging Face"),
        ({"mmproj": "/nowhere/p"}, MalformedRequest, "mmproj: this mistralrs has no flag for it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_is_refused(request_: dict[str, Any], refusal: type[CallerError], words: str) -> None:
    with pytest.raises(refusal, match=words):
        prepared(a_harness(), **request_)


def test_it_is_started_with_its_port_its_devices_and_a_limit(program: str, tmp_path: Path) -> None:
    async def run() -> str:
        harness = a_harness(binary=program, gpu_kinds=frozenset({"cuda"}), args=("--seed", "7"))
        await harness.probe()
        request = a_request(model_id="a/b", vram_mb=16_000, quant="Q8_0")
        launch = a_launch(
            request=request,
            prepared=await harness.prepare(request, (GPU, OTHER)),
            devices=(GPU, OTHER),
            ordinals=(0, 1),
            log=tmp_path / "log",
            free_mb=(19_000, 15_000),
        )
        engine = await harness.start(launch)
        await engine.exited()  # type: ignore[union-attr]
        assert engine.handle.engine_model == "a/b"  # type: ignore[union-attr]
        return (tmp_path / "log").read_text()

    said = asyncio.run(run()).splitlines()
    assert said[0].startswith("serve --host 127.0.0.1 --port ")
    assert said[0].endswith(
        "-m a/b --max-seqs 8 --isq Q8_0 --no-ui --disable-access-log --pa-memory-fraction 0.400 --seed 7"
    )
    assert "CUDA_VISIBLE_DEVICES=0,1" in said
    assert "MISTRALRS_NO_NCCL=1" in said


def test_the_entry_may_let_it_use_nccl(program: str, tmp_path: Path) -> None:
    async def run() -> str:
        harness = a_harness(binary=program, env={"MISTRALRS_NO_NCCL": "0"})
        await harness.probe()
        launch = a_launch(prepared=await harness.prepare(a_request(vram_mb=1), (CPU,)), log=tmp_path / "log")
        engine = await harness.start(launch)
        await engine.exited()  # type: ignore[union-attr]
        return (tmp_path / "log").read_text()

    assert "MISTRALRS_NO_NCCL=0" in asyncio.run(run()).splitlines()


def answers(**by_path: bytes) -> Callable[[str], Awaitable[HttpReply | None]]:
    async def ask(path: str) -> HttpReply | None:
        body = by_path.get(path.rpartition("/")[2])
        return None if body is None else HttpReply(200, {}, body)

    return ask


@pytest.mark.parametrize(
    ("models", "is_serving"),
    [
        ([("default", None), ("a/b", "loaded")], True),
        ([("a/b", "reloading"), ("a/b", "loaded")], False),
        ([("other", "loaded")], False),
        ([], False),
    ],
    ids=["there", "in two states", "another server", "nothing"],
)
def test_it_serves_when_its_list_says_that_our_model_is_there(
    models: list[tuple[str, str | None]], is_serving: bool
) -> None:
    data = [{"id": name} | ({"status": status} if status else {}) for name, status in models]
    ask = answers(models=json.dumps({"data": data}).encode())
    assert asyncio.run(ModelQuestions().is_serving(ask, Handle(engine_model="a/b"))) is is_serving


def test_what_does_not_answer_neither_serves_nor_is_quiet() -> None:
    assert not asyncio.run(ModelQuestions().is_serving(answers(), Handle(engine_model="a/b")))
    assert asyncio.run(ModelQuestions().activity(answers())) is None
    metrics = answers(metrics=b'http_requests_in_flight{path="/v1/completions",model="a/b"} 2\n')
    activity = asyncio.run(ModelQuestions().activity(metrics))
    assert activity is not None
    assert activity.in_flight == 2


def test_what_is_gone_is_not_found_again() -> None:
    async def run() -> None:
        record = msgspec.structs.replace(a_record(), handle=Handle(pid=1, start_ticks=1))
        assert await a_harness().recover(record, Path("log")) is None
        assert await a_harness().listed() == ()

    asyncio.run(run())


def test_a_source_that_the_neuron_may_not_look_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch, tmp_path / "home")
    with pytest.raises(SourceMissing, match="no such file or folder on this node"):
        prepared(a_harness(), source=str(tmp_path / "home" / "m"))
