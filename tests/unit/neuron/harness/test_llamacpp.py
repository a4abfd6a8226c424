"""llama-server as a harness: which program it is, what a load needs, and how an engine is started and found again."""

import asyncio
import importlib.util
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.port import free_port
from tests.unit.neuron.file_tree import plant
from tests.unit.neuron.harness.builder import CPU, a_launch, a_record, a_request, a_site

from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model
from cortex.neuron.harness import llamacpp
from cortex.neuron.harness.interface import EngineExit, Launch, Prepared
from cortex.neuron.harness.llamacpp import LlamaCppHarness, LlamaPlan
from cortex.neuron.model_file.footprint import MIB, estimate_mb, weights_bytes
from cortex.neuron.model_file.gguf_header import read_header
from cortex.neuron.model_file.hub import FetchFailed, HubFile
from cortex.neuron.refusal import SourceMissing
from cortex.neuron.settings import HarnessEntry
from cortex.neuron.state_dir import Handle

GPU = Device(index=0, name="gpu", vram_total_mb=24000, uuid="GPU-a")
CPU_LAST = msgspec.structs.replace(CPU, index=1)

LLAMA_SERVER = """#!/bin/sh
case "$1" in
  --version) echo "version: 6730 (e60f01d94)" >&2 ;;
  --help) echo "{help}" ;;
  --list-devices) echo "Available devices:"; echo "  CUDA0: NVIDIA L40S (46068 MiB, 45460 MiB free)" ;;
  *) {serve} ;;
esac
"""
HELP = "-a, --alias STRING  --api-prefix PREFIX  --metrics  --offline"
DUMP = (
    'env > "$0.env"; for word in "$@"; do echo "$word"; done > "$0.argv"; echo up > "$0.up"; read -r line <> "$0.fifo"'
)
"""Writes down how it was started, says so, and waits."""


def install(folder: Path, *, name: str = "llama-server", help_text: str = HELP, serve: str = DUMP) -> Path:
    """Put a script in the place of an installed llama-server."""
    program = plant(folder, {name: LLAMA_SERVER.format(help=help_text, serve=serve)}) / name
    program.chmod(0o755)
    for pipe in ("up", "fifo"):
        os.mkfifo(f"{program}.{pipe}")
    return program


PATH = {"PATH": os.environ["PATH"]}


def a_harness(
    binary: Path | str | None = None, *, port_range: tuple[int, int] | None = None, **site
) -> LlamaCppHarness:
    entry = HarnessEntry(
        name="lab", kind="llamacpp", binary=None if binary is None else str(binary), port_range=port_range
    )
    return LlamaCppHarness(entry, a_site(**{"env": PATH} | site))


def test_an_installed_program_tells_its_version(tmp_path: Path) -> None:
    detail = asyncio.run(a_harness(install(tmp_path)).probe())
    assert detail.spread == "layers"
    assert (detail.usable, detail.version, detail.why_not) == (True, "6730 (e60f01d94)", None)


def test_while_it_is_asked_again_a_load_goes_by_what_it_said_before(tmp_path: Path) -> None:
    harness = a_harness(install(tmp_path))

    async def run() -> None:
        await harness.probe()
        known, asked = harness._flags, asyncio.Event()

        async def never(flag: str) -> str:
            asked.set()
            return await asyncio.get_running_loop().create_future()

        harness._ask = never  # type: ignore[method-assign]
        again = asyncio.create_task(harness.probe())
        await asked.wait()
        assert harness._flags == known != frozenset()
        again.cancel()
        await asyncio.wait((again,))

    asyncio.run(run())


def test_a_bare_name_is_looked_up_on_the_engines_path(tmp_path: Path) -> None:
    install(tmp_path, name="my-server")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert asyncio.run(a_harness("my-server", env=env).probe()).usable


def test_without_an_installed_one_the_embedded_engine_is_used() -> None:
    detail = asyncio.run(a_harness(env={"PATH": "/nowhere"}).probe())
    assert detail.usable
    assert (detail.version or "").startswith("embedded (xllamacpp ")


