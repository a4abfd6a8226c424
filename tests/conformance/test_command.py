"""Servers by their command keep the contract of a harness: the real engine, and the presets with stand-ins."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.kit.http_client import HttpClient
from cortex.neuron.embedded.tiny_model import write_demo_model
from cortex.neuron.harness.command import CommandHarness
from cortex.testing.harness_conformance import LIMIT_S, Case, HarnessConformance

HERE = Path(__file__).parent
ENGINE = (
    *(sys.executable, "-P", "-m", "cortex.neuron.embedded", "--model", "${MODEL_PATH}", "--alias", "${MODEL_ID}"),
    *("--host", "${HOST}", "--port", "${PORT}", "--parallel", "${PARALLEL}", "--metrics"),
)
COUNTS = {
    "in_flight_metrics": ["llamacpp:requests_processing", "llamacpp:requests_deferred"],
    "work_metrics": ["llamacpp:n_decode_total", "llamacpp:prompt_tokens_total"],
}
GPUS = tuple(Device(index=n, name="gpu", vram_total_mb=24000, uuid=f"GPU-{n}") for n in range(2))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")


async def chat(url: str, model: str, key: str | None = None) -> None:
    body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"content-type": "application/json"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    http = HttpClient()
    try:
        reply = await http.request(
            "POST", url + "/v1/chat/completions", deadline_s=LIMIT_S, body=json.dumps(body).encode(), headers=headers
        )
    finally:
        await http.close()
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["choices"]


class RealEngine(HarnessConformance):
    """The embedded engine by a command; a subclass says how it is fenced."""

    fence: tuple[str, ...] = ()

    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        broken = folder / "broken.gguf"
        broken.write_bytes(self.model.read_bytes()[:20_000])
        yield Case(
            make=CommandHarness,
            kind="command",
            works=LoadRequest(model_id="lab/demo", harness="trial", source=str(self.model)),
            impossible=LoadRequest(model_id="lab/demo", harness="trial", source=str(folder / "none.gguf")),
            fails=LoadRequest(model_id="lab/broken", harness="trial", source=str(broken)),
            last_words="model is corrupted or incomplete",
            use=chat,
            use_with_key=chat,
            entry={"cmd": [*ENGINE, *self.fence], **COUNTS},
        )


class TestFencedByItsPath(RealEngine):
    fence = ("--api-prefix", "${PREFIX}")


class TestFencedByItsKey(RealEngine):
    fence = ("--api-key", "${KEY}")


class StandIn(HarnessConformance):
    """A preset with a program that takes the real one's flags, on two GPUs."""

    kind = ""
    program = ""
    python_path = ""

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        good, bad = folder / "good", folder / "bad"
        for model in (good, bad):
            model.mkdir()
            (model / "model.safetensors").write_bytes(bytes(1 << 20))
        (good / "config.json").write_text("{}")
        yield Case(
            make=CommandHarness,
            kind=self.kind,
            works=LoadRequest(
                model_id="lab/m", harness="trial", source=str(good), context=4096, args=("--dtype=half",)
            ),
            impossible=LoadRequest(model_id="lab/m", harness="trial", source=str(good), quant="Q4_K_M"),
            fails=LoadRequest(model_id="lab/bad", harness="trial", source=str(bad)),
            last_words="does not appear to have a file named config.json",
            use=chat,
            use_with_key=chat,
            devices=GPUS,
            entry={"binary": self.program or str(self.folder / "vllm"), "env": {"PYTHONPATH": self.python_path}},
        )

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder = tmp_path_factory.mktemp("program")


class TestVllm(StandIn):
    kind = "vllm"

    @pytest.fixture(autouse=True)
    def _program(self, _folder: None) -> None:
        program = self.folder / "vllm"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "fake_vllm.py"} "$@"\n')
        program.chmod(0o755)


class TestSglang(StandIn):
    kind = "sglang"
    program = sys.executable
    python_path = str(HERE / "fake_sglang")
