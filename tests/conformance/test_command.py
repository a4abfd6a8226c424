"""Servers by their command keep the contract of a harness: the real engine, and the presets with stand-ins."""

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.real_engine import chat, loads

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.neuron.harness.command import CommandHarness
from cortex.testing.harness_conformance import Case, HarnessConformance

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


class RealEngine(HarnessConformance):
    """The embedded engine by a command; a subclass says how it is fenced."""

    fence: tuple[str, ...] = ()

    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        entry = {"cmd": [*ENGINE, *self.fence], **COUNTS}
        yield Case(make=CommandHarness, kind="command", entry=entry, **loads(folder, self.model))


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