def test_an_installed_one_goes_before_the_embedded_one(tmp_path: Path) -> None:
    install(tmp_path)
    detail = asyncio.run(a_harness(env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).probe())
    assert detail.version == "6730 (e60f01d94)"


@pytest.mark.parametrize(
    ("binary", "words"),
    [
        ("{}/none", "binary {}/none: no such executable file"),
        ("{}/plain", "binary {}/plain: no such executable file"),
        ("{}", "binary {}: no such executable file"),
        ("bin/llama-server", "binary bin/llama-server: give an absolute path, or a bare name to be looked up on PATH"),
        ("my-server", "binary my-server is not on PATH"),
    ],
    ids=["missing", "not executable", "a folder", "relative", "not on PATH"],
)
def test_a_program_that_cannot_be_used_is_told(tmp_path: Path, binary: str, words: str) -> None:
    plant(tmp_path, {"plain": "#!/bin/sh\n"})
    detail = asyncio.run(a_harness(binary.format(tmp_path)).probe())
    assert (detail.usable, detail.why_not) == (False, words.format(tmp_path))


def test_with_neither_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    detail = asyncio.run(a_harness(env={"PATH": "/nowhere"}).probe())
    assert "llama-server is not on PATH, and the embedded engine is not installed" in (detail.why_not or "")


@pytest.mark.parametrize(
    ("help_text", "missing"),
    [("--alias --metrics", "--api-prefix"), ("", "--api-prefix, --metrics, --alias")],
    ids=["too old", "another program"],
)
def test_a_program_without_the_flags_that_are_needed_is_told(tmp_path: Path, help_text: str, missing: str) -> None:
    program = install(tmp_path, help_text=help_text)
    detail = asyncio.run(a_harness(program).probe())
    assert (detail.usable, detail.why_not) == (
        False,
        f"{program} does not know {missing}: it is too old, or no llama-server",
    )


@pytest.mark.parametrize("content", ["\x7fELF", "#!/bin/sh\nread -r line <> $0.fifo\n", "#!/bin/sh\nexit 1\n"])
def test_a_program_that_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(llamacpp, "ASK_DEADLINE_S", 0.05 if "fifo" in content else 30)
    program = install(tmp_path)
    program.write_text(content)
    assert "it is too old, or no llama-server" in (asyncio.run(a_harness(program).probe()).why_not or "")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (frozenset(), {"cpu"}),
        (frozenset({"cuda"}), {"cpu", "cuda"}),
        (frozenset({"rocm"}), {"cpu"}),
    ],
    ids=["no GPU", "one that it was built for", "another"],
)
def test_it_can_use_the_cpu_and_the_gpus_that_its_build_sees(tmp_path: Path, there, expected: set[str]) -> None:
    harness = a_harness(install(tmp_path), gpu_kinds=there)
    asyncio.run(harness.probe())
    assert harness.device_kinds == expected


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf", TinyModel(ctx=2048))


def prepared(harness: LlamaCppHarness, *devices: Device, **request: object) -> Prepared:
    return asyncio.run(harness.prepare(a_request(**request), devices or (CPU,)))


def plan_of(load: Prepared) -> LlamaPlan:
    assert isinstance(load.plan, LlamaPlan)
    return load.plan


