"""A server by its command: what an entry may say, what a load is refused for, and the line that comes of both.

That such servers start, serve and stop is shown by ``tests/conformance/test_command.py``.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.closed_folder import close
from tests.unit.neuron.file_tree import plant
from tests.unit.neuron.harness.builder import CPU, a_launch, a_request, a_site

from cortex.contract.error import ConfigError, MalformedRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.command_preset import PRESETS
from cortex.neuron.harness.command import CommandHarness
from cortex.neuron.harness.interface import EngineExit, Launch, Prepared
from cortex.neuron.refusal import SourceMissing
from cortex.neuron.settings import HarnessEntry

GPU = Device(index=0, name="gpu", vram_total_mb=24000, uuid="GPU-a")
GPU_B = Device(index=1, name="gpu", vram_total_mb=48000, uuid="GPU-b")
AMD = Device(index=2, name="gpu", vram_total_mb=24000, kind="rocm")
CUDA = frozenset({"cuda"})
CMD = "serve --port ${PORT} ${MODEL_PATH}"
PATH = {"PATH": os.environ["PATH"]}


def a_harness(cmd: object = CMD, *, kind: str = "command", site: dict[str, Any] | None = None, **entry: Any):
    made = HarnessEntry(name="lab", kind=kind, cmd=cmd, **entry)  # type: ignore[arg-type]
    return CommandHarness(made, a_site(**{"env": PATH, "gpu_kinds": CUDA, **(site or {})}))


def prepared(harness: CommandHarness, *devices: Device, **request: Any) -> Prepared:
    return asyncio.run(harness.prepare(a_request(**request), devices or (CPU,)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cmd": None}, "'lab' of kind command needs `cmd`: the program and its arguments"),
        ({"cmd": ""}, "cmd: expected a program and its arguments"),
        ({"cmd": "a 'b ${PORT}"}, "cmd: No closing quotation"),
        ({"cmd": "a ${PORT} | tee x"}, "cmd: there is no shell"),
        ({"cmd": "a ${PROT} ${PORT}"}, r"cmd, env: there is no \$\{PROT\}; there are \$\{PORT\}, "),
        ({"env": {"A": "${HOME}"}}, r"cmd, env: there is no \$\{HOME\}"),
        ({"cmd": "serve ${MODEL_PATH}"}, r"cmd: expected \$\{PORT\} in it"),
        ({"cmd": ("serve", ("--port", "${PORT}"))}, r"cmd: expected \$\{PORT\} in it"),
        ({"kind": "vllm", "cmd": "vllm serve"}, r"'lab' of kind vllm: cmd: expected \$\{PORT\} in it"),
    ],
    ids=[
        "none",
        "empty",
        "a quote",
        "a shell",
        "a typing error",
        "the environment",
        "no port",
        "perhaps",
        "a preset's",
    ],
)
def test_an_entry_that_can_never_start_anything_is_refused_with_its_key(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        a_harness(**fields)


def test_a_program_that_is_not_there_makes_the_entry_unusable(tmp_path: Path) -> None:
    detail = asyncio.run(a_harness("/no/such ${PORT}").probe())
    assert (detail.name, detail.kind, detail.usable) == ("lab", "command", False)
    assert detail.why_not == "cmd: there is no program /no/such"
    detail = asyncio.run(a_harness(None, kind="vllm", site={"env": {"PATH": str(tmp_path)}}).probe())
    assert detail.why_not == "binary: there is no program vllm"
    assert asyncio.run(a_harness("sh ${PORT}").probe()).usable


def test_a_preset_of_a_module_is_usable_where_its_python_has_it(tmp_path: Path) -> None:
    entry = {"kind": "sglang", "binary": sys.executable}
    detail = asyncio.run(a_harness(None, **entry).probe())
    assert detail.why_not == f"{sys.executable} has no sglang: name the `binary` of an environment that has it"
    plant(tmp_path, {"sglang/__init__.py": ""})
    assert asyncio.run(a_harness(None, **entry, env={"PYTHONPATH": str(tmp_path)}).probe()).usable


@pytest.mark.parametrize(
    ("fields", "is_fenced", "reports"),
    [
        ({}, False, False),
        ({"cmd": CMD + " --key ${KEY}"}, True, False),
        ({"cmd": CMD + " --prefix ${PREFIX}"}, True, False),
        ({"env": {"SERVER_KEY": "${KEY}"}}, True, False),
        ({"in_flight_metrics": ("busy",)}, False, True),
        ({"cmd": None, "kind": "vllm"}, True, True),
        ({"cmd": None, "kind": "sglang"}, True, True),
    ],
    ids=["plain", "a key", "a path", "a key in the environment", "metrics", "vLLM", "SGLang"],
)
def test_what_its_engines_can_do_is_seen_from_the_entry(fields: dict[str, Any], is_fenced: bool, reports: bool) -> None:
    found = a_harness(**{"cmd": CMD, **fields}).capabilities
    assert (found.process_model, found.is_fenced, found.reports_in_flight) == ("per_model", is_fenced, reports)


@pytest.mark.parametrize(
    ("kind", "gpus", "expected"),
    [
        ("command", CUDA, {"cuda", "cpu"}),
        ("command", frozenset(), {"cpu"}),
        ("vllm", CUDA, {"cuda"}),
        ("vllm", frozenset(), {"cpu"}),
    ],
)
def test_a_preset_runs_on_the_gpus_where_there_are_any(kind: str, gpus: frozenset[Any], expected: set[str]) -> None:
    harness = a_harness(None if kind == "vllm" else CMD, kind=kind, site={"gpu_kinds": gpus})
    assert harness.device_kinds == expected


def test_a_gpu_that_appears_later_can_be_used_too() -> None:
    harness = CommandHarness(HarnessEntry(name="command", cmd=CMD), site := a_site())
    assert harness.device_kinds == {"cpu"}
    site.gpu_kinds = CUDA
    assert harness.device_kinds == {"cuda", "cpu"}


def test_gpus_that_come_later_are_used() -> None:
    site = a_site(env=PATH, gpu_kinds=frozenset())
    harness = CommandHarness(HarnessEntry(name="vllm"), site)
    assert harness.device_kinds == {"cpu"}
    site.gpu_kinds = CUDA
    assert harness.device_kinds == CUDA


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"source": "{}/folder"}, "{}/folder"),
        ({"source": "hf:Qwen/Qwen3-8B"}, "Qwen/Qwen3-8B"),
        ({"model_id": "Qwen/Qwen3-8B"}, "Qwen/Qwen3-8B"),
        ({"model_id": "owner/kept"}, "{}/models/owner/kept"),
        ({"model_id": "gpt2"}, "gpt2"),
    ],
    ids=["a path", "a repository", "the id as one", "a folder of that name", "one without an owner"],
)
def test_what_is_served_is_a_path_or_a_repository(tmp_path: Path, fields: dict[str, str], path: str) -> None:
    plant(tmp_path, {"folder/x": "", "models/owner/kept/x": ""})
    harness = a_harness(site={"model_dirs": (str(tmp_path / "models"),)})
    asked = {key: value.format(tmp_path) for key, value in fields.items()}
    assert prepared(harness, vram_mb=1, **asked).plan == path.format(tmp_path)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"source": "/no/such"}, SourceMissing, "source '/no/such': no such file or folder on this node"),
        ({"source": "folder"}, SourceMissing, "source 'folder': give an absolute path, or hf:<repo>"),
        ({"source": "hf:../../etc"}, SourceMissing, "no repository of Hugging Face"),
        ({"source": "hf:a/b:c"}, SourceMissing, "no repository of Hugging Face"),
        ({"model_id": "../etc"}, SourceMissing, "no repository of Hugging Face"),
        ({"model_id": "/etc"}, SourceMissing, "no repository of Hugging Face"),
        ({"model_id": "--trust-remote-code"}, MalformedRequest, "model_id: expected words that do not begin"),
        ({"args": ("--port", "1")}, MalformedRequest, "args: --port cannot be given to harness 'lab' by a load"),
        ({"quant": "Q4_K_M"}, MalformedRequest, r"quant: the command of harness 'lab' has no \$\{QUANT\}"),
        ({"vram_mb": None}, MalformedRequest, "vram_mb: say what lab/m needs"),
        ({"vram_mb": None, "source": "{}"}, MalformedRequest, "vram_mb: say what lab/m needs"),
        ({"devices": (GPU, AMD)}, MalformedRequest, "devices of different kinds"),
    ],
    ids=[
        *("missing", "relative", "a way out", "a file of a repository", "an id as a way out", "an id as a path"),
        *("an id as a flag", "a flag", "no place", "a repository's size", "an empty folder's size", "two kinds"),
    ],
)
def test_a_load_that_cannot_be_is_refused(
    tmp_path: Path, fields: dict[str, Any], error: type[Exception], words: str
) -> None:
    devices = fields.pop("devices", (GPU,)) if "devices" in fields else (GPU,)
    asked = {"vram_mb": 1, **fields}
    if asked.get("source") == "{}":
        asked["source"] = str(tmp_path)
    with pytest.raises(error, match=words):
        prepared(a_harness(), *devices, **asked)


def test_a_projector_must_be_there(tmp_path: Path) -> None:
    harness = a_harness(CMD + " --mmproj ${MMPROJ}")
    with pytest.raises(SourceMissing, match="mmproj '/none'"):
        prepared(harness, vram_mb=1, mmproj="/none")
    plant(tmp_path, {"p": ""})
    assert prepared(harness, vram_mb=1, mmproj=str(tmp_path / "p")).need_mb == 1


@pytest.mark.parametrize(("allow", "word"), [(("--extra",), "--extra=1"), ((), None)])
def test_an_entry_can_let_loads_give_more(allow: tuple[str, ...], word: str | None) -> None:
    harness = a_harness(allow_args=allow)
    prepared(harness, vram_mb=1, args=() if word is None else (word,))
    with pytest.raises(MalformedRequest):
        prepared(harness, vram_mb=1, args=("--more",))


def test_the_need_is_what_is_said_or_estimated(tmp_path: Path) -> None:
    plant(tmp_path, {"m/a.safetensors": bytes(3 << 20)})
    said = prepared(a_harness(), GPU, vram_mb=77)
    assert (said.need_mb, said.is_estimate, said.parallel) == (77, False, 4)
    estimated = prepared(a_harness(), GPU, source=str(tmp_path / "m"), parallel=9)
    assert (estimated.need_mb, estimated.is_estimate, estimated.parallel) == (3 + 2048, True, 9)
    assert prepared(a_harness(None, kind="vllm"), GPU, vram_mb=77).parallel == 64


SAYS = (sys.executable, "-c", "import os, sys; print('\\n'.join([*sys.argv[1:], *map('='.join, os.environ.items())]))")


def said_by(tmp_path: Path, harness: CommandHarness, *devices: Device, need_mb: int = 6000, **fields: Any):
    """Start an engine that only says how it was started; return its words, its environment and its handle."""
    free_mb = fields.pop("free_mb", ())
    launch: Launch = a_launch(
        request=a_request(**fields),
        prepared=Prepared(need_mb=need_mb, is_estimate=False, parallel=8, plan="/m"),
        devices=devices or (CPU,),
        ordinals=tuple(device.index for device in devices) or (0,),
        free_mb=free_mb,
        log=tmp_path / "log",
    )

    async def run():
        http = HttpClient()
        try:
            engine = await harness.start(launch)
            assert not isinstance(engine, EngineExit)
            lines = (await engine.exited()).error.log_tail
            return lines, engine.handle
        finally:
            await http.close()

    lines, handle = asyncio.run(run())
    split = next(n for n, line in enumerate(lines) if line.startswith("PATH="))
    return list(lines[:split]), dict(line.split("=", 1) for line in lines[split:]), handle


WORDS = ("${PORT}", "${HOST}", "${MODEL_PATH}", "${MODEL_ID}", "${DEVICES}", "${DEVICE_COUNT}", "${PARALLEL}")


def test_every_variable_has_its_value(tmp_path: Path) -> None:
    cmd = (*SAYS, *WORDS, "${VRAM_MB}", ("${CONTEXT}",), ("${QUANT}",), ("${MMPROJ}",))
    harness = a_harness(cmd, args=("--own",))
    words, env, handle = said_by(
        tmp_path, harness, GPU_B, GPU, model_id="a b/c", context=4096, quant="awq", mmproj="/p", args=("--asked",)
    )
    assert words == [
        *(str(handle.port), "127.0.0.1", "/m", "a b/c", "1,0", "2", "8", "6000", "4096", "awq", "/p"),
        *("--own", "--asked"),
    ]
    assert (env["CUDA_VISIBLE_DEVICES"], env["CORTEX_INSTANCE"]) == ("GPU-b,GPU-a", "abc")
    assert (handle.engine_model, handle.credential) == ("a b/c", None)
    assert handle.url == f"http://127.0.0.1:{handle.port}"


def test_what_a_launch_does_not_say_is_left_out(tmp_path: Path) -> None:
    cmd = (*SAYS, "${PORT}", ("--ctx", "${CONTEXT}"), ("--share", "${MEMORY_FRACTION}"), "end")
    words, _, handle = said_by(tmp_path, a_harness(cmd))
    assert words == [str(handle.port), "end"]


def test_a_fence_is_of_one_generation(tmp_path: Path) -> None:
    harness = a_harness((*SAYS, "${PORT}", "${PREFIX}", "${KEY}"), env={"SERVER_KEY": "k-${KEY}"})
    keys = []
    for _ in range(2):
        words, env, handle = said_by(tmp_path, harness)
        assert words[1:] == ["/i/abc", handle.credential]
        assert env["SERVER_KEY"] == f"k-{handle.credential}"
        assert handle.url.endswith(f":{handle.port}/i/abc")
        assert len(handle.credential or "") == 32
        keys.append(handle.credential)
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("devices", "need_mb", "free_mb", "whole", "free"),
    [
        ((GPU,), 6000, (), "0.25", "0.225"),
        ((GPU,), 6000, (12000,), "0.25", "0.45"),
        ((GPU, GPU_B), 12000, (24000, 20000), "0.125", "0.27"),
        ((GPU,), 6000, (None,), "0.25", "0.225"),
        ((GPU,), 8000, (), "0.333", "0.3"),
        ((GPU,), 24000, (24000,), "0.99", "0.9"),
        ((GPU,), 24000, (100,), "0.99", "0.99"),
        ((GPU,), 0, (), "0.001", "0.001"),
        ((GPU,), 6000, (0,), "0.25", "0.99"),
    ],
    ids=[
        *(
            "of an empty one",
            "of one that is half full",
            "the largest and the fullest count",
            "of one that does not tell",
        ),
        *("rounded down", "never all", "never more", "never nothing", "a full one"),
    ],
)
def test_a_share_is_a_fraction_that_is_never_more(
    tmp_path: Path, devices: tuple[Device, ...], need_mb: int, free_mb: tuple[int | None, ...], whole: str, free: str
) -> None:
    harness = a_harness((*SAYS, "${PORT}", "${MEMORY_FRACTION}", "${FREE_MEMORY_FRACTION}"))
    words, _, _ = said_by(tmp_path, harness, *devices, need_mb=need_mb, free_mb=free_mb)
    assert words[1:] == [whole, free]


def preset_line(tmp_path: Path, kind: str, program: str, **fields: Any):
    """Return the words after the program's own of a preset, its environment, and how it is reached."""
    script = plant(tmp_path, {program: '#!/bin/sh\nfor word in "$@"; do echo "$word"; done; env\n'}) / program
    script.chmod(0o755)
    harness = a_harness(None, kind=kind, binary=str(script))
    lines, _, handle = said_by(tmp_path, harness, GPU, GPU_B, free_mb=(20000, 40000), model_id="lab/m", **fields)
    return [line for line in lines if "=" not in line], handle


