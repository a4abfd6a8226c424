"""ComfyUI's harness: what it needs, what it refuses, what its servers are started with."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.port import free_port
from tests.unit.neuron.harness.builder import CPU, a_launch, a_request, a_site

from cortex.contract.error import CallerError, ConfigError, UpstreamUnreachable
from cortex.contract.node import Device, HarnessDetail
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness import comfyui
from cortex.neuron.harness.comfyui import ComfyUiHarness
from cortex.neuron.harness.interface import EngineExit
from cortex.neuron.images.footprint import WORK_MB
from cortex.neuron.images.program import VARIABLE
from cortex.neuron.images.server import ImagesSettings
from cortex.neuron.refusal import NoSuchDevice, NotManaged
from cortex.neuron.settings import HarnessEntry
from cortex.testing.fake_comfyui import FakeComfyUi
from cortex.testing.fake_systemd import FakeSystemd

GPU = Device(index=2, name="NVIDIA GeForce RTX 4090", vram_total_mb=24000, kind="cuda")
OTHER = Device(index=1, name="NVIDIA GeForce RTX 3060", vram_total_mb=12000, kind="cuda")
OWN = '{"1": {"class_type": "A", "inputs": {"x": "${PROMPT}"}}}'


def with_harness(
    test: Callable[[FakeComfyUi, ComfyUiHarness], Awaitable[None]], *, site: dict[str, Any] | None = None, **how: Any
) -> None:
    async def run() -> None:
        http = HttpClient()
        async with FakeComfyUi(**how) as fake:
            entry = HarnessEntry(name="art", kind="comfyui", endpoint=fake.url)
            await test(fake, ComfyUiHarness(entry, a_site(**{"http": http, "devices": (CPU,), **(site or {})})))
        await http.close()

    asyncio.run(run())


def test_it_needs_an_endpoint() -> None:
    with pytest.raises(ConfigError, match="'art' of kind comfyui needs `endpoint`"):
        ComfyUiHarness(HarnessEntry(name="art", kind="comfyui"), a_site())


@pytest.mark.parametrize(
    ("device", "kinds"), [("cpu", {"cpu"}), ("cuda", {"cuda", "mig", "rocm"}), ("xpu", {"xpu"}), ("npu", {"cuda"})]
)
def test_it_uses_the_devices_that_comfyui_uses(device: str, kinds: set[str]) -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        detail = await harness.probe()
        assert detail == HarnessDetail(name="art", kind="comfyui", usable=True, version="0.3.60", spread="none")
        assert harness.device_kinds == kinds

    with_harness(test, device=device, site={"gpu_kinds": frozenset({"cuda"})})


@pytest.mark.parametrize(("gpus", "kinds"), [({"rocm"}, {"rocm"}), (set(), {"cpu"})])
def test_a_comfyui_that_is_not_there_yet_may_come(gpus: Any, kinds: set[str]) -> None:
    async def test(fake: FakeComfyUi, harness: ComfyUiHarness) -> None:
        await fake.stop()
        assert (await harness.probe()).usable
        assert harness.device_kinds == kinds
        assert await harness.listed() is None
        with pytest.raises(UpstreamUnreachable):
            await harness.prepare(a_request(), (CPU,))
        await fake.start()
        assert await harness.prepare(a_request(source="sdxl"), (CPU,))
        assert harness.device_kinds == {"cpu"}

    with_harness(test, site={"gpu_kinds": frozenset(gpus)})


@pytest.mark.parametrize(
    ("said", "devices", "why"),
    [
        ({"quant": "Q4_K_M", "context": 4096}, (CPU,), "quant, context: ComfyUI takes a checkpoint as it is"),
        ({"args": ("--x",)}, (CPU,), "args: ComfyUI takes"),
        ({"mmproj": "/x"}, (CPU,), "mmproj: ComfyUI takes"),
        ({"source": "sdxl"}, (GPU, CPU), "has a model on one device"),
        ({"source": "sdxl", "tensor_parallel": 2}, (), "has a model on one device"),
        ({"source": "none"}, (CPU,), r"no checkpoint 'none'; it has: sdxl\.safetensors"),
        ({"images_workflow": "own"}, (CPU,), "images_workflow: 'own': give an absolute path"),
        ({"images_workflow": "{}"}, (CPU,), "images_workflow: no workflow"),
    ],
    ids=["quant", "args", "mmproj", "devices", "parallel", "checkpoint", "workflow", "empty workflow"],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], devices: tuple[Device, ...], why: str) -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        with pytest.raises(CallerError, match=why):
            await harness.prepare(a_request(**said), devices)

    with_harness(test)


@pytest.mark.parametrize(
    ("said", "need_mb", "is_estimate", "parallel"),
    [({}, 5 * 1024 + WORK_MB, True, 1), ({"vram_mb": 100, "parallel": 3}, 100, False, 3)],
    ids=["as usual", "as said"],
)
def test_what_a_load_needs(said: dict[str, Any], need_mb: int, is_estimate: bool, parallel: int) -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        prepared = await harness.prepare(a_request(source="sdxl", **said), (CPU,))
        assert (prepared.need_mb, prepared.is_estimate, prepared.parallel) == (need_mb, is_estimate, parallel)

    with_harness(test)


@pytest.mark.parametrize("asked", [(), (GPU,), (OTHER,)], ids=["none", "its own", "another"])
def test_a_model_is_where_comfyui_computes(asked: tuple[Device, ...]) -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        prepared = await harness.prepare(a_request(source="sdxl"), asked)
        assert prepared.devices == (GPU.index,)

    with_harness(test, device="cuda", site={"devices": (OTHER, GPU, CPU), "gpu_kinds": frozenset({"cuda"})})


@pytest.mark.parametrize(("asked", "index"), [((), 1), ((GPU,), 2)])
def test_while_comfyui_was_never_seen_a_model_is_where_it_is_asked_for(asked: tuple[Device, ...], index: int) -> None:
    async def test(fake: FakeComfyUi, harness: ComfyUiHarness) -> None:
        await fake.stop()
        prepared = await harness.prepare(a_request(images_workflow=OWN), asked)
        assert prepared.devices == (index,)

    with_harness(test, site={"devices": (OTHER, GPU, CPU), "gpu_kinds": frozenset({"cuda"})})


def test_a_node_without_comfyuis_device_cannot_have_its_models() -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        with pytest.raises(NoSuchDevice, match="ComfyUI computes on cpu, and this node has no such device"):
            await harness.prepare(a_request(source="sdxl"), ())

    with_harness(test, site={"devices": (GPU,), "gpu_kinds": frozenset({"cuda"})})


def test_its_checkpoints_are_models_that_can_be_loaded() -> None:
    async def test(fake: FakeComfyUi, harness: ComfyUiHarness) -> None:
        listed = await harness.listed()
        assert listed is not None
        assert [(model.id, model.status) for model in listed] == [("a/x.ckpt", "unloaded"), ("b.ckpt", "unloaded")]
        for model in listed:
            assert await harness.prepare(a_request(model_id=model.id), ())

    with_harness(test, checkpoints=("a/x.ckpt", "b.ckpt"))


def test_a_workflow_that_names_its_models_needs_no_checkpoint() -> None:
    async def test(fake: FakeComfyUi, harness: ComfyUiHarness) -> None:
        await fake.stop()
        prepared = await harness.prepare(a_request(images_workflow=OWN), (CPU,))
        assert prepared.plan == comfyui.ComfyPlan(checkpoint="", workflow=msgspec.json.decode(OWN))

    with_harness(test)


def test_a_server_is_started_with_its_model_and_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "PROGRAM", ("/usr/bin/env",))

    async def test(fake: FakeComfyUi, harness: ComfyUiHarness) -> None:
        prepared = await harness.prepare(a_request(source="sdxl"), (CPU,))
        engine = await harness.start(a_launch(prepared=prepared, log=tmp_path / "log"))
        assert not isinstance(engine, EngineExit)
        said = dict(line.split("=", 1) for line in (await engine.exited()).error.log_tail)
        settings = msgspec.json.decode(said[VARIABLE], type=ImagesSettings)
        handle = engine.handle
        assert settings == ImagesSettings(
            host="127.0.0.1",
            port=handle.port,
            nonce="abc",
            model="lab/m",
            comfy=fake.url,
            checkpoint="sdxl.safetensors",
            workflow=prepared.plan.workflow,  # type: ignore[attr-defined]
        )
        assert (handle.url, handle.engine_model) == (f"http://127.0.0.1:{handle.port}/i/abc", "lab/m")
        assert await engine.stop(0)

    with_harness(test, site={"is_tethered": False})


def test_without_a_unit_comfyui_is_not_restarted() -> None:
    async def test(_: FakeComfyUi, harness: ComfyUiHarness) -> None:
        with pytest.raises(NotManaged, match="'art' has no `systemd_unit`"):
            await harness.restart()

    with_harness(test)


UNIT = "comfyui.service"


def below_systemd(
    tmp_path: Path,
    test: Callable[[FakeSystemd, ComfyUiHarness], Awaitable[None]],
    *argv: str,
    devices: tuple[Device, ...] = (CPU,),
    **unit: Any,
) -> None:
    """Run a test with an entry whose ComfyUI is down, and which systemd can start."""
    port = free_port()

    async def run(systemd: FakeSystemd) -> None:
        http = HttpClient()
        entry = HarnessEntry(name="art", kind="comfyui", endpoint=f"http://127.0.0.1:{port}", systemd_unit=UNIT)
        site = a_site(http=http, is_tethered=False, env=systemd.environment(), devices=devices)
        await test(systemd, ComfyUiHarness(entry, site))
        await http.close()

    with FakeSystemd(tmp_path / "systemd") as systemd:
        program = (sys.executable, "-P", "-m", "cortex.testing.fake_comfyui", "--port", str(port), *argv)
        systemd.install(UNIT, program, **unit)
        asyncio.run(run(systemd))


def test_a_comfyui_that_is_down_is_started_by_the_first_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "PROGRAM", ("/usr/bin/env",))

    async def test(systemd: FakeSystemd, harness: ComfyUiHarness) -> None:
        assert (await harness.probe()).usable
        assert await harness.listed() is None
        prepared = await harness.prepare(a_request(source="sdxl"), ())
        assert systemd.pid(UNIT) == 0, "preparing starts nothing"
        engine = await harness.start(
            a_launch(request=a_request(source="sdxl"), prepared=prepared, log=tmp_path / "log")
        )
        assert not isinstance(engine, EngineExit)
        assert engine.handle.memory_pid == systemd.pid(UNIT) > 0
        said = dict(line.split("=", 1) for line in (await engine.exited()).error.log_tail)
        assert msgspec.json.decode(said[VARIABLE], type=ImagesSettings).checkpoint == "sdxl.safetensors"
        before = systemd.pid(UNIT)
        await harness.restart()
        assert engine.handle.memory_pid == systemd.pid(UNIT) != before
        assert await engine.stop(0)

    below_systemd(tmp_path, test)


@pytest.mark.parametrize(
    ("argv", "said", "code", "words"),
    [
        ((), {"source": "none"}, "source_missing", "no checkpoint 'none'; it has: sdxl.safetensors"),
        (("--nonsense",), {"source": "sdxl"}, "server_failed", "unrecognized arguments: --nonsense"),
        (("--device", "cuda"), {"source": "sdxl"}, "other_device", "ComfyUI has come up on device 2"),
    ],
    ids=["no checkpoint", "does not start", "another device"],
)
def test_what_shows_only_when_comfyui_is_up_ends_the_load(
    tmp_path: Path, argv: tuple[str, ...], said: dict[str, Any], code: str, words: str
) -> None:
    async def test(_: FakeSystemd, harness: ComfyUiHarness) -> None:
        request = a_request(**said)
        launch = a_launch(request=request, prepared=await harness.prepare(request, ()), log=tmp_path / "log")
        ended = await harness.start(launch)
        assert isinstance(ended, EngineExit)
        assert ended.error.code == code
        assert words in ended.error.message

    below_systemd(tmp_path, test, *argv, devices=(CPU, GPU))


def test_a_unit_that_systemd_does_not_know_makes_the_entry_unusable(tmp_path: Path) -> None:
    async def test(_: FakeSystemd, harness: ComfyUiHarness) -> None:
        detail = await harness.probe()
        assert (detail.usable, detail.why_not) == (False, f"systemd says 'not-found' of {UNIT}")

    below_systemd(tmp_path, test, load="not-found")


def test_the_devices_that_the_unit_shows_are_believed(tmp_path: Path) -> None:
    twins = tuple(msgspec.structs.replace(GPU, index=n) for n in range(2))

    async def test(_: FakeSystemd, harness: ComfyUiHarness) -> None:
        await harness.restart()
        assert (await harness.prepare(a_request(source="sdxl"), ())).devices == (1,)

    below_systemd(tmp_path, test, "--device", "cuda", devices=twins, env={"CUDA_VISIBLE_DEVICES": "1"})
