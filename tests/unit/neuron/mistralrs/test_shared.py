"""One mistral.rs server for all models: what it refuses, how it is brought up, what is known of it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.port import free_port
from tests.unit.neuron.harness.builder import a_launch, a_record, a_request, a_site

from cortex.contract.error import CallerError, ConfigError, MalformedRequest, UpstreamBroken
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.interface import EngineExit, Launch, Prepared
from cortex.neuron.mistralrs import shared
from cortex.neuron.mistralrs.served import Served
from cortex.neuron.mistralrs.shared import SharedMistralRs
from cortex.neuron.refusal import NotManaged, NotOffered, SystemdRefused
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.shared_server import Pace, SharedEngine
from cortex.testing.fake_mistralrs import FakeModel, FakeOptions
from cortex.testing.fake_mistralrs_server import FakeMistralRs
from cortex.testing.fake_systemd import FakeSystemd

GPU_A = Device(index=0, name="NVIDIA L40S", vram_total_mb=46068, uuid="GPU-a")
GPU_B = Device(index=1, name="NVIDIA L40S", vram_total_mb=46068, uuid="GPU-b")
CPU = Device(index=2, name="cpu", vram_total_mb=64000, kind="cpu")
PACE = Pace(watch_s=0.01)
UNIT = "mistralrs.service"


def gpus(count: int) -> tuple[dict[str, Any], ...]:
    """Return what a server says that sees so many GPUs."""
    one = {"kind": "cuda", "name": "NVIDIA L40S", "total_memory_bytes": 46068 << 20}
    return tuple({**one, "ordinal": n} for n in range(count))


Scenario = Callable[[SharedMistralRs, FakeMistralRs], Awaitable[None]]


def play(scenario: Scenario, *, options: FakeOptions | None = None, has_metrics: bool = True, **entry: Any) -> None:
    """Run a scenario with a server that runs by itself, on a node with two GPUs."""

    async def run() -> None:
        http = HttpClient()
        models = {"a/b": FakeModel(), "c": FakeModel()}
        fake = FakeMistralRs(models, options=options or FakeOptions(devices=gpus(2)), has_metrics=has_metrics)
        async with fake:
            fields = {"endpoint": fake.url + "/v1", "env": {}, **entry}
            site = a_site(http=http, devices=(GPU_A, GPU_B, CPU), gpu_kinds=frozenset({"cuda"}))
            harness = SharedMistralRs(HarnessEntry(name="mistralrs", **fields), site, PACE)
            try:
                await harness.probe()
                await scenario(harness, fake)
            finally:
                await http.close()

    asyncio.run(run())


def launch_of(prepared: Prepared, **changes: Any) -> Launch:
    devices = tuple(device for device in (GPU_A, GPU_B, CPU) if device.index in (prepared.devices or ()))
    return a_launch(prepared=prepared, devices=devices, request=a_request(model_id="a/b", **changes))


def test_without_an_endpoint_the_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mistralrs' of kind mistralrs needs `endpoint`"):
        SharedMistralRs(HarnessEntry(name="mistralrs"), a_site())


def test_it_tells_the_running_servers_version_and_cuda() -> None:
    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        detail = await harness.probe()
        assert (detail.usable, detail.version, detail.engine_cuda) == (True, "0.9.4", "13.0")

    play(scenario, options=FakeOptions(version="0.9.4", cuda_toolkit_version="13.0"), package="mistralrs-cuda12-server")


def test_a_load_goes_where_the_server_is() -> None:
    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        for devices in ((), (GPU_A, GPU_B), (GPU_B, GPU_A)):
            prepared = await harness.prepare(a_request(model_id="a/b", vram_mb=900, parallel=4), devices)
            assert prepared == Prepared(need_mb=900, is_estimate=False, parallel=4, devices=(0, 1))
        assert harness.device_kinds == {"cuda"}

    play(scenario)


def test_what_nobody_says_is_an_estimate_of_nothing() -> None:
    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        prepared = await harness.prepare(a_request(model_id="a/b", parallel=99), ())
        assert prepared == Prepared(need_mb=0, is_estimate=True, parallel=32, devices=(0, 1))

    play(scenario)


@pytest.mark.parametrize(
    ("changes", "devices", "refusal", "words"),
    [
        ({"model_id": "x"}, (), NotOffered, "does not offer 'x'; it offers: a/b, c"),
        ({"model_id": "default"}, (), NotOffered, "does not offer 'default'"),
        ({"model_id": "m", "source": "/srv/m"}, (), NotOffered, "does not offer '/srv/m'"),
        ({}, (GPU_A,), NotOffered, r"uses devices \[0, 1\], not \[0\]"),
        ({}, (GPU_A, CPU), NotOffered, r"uses devices \[0, 1\], not \[0, 2\]"),
        ({"tensor_parallel": 1}, (), NotOffered, r"uses 2 devices \(\[0, 1\]\), not 1"),
        ({"context": 4096}, (), MalformedRequest, "context: the server .* is shared and has its own"),
        ({"args": ("--seed", "1"), "mmproj": "/m"}, (), MalformedRequest, "args, mmproj: "),
    ],
    ids=["unknown", "the pseudo-model", "an unknown source", "fewer devices", "others", "parallel", "context", "args"],
)
def test_what_the_running_server_is_not_is_refused_with_what_it_is(
    changes: dict[str, Any], devices: tuple[Device, ...], refusal: type[CallerError], words: str
) -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        with pytest.raises(refusal, match=words):
            await harness.prepare(a_request(**{"model_id": "a/b", **changes}), devices)
        assert not [call for call in fake.calls if call.startswith("POST")]

    play(scenario)


def test_a_quantisation_that_the_server_is_seen_to_have_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "served_by", lambda _: Served(quants={"a/b": "Q4K"}, max_seqs=2))

    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        with pytest.raises(NotOffered, match="serves a/b in Q4K, not in Q8_0"):
            await harness.prepare(a_request(model_id="a/b", quant="Q8_0"), ())
        assert (await harness.prepare(a_request(model_id="a/b", quant="Q4_K_M"), ())).parallel == 2
        await harness.prepare(a_request(model_id="c", quant="Q8_0"), ())

    play(scenario)


def test_a_model_has_a_name_of_ours_when_its_source_is_the_servers() -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        fake.table.unload("a/b")
        prepared = await harness.prepare(a_request(model_id="mine", source="a/b", vram_mb=1), ())
        launch = msgspec.structs.replace(launch_of(prepared), request=a_request(model_id="mine", source="a/b"))
        engine = await harness.start(launch)
        assert isinstance(engine, SharedEngine)
        await engine.ready()
        assert engine.handle.engine_model == "a/b"
        listed = await harness.listed()
        assert listed is not None
        assert {(model.id, model.engine_model) for model in listed} == {("mine", "a/b"), ("c", "c")}
        await engine.stop(1)

    play(scenario)


def test_a_model_that_is_there_under_one_name_is_not_loaded_under_another() -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        seen = a_record(model_id="a/b", request=a_request(model_id="a/b"))
        engine = await harness.recover(seen, Path(os.devnull))
        assert engine is not None
        with pytest.raises(NotOffered, match="has 'a/b' as a/b: unload that first"):
            await harness.prepare(a_request(model_id="mine", source="a/b", vram_mb=1), ())
        await engine.stop(1)
        await harness.prepare(a_request(model_id="mine", source="a/b", vram_mb=1), ())

    play(scenario)


def test_its_models_are_listed_with_where_and_how_many() -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        fake.table.unload("c")
        listed = await harness.listed()
        assert listed is not None
        assert [(m.id, m.url, m.status, m.devices, m.parallel) for m in listed] == [
            ("a/b", fake.url, "loaded", (0, 1), 32),
            ("c", fake.url, "unloaded", (0, 1), 32),
        ]

    play(scenario)


def test_a_model_that_is_loaded_already_is_taken_as_it_is() -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        engine = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b"), ())))
        assert isinstance(engine, SharedEngine)
        await engine.ready()
        engine.let_go()
        assert not [call for call in fake.calls if call.startswith("POST")]

    play(scenario)


def test_a_server_that_counts_nothing_is_not_waited_for() -> None:
    async def scenario(harness: SharedMistralRs, fake: FakeMistralRs) -> None:
        assert not harness.capabilities.reports_in_flight
        fake.has_metrics = True
        await harness.listed()
        assert harness.capabilities.reports_in_flight

    play(scenario, has_metrics=False)


def test_a_server_too_busy_to_tell_is_waited_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        async def no_answer() -> None:
            return None

        monkeypatch.setattr(harness._server, "counts", no_answer)
        await harness.listed()
        assert harness.capabilities.reports_in_flight

    play(scenario)


def test_a_server_without_a_unit_that_is_silent_is_said_to_be() -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            port = free_port()
            entry = HarnessEntry(name="m", kind="mistralrs", endpoint=f"http://127.0.0.1:{port}")
            harness = SharedMistralRs(entry, a_site(http=http, devices=(CPU,)), PACE)
            assert (await harness.probe()).usable, "it may come"
            assert await harness.listed() is None
            ended = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b"), ())))
            assert isinstance(ended, EngineExit)
            assert ended.error.code == "server_silent"
            assert await harness.recover(a_record(), Path(os.devnull)) is None
            with pytest.raises(NotManaged, match="has no `systemd_unit`"):
                await harness.restart()
        finally:
            await http.close()

    asyncio.run(run())


UnitScenario = Callable[[SharedMistralRs, FakeSystemd], Awaitable[None]]


def play_unit(folder: Path, scenario: UnitScenario, *, flags: tuple[str, ...] = (), **unit: Any) -> None:
    """Run a scenario with a server that is down, under a systemd."""

    async def run() -> None:
        http = HttpClient()
        port = free_port()
        program = [sys.executable, "-P", "-m", "cortex.testing.fake_mistralrs", "serve", "--host", "127.0.0.1"]
        with FakeSystemd(folder) as systemd:
            systemd.install(UNIT, [*program, "-p", str(port), "-m", "a/b", *flags], **unit)
            entry = HarnessEntry(
                name="mistralrs",
                endpoint=f"http://127.0.0.1:{port}",
                systemd_unit=UNIT,
                package="mistralrs-cuda13-server",
            )
            site = a_site(http=http, devices=(CPU,), env=systemd.environment())
            try:
                await scenario(SharedMistralRs(entry, site, PACE), systemd)
            finally:
                await http.close()

    asyncio.run(run())


def test_the_process_of_a_server_without_a_unit_is_known_where_it_can_be_seen() -> None:
    async def scenario(harness: SharedMistralRs, _: FakeMistralRs) -> None:
        engine = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b", vram_mb=1), ())))
        assert isinstance(engine, SharedEngine), engine
        assert engine.handle.pid == os.getpid()
        engine.let_go()

    play(scenario)


def test_a_server_that_is_down_is_started_by_the_first_load(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, systemd: FakeSystemd) -> None:
        detail = await harness.probe()
        assert (detail.usable, detail.engine_cuda) == (True, "13")
        assert await harness.listed() is None
        engine = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b", vram_mb=1), ())))
        assert isinstance(engine, SharedEngine), engine
        await engine.ready()
        assert engine.handle.pid == systemd.pid(UNIT) != 0
        engine.let_go()

    play_unit(tmp_path, scenario)


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeSystemd) -> None:
        ended = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b", vram_mb=1), ())))
        assert isinstance(ended, EngineExit)
        assert ended.error.code == "server_failed"
        assert "mistralrs.service has ended (exit-code)" in ended.error.message
        assert "unexpected argument '--nonsense' found" in ended.error.message
        with pytest.raises(UpstreamBroken, match=r"mistralrs\.service has ended"):
            await harness.restart()

    play_unit(tmp_path, scenario, flags=("--nonsense",))


def test_without_the_polkit_rule_the_load_says_so(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeSystemd) -> None:
        ended = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b", vram_mb=1), ())))
        assert isinstance(ended, EngineExit)
        assert ended.error.code == "systemd_refused"
        assert "polkit rule" in ended.error.message
        with pytest.raises(SystemdRefused, match="polkit rule"):
            await harness.restart()

    play_unit(tmp_path, scenario, denied="Interactive authentication required.")


@pytest.mark.parametrize("load", ["not-found", "masked"])
def test_a_unit_that_cannot_be_started_makes_the_entry_unusable(tmp_path: Path, load: str) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeSystemd) -> None:
        detail = await harness.probe()
        assert not detail.usable
        assert detail.engine_cuda == "13", "what its package says is known all the same"
        assert detail.why_not == (
            f"systemd says '{load}' of {UNIT}: is mistral.rs (package mistralrs-cuda13-server) installed?"
        )

    play_unit(tmp_path, scenario, load=load)


def test_a_host_without_systemd_makes_it_unusable_while_the_server_is_down() -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            entry = HarnessEntry(
                name="m", kind="mistralrs", endpoint=f"http://127.0.0.1:{free_port()}", systemd_unit=UNIT
            )
            detail = await SharedMistralRs(entry, a_site(http=http, env={"PATH": "/nowhere"}), PACE).probe()
            assert not detail.usable
            assert detail.why_not is not None
            assert detail.why_not.startswith(f"systemctl cannot be asked for {UNIT}, and nothing answers at")
        finally:
            await http.close()

    asyncio.run(run())


def test_where_no_server_runs_no_devices_are_wrong_yet(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeSystemd) -> None:
        prepared = await harness.prepare(a_request(model_id="a/b", vram_mb=1, tensor_parallel=2), (GPU_A,))
        assert prepared.devices == (CPU.index,)
        ended = await harness.start(launch_of(prepared, tensor_parallel=2))
        assert isinstance(ended, EngineExit)
        assert "uses 1 devices ([2]), not 2" in ended.error.message

    play_unit(tmp_path, scenario)


def test_a_load_that_was_checked_while_the_server_was_down_is_checked_again(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, _: FakeSystemd) -> None:
        launch = launch_of(await harness.prepare(a_request(model_id="x", vram_mb=1), ()))
        ended = await harness.start(a_launch(prepared=launch.prepared, request=a_request(model_id="x")))
        assert isinstance(ended, EngineExit)
        assert (ended.error.code, "it offers: a/b" in ended.error.message) == ("not_offered", True)

    play_unit(tmp_path, scenario)


def test_which_gpus_the_unit_shows_it_is_known(tmp_path: Path) -> None:
    async def run() -> None:
        http = HttpClient()
        async with FakeMistralRs({"a/b": FakeModel()}, options=FakeOptions(devices=gpus(1))) as fake:
            with FakeSystemd(tmp_path) as systemd:
                systemd.install(UNIT, ["true"], {"CUDA_VISIBLE_DEVICES": "1"})
                entry = HarnessEntry(name="mistralrs", endpoint=fake.url, systemd_unit=UNIT)
                site = a_site(http=http, devices=(GPU_A, GPU_B, CPU), env=systemd.environment())
                harness = SharedMistralRs(entry, site, PACE)
                try:
                    assert (await harness.prepare(a_request(model_id="a/b"), ())).devices == (1,)
                finally:
                    await http.close()

    asyncio.run(run())


def test_a_new_server_process_begins_anew(tmp_path: Path) -> None:
    async def scenario(harness: SharedMistralRs, systemd: FakeSystemd) -> None:
        engine = await harness.start(launch_of(await harness.prepare(a_request(model_id="a/b", vram_mb=1), ())))
        assert isinstance(engine, SharedEngine)
        await engine.ready()
        record = a_record(request=a_request(model_id="a/b"), handle=engine.handle)
        harness._server.broken.add("a/b")
        await harness.restart()
        await engine.exited()
        listed = await harness.listed()
        assert listed is not None
        assert [(model.status, model.is_broken) for model in listed] == [("loaded", False)]
        assert await harness.recover(record, Path(os.devnull)) is None, "it is another process"
        found = await harness.recover(a_record(request=a_request(model_id="a/b")), Path(os.devnull))
        assert found is not None
        assert found.handle.pid == systemd.pid(UNIT)
        found.let_go()

    play_unit(tmp_path, scenario)