def test_the_line_of_vllm(tmp_path: Path) -> None:
    words, handle = preset_line(tmp_path, "vllm", "vllm", context=8192, quant="fp8", args=("--dtype", "half"))
    assert words == [
        *("serve", "/m", "--served-model-name", "lab/m", "--host", "127.0.0.1", "--port", str(handle.port)),
        *("--tensor-parallel-size", "2", "--max-num-seqs", "8", "--uvicorn-log-level", "warning"),
        *("--gpu-memory-utilization", "0.062", "--max-model-len", "8192", "--quantization", "fp8", "--dtype", "half"),
    ]
    assert f"VLLM_API_KEY={handle.credential}" in (tmp_path / "log").read_text().splitlines()


def test_the_line_of_sglang(tmp_path: Path) -> None:
    words, handle = preset_line(tmp_path, "sglang", "python3")
    assert words == [
        *("-m", "sglang.launch_server", "--model-path", "/m", "--served-model-name", "lab/m", "--host", "127.0.0.1"),
        *("--port", str(handle.port), "--tp-size", "2", "--max-running-requests", "8", "--api-key"),
        *(str(handle.credential), "--enable-metrics", "--log-level-http", "warning", "--mem-fraction-static", "0.135"),
    ]


@pytest.mark.parametrize("kind", sorted(PRESETS))
def test_a_load_can_give_a_preset_nothing_that_writes_opens_runs_or_unlocks(kind: str) -> None:
    harness = a_harness(None, kind=kind)
    for flag in (
        *("--api-key", "--host", "--port", "--ssl-keyfile", "--ssl-certfile", "--config", "--trust-remote-code"),
        *("--download-dir", "--middleware", "--tool-server", "--tool-parser-plugin", "--uds", "--root-path"),
        *("--log-requests-target", "--crash-dump-folder", "--file-storage-path", "--otlp-traces-endpoint"),
        *("--gpu-memory-utilization", "--mem-fraction-static", "--tensor-parallel-size", "--tp-size"),
        *("--served-model-name", "--model-path", "--model", "--worker-extension-cls", "--kv-transfer-config"),
        *("--allowed-local-media-path", "--dist-init-addr", "--nnodes", "--grpc-mode", "--admin-api-key"),
        *("--trust_remote_code", "--trust-remote", "--hf-overrides", "--load-format", "--max-num-seqs"),
    ):
        with pytest.raises(MalformedRequest, match=f"args: {flag} cannot be given"):
            prepared(harness, GPU, vram_mb=1, args=(flag, "x"))


def test_servers_that_split_every_layer_say_so_and_of_others_nobody_knows() -> None:
    assert asyncio.run(a_harness(None, kind="vllm").probe()).spread == "tensors"
    assert asyncio.run(a_harness("sh ${PORT}").probe()).spread is None


def test_what_the_neuron_may_not_look_at_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(monkeypatch, tmp_path / "home")
    harness = a_harness(site={"model_dirs": (str(tmp_path / "home"),)})
    assert prepared(harness, vram_mb=1, model_id="a/b").plan == "a/b"
    with pytest.raises(SourceMissing, match="no such file or folder on this node"):
        prepared(harness, vram_mb=1, source=str(tmp_path / "home" / "m"))