@pytest.mark.parametrize(
    ("request_fields", "context_tokens", "is_pool", "parallel"),
    [
        ({}, 2048, True, 4),
        ({"parallel": 2}, 2048, True, 2),
        ({"context": 1000}, 4000, False, 4),
        ({"context": 1000, "parallel": 1}, 1000, False, 1),
    ],
    ids=["the model's own, shared", "by fewer", "as asked, for each of four", "as asked, for one"],
)
def test_the_cache_is_shared_unless_each_slot_has_a_context_of_its_own(
    tiny: Path, request_fields: dict[str, int], context_tokens: int, is_pool: bool, parallel: int
) -> None:
    load = prepared(a_harness(), source=str(tiny), **request_fields)
    plan = plan_of(load)
    assert (plan.model, plan.mmproj) == (tiny, None)
    assert (plan.context_tokens, plan.is_pool, load.parallel) == (context_tokens, is_pool, parallel)
    assert load.context == (context_tokens if is_pool else context_tokens // parallel)


def test_a_model_trained_for_more_has_a_cache_that_is_affordable(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", TinyModel(ctx=131072))
    assert plan_of(prepared(a_harness(), source=str(path))).context_tokens == 32768


def test_what_it_needs_is_estimated_from_its_files_unless_it_is_told(tiny: Path) -> None:
    expected = estimate_mb(weights_bytes(tiny), read_header(tiny), context_tokens=2048, gpus=0)
    load = prepared(a_harness(), source=str(tiny))
    assert (load.need_mb, load.is_estimate) == (expected, True)
    told = prepared(a_harness(), source=str(tiny), vram_mb=1234)
    assert (told.need_mb, told.is_estimate) == (1234, False)


def test_each_gpu_needs_room_of_its_own(tiny: Path) -> None:
    need = [prepared(a_harness(), *devices, source=str(tiny)).need_mb for devices in ((GPU,), (GPU, GPU))]
    assert need[1] - need[0] >= 400


def test_a_projector_counts_as_well(tiny: Path, tmp_path: Path) -> None:
    projector = plant(tmp_path, {"mmproj.gguf": bytes(3 * MIB)}) / "mmproj.gguf"
    load = prepared(a_harness(), source=str(tiny), mmproj=str(projector))
    assert plan_of(load).mmproj == projector
    assert load.need_mb - prepared(a_harness(), source=str(tiny)).need_mb == 3


def test_a_model_is_found_by_its_id(tiny: Path) -> None:
    load = prepared(a_harness(model_dirs=(str(tiny.parent),)), model_id="lab/tiny")
    assert plan_of(load).model == tiny


def test_a_file_that_is_no_model_is_left_for_the_engine_to_refuse(tmp_path: Path) -> None:
    path = plant(tmp_path, {"x.gguf": "<html>"}) / "x.gguf"
    load = prepared(a_harness(), source=str(path))
    assert (plan_of(load).context_tokens, load.need_mb) == (32768, 1 + 48)


def test_a_file_that_cannot_be_read_is_left_for_the_engine_to_refuse(tmp_path: Path, monkeypatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(llamacpp, "read_header", refused)
    path = plant(tmp_path, {"x.gguf": ""}) / "x.gguf"
    assert prepared(a_harness(), source=str(path)).need_mb == 48


@pytest.mark.parametrize(
    ("devices", "request_fields", "error", "words"),
    [
        ((GPU, CPU_LAST), {}, MalformedRequest, "devices of different kinds cannot hold one model together"),
        ((CPU,), {"args": ("--jinja\0",)}, MalformedRequest, "without zero bytes"),
        (
            (CPU,),
            {"args": ("--port", "1")},
            MalformedRequest,
            "args: --port cannot be given, the neuron sets it itself",
        ),
        ((CPU,), {"args": ("--slot-save-path", "/x")}, MalformedRequest, "args: --slot-save-path cannot be given by"),
        ((CPU,), {"source": "/m\0"}, MalformedRequest, "without zero bytes"),
        ((CPU,), {"source": "/none.gguf"}, SourceMissing, "source '/none.gguf': no such file"),
        ((CPU,), {"mmproj": "p.gguf"}, SourceMissing, "mmproj 'p.gguf': give an absolute path"),
        ((CPU,), {"source": None}, SourceMissing, "no GGUF file for lab/m below model_dirs"),
    ],
)
def test_a_load_that_cannot_be_is_refused(
    tiny: Path,
    devices: tuple[Device, ...],
    request_fields: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        prepared(a_harness(), *devices, **{"source": str(tiny)} | request_fields)


def test_an_entry_cannot_set_what_is_the_neurons() -> None:
    entry = HarnessEntry(name="lab", kind="llamacpp", args=("--slot-save-path", "/x", "--api_key", "k"))
    with pytest.raises(ConfigError, match="'lab' of kind llamacpp: args: --api_key cannot be given, the neuron sets"):
        LlamaCppHarness(entry, a_site())


def test_an_entry_can_let_loads_give_more(tiny: Path) -> None:
    entry = HarnessEntry(name="lab", kind="llamacpp", allow_args=("--slot-save-path",))
    prepared(LlamaCppHarness(entry, a_site(env=PATH)), source=str(tiny), args=("--slot-save-path", "/x"))


def test_a_file_on_the_hub_is_estimated_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def find(source: str, quant: str | None, env: dict[str, str]) -> HubFile:
        asked.append((source, quant, env))
        return HubFile(repo="o/m", files=("m.gguf",), size_bytes=1000 * MIB)

    monkeypatch.setattr(llamacpp, "find_remote", find)
    load = prepared(a_harness(), source="hf:o/m", quant="Q8_0")
    assert (load.need_mb, plan_of(load).context_tokens) == (1000 + 100 + 48, 32768)
    assert asked == [("hf:o/m", "Q8_0", PATH)]


def test_a_file_of_the_hubs_that_is_here_is_read_like_any_other(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(*_: object) -> HubFile:
        return HubFile(repo="o/m", files=("tiny.gguf",), size_bytes=1, path=str(tiny))

    monkeypatch.setattr(llamacpp, "find_remote", find)
    load = prepared(a_harness(), source="hf:o/m")
    assert plan_of(load).model == tiny
    assert load.need_mb == prepared(a_harness(), source=str(tiny)).need_mb


def launch_of(log: Path, model: Path | HubFile, **changes: object) -> Launch:
    plan = LlamaPlan(model=model, mmproj=None, context_tokens=512, is_pool=True)
    return a_launch(prepared=Prepared(need_mb=1, is_estimate=False, parallel=1, plan=plan), log=log, **changes)


def started(
    harness: LlamaCppHarness, launch: Launch, test: Callable[[object], Awaitable[None]] | None = None
) -> list[object]:
    """Start an engine, run a test with it, and stop it; return the engine, or why there is none."""
    outcome: list[object] = []

    async def run() -> None:
        await harness.probe()
        engine = await harness.start(launch)
        outcome.append(engine)
        if not isinstance(engine, EngineExit):
            try:
                if test is not None:
                    await test(engine)
            finally:
                await engine.stop(0)

    asyncio.run(run())
    return outcome


def test_an_engine_is_started_with_its_line_and_environment(tmp_path: Path) -> None:
    program, port = install(tmp_path), free_port()
    entry = HarnessEntry(
        name="lab", kind="llamacpp", binary=str(program), port_range=(port, port), args=("--jinja",), env={"X": "own"}
    )
    harness = LlamaCppHarness(entry, a_site(env=PATH | {"X": "site"}, is_tethered=False))
    launch = launch_of(
        tmp_path / "log", Path("/m.gguf"), devices=(GPU,), request=a_request(model_id="a,b", args=("--temp", "0"))
    )

    async def test(engine) -> None:
        await asyncio.to_thread(Path(f"{program}.up").read_text)
        assert engine.handle.port == port
        assert engine.handle.url == f"http://127.0.0.1:{port}/i/abc"
        assert engine.handle.engine_model == "a_b"
        assert await harness.start(launch) == no_port(launch.log, port)

    started(harness, launch, test)
    line = Path(f"{program}.argv").read_text().split("\n")[:-1]
    assert line == [
        *("--model", "/m.gguf", "--alias", "a_b", "--host", "127.0.0.1", "--port", str(port), "--api-prefix", "/i/abc"),
        *("--parallel", "1", "--ctx-size", "512", "--metrics", "--n-gpu-layers", "999", "--offline", "--jinja"),
        *("--temp", "0"),
    ]
    env = dict(word.split("=", 1) for word in Path(f"{program}.env").read_text().splitlines())
    assert {key: env.get(key) for key in ("X", "CORTEX_INSTANCE", "CUDA_VISIBLE_DEVICES")} == {
        "X": "own",
        "CORTEX_INSTANCE": "abc",
        "CUDA_VISIBLE_DEVICES": "GPU-a",
    }


def no_port(log: Path, port: int) -> EngineExit:
    return llamacpp.not_started("no_free_port", f"every port of {port} to {port} is busy", log)


@pytest.mark.parametrize(
    ("bind_host", "base"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://localhost:")],
)
def test_its_url_is_one_that_this_host_can_reach(tmp_path: Path, bind_host: str, base: str) -> None:
    async def test(engine) -> None:
        assert engine.handle.url.startswith(base)

    harness = a_harness(install(tmp_path, serve="exit 0"), bind_host=bind_host)
    started(harness, launch_of(tmp_path / "log", Path("/m.gguf")), test)


def test_a_program_that_has_gone_is_told_and_its_port_given_back(tmp_path: Path) -> None:
    program, port = install(tmp_path), free_port()
    harness = a_harness(program, port_range=(port, port), is_tethered=False)

    async def run() -> None:
        await harness.probe()
        program.unlink()
        for _ in range(2):
            exit = await harness.start(launch_of(tmp_path / "log", Path("/m.gguf")))
            assert isinstance(exit, EngineExit)
            assert exit.error.message == f"{program} cannot be started: No such file or directory"

    asyncio.run(run())


def test_a_fetch_that_fails_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(*_: object, **__: object) -> Path:
        raise FetchFailed("o/m: it is gated")

    monkeypatch.setattr(llamacpp, "fetch", fetch)
    (exit,) = started(a_harness(install(tmp_path)), launch_of(tmp_path / "log", HubFile(repo="o/m", files=("m.gguf",))))
    assert isinstance(exit, EngineExit)
    assert (exit.error.code, exit.error.message) == ("fetch_failed", "o/m: it is gated")


def test_a_fetched_file_is_what_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(file: HubFile, env: dict[str, str], log: Path, *, is_tethered: bool, progress) -> Path:
        assert (env, is_tethered) == (PATH, True)
        progress(0.5)
        return Path("/cache") / file.files[0]

    monkeypatch.setattr(llamacpp, "fetch", fetch)
    program = install(tmp_path)

    async def test(_: object) -> None:
        await asyncio.to_thread(Path(f"{program}.up").read_text)

    launch = launch_of(tmp_path / "log", HubFile(repo="o/m", files=("m.gguf",)))
    started(a_harness(program), launch, test)
    assert launch.progress.fraction == 0.5
    assert Path(f"{program}.argv").read_text().startswith("--model\n/cache/m.gguf\n")


def test_the_embedded_engine_serves_is_found_again_and_stops(tiny: Path, tmp_path: Path) -> None:
    async def run() -> None:
        client = HttpClient()
        harness = a_harness(env={"PATH": "/nowhere"}, http=client, is_tethered=False)
        await harness.probe()
        engine = await harness.start(launch_of(tmp_path / "log", tiny))
        assert not isinstance(engine, EngineExit)
        record = a_record(handle=engine.handle)
        engine.let_go()
        found = await harness.recover(record, tmp_path / "log")
        assert found is not None
        try:
            await found.ready()
            models = await client.request("GET", f"{found.handle.url}/v1/models", deadline_s=30)
            assert json.loads(models.body)["data"][0]["id"] == "lab/m"
            activity = await found.activity()
            assert activity is not None
            assert activity.in_flight == 0
        finally:
            assert await found.stop(30)
            await asyncio.to_thread(os.waitpid, found.handle.pid, 0)
            await client.close()
        assert await harness.recover(record, tmp_path / "log") is None

    asyncio.run(run())


def test_an_engine_that_is_found_again_has_its_port(tmp_path: Path) -> None:
    program, port = install(tmp_path), free_port()
    launch = launch_of(tmp_path / "log", Path("/m.gguf"))

    async def test(engine) -> None:
        after = a_harness(program, port_range=(port, port))
        found = await after.recover(a_record(handle=engine.handle), launch.log)
        assert found is not None
        assert await after.start(launch) == no_port(launch.log, port)
        found.let_go()

    started(a_harness(program, port_range=(port, port)), launch, test)


def test_nothing_is_found_of_what_never_ran() -> None:
    assert asyncio.run(a_harness().recover(a_record(handle=Handle()), Path("log"))) is None


def test_it_lists_no_models_of_its_own() -> None:
    assert asyncio.run(a_harness().listed()) == ()
