"""mistral.rs, the fake one, keeps the contract of a harness in both modes and both dialects."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.conformance.real_engine import chat
from tests.port import free_port

from cortex.contract.error import UpstreamError
from cortex.contract.instance import LoadRequest
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.mistralrs import mistralrs_harness
from cortex.neuron.mistralrs.shared import SharedMistralRs
from cortex.neuron.process.systemd import SystemdUnit
from cortex.neuron.shared_server import Pace
from cortex.testing.fake_mistralrs import OPTIONS_VARIABLE, FakeModel, FakeOptions
from cortex.testing.fake_systemd import FakeSystemd
from cortex.testing.harness_conformance import HOST, LIMIT_S, Case, HarnessConformance
from cortex.testing.shared_conformance import SharedCase, SharedHarnessConformance

PROGRAM = [sys.executable, "-P", "-m", "cortex.testing.fake_mistralrs"]
UNIT = "mistralrs.service"
NO_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY: out of memory"
OLD, NEW = "0.9.2", "0.9.3"


def a_program(folder: Path) -> Path:
    """Write ``mistralrs`` as a program of its own."""
    file = folder / "mistralrs"
    file.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    file.chmod(0o755)
    return file


def options(version: str, **more: object) -> dict[str, str]:
    return {OPTIONS_VARIABLE: msgspec.json.encode(FakeOptions(version=version, **more)).decode()}  # type: ignore[arg-type]


class Shared(SharedHarnessConformance):
    """One server under a fake systemd; two models that work and one that comes in once only."""

    version: str

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[SharedCase]:
        port = free_port()
        models = {
            "lab/a": FakeModel(load_s=0.05),
            "lab/b": FakeModel(),
            "lab/broken": FakeModel(reload_error=NO_MEMORY),
        }
        config = folder / "mistralrs.toml"
        listed = "".join(f'[[models]]\nmodel_id = "{name}"\n' for name in models)
        config.write_text(f'command = "serve"\n[server]\nhost = "{HOST}"\nport = {port}\n{listed}')
        with FakeSystemd(folder / "systemd") as systemd:
            env = options(self.version, models=models, unloaded=tuple(models))
            systemd.install(UNIT, [*PROGRAM, "from-config", "-f", str(config)], env)
            url = f"http://{HOST}:{port}"
            await bring_up(systemd, url)
            yield SharedCase(
                make=lambda entry, site: SharedMistralRs(entry, site, Pace(watch_s=0.02)),
                kind="mistralrs",
                entry={"endpoint": url, "systemd_unit": UNIT},
                works=LoadRequest(model_id="lab/a", harness="trial"),
                also_works=LoadRequest(model_id="lab/b", harness="trial"),
                impossible=LoadRequest(model_id="lab/none", harness="trial"),
                fails=LoadRequest(model_id="lab/broken", harness="trial"),
                last_words="out of memory",
                use=chat,
                pid=lambda: systemd.pid(UNIT),
                unload=lambda name: unload(url, name),
                env=systemd.environment(),
            )


async def bring_up(systemd: FakeSystemd, url: str) -> None:
    await SystemdUnit(UNIT, systemd.environment()).start()
    http = HttpClient()
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                if await is_up(http, url):
                    return
    finally:
        await http.close()


async def is_up(http: HttpClient, url: str) -> bool:
    with contextlib.suppress(UpstreamError):
        return (await http.request("GET", url + "/health", deadline_s=LIMIT_S)).status == 200
    return False


async def unload(url: str, name: str) -> None:
    http = HttpClient()
    try:
        body, headers = json.dumps({"model_id": name}).encode(), {"content-type": "application/json"}
        await http.request("POST", url + "/v1/models/unload", deadline_s=LIMIT_S, body=body, headers=headers)
    finally:
        await http.close()


class TestSharedOld(Shared):
    version = OLD


class TestSharedNew(Shared):
    version = NEW


class PerModel(HarnessConformance):
    version: str

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        yield Case(
            make=mistralrs_harness,
            kind="mistralrs",
            works=LoadRequest(model_id="lab/a", harness="trial", vram_mb=100),
            impossible=LoadRequest(model_id="lab/a", harness="trial", source=str(folder / "none.gguf")),
            fails=LoadRequest(model_id="lab/broken", harness="trial", vram_mb=100),
            last_words=NO_MEMORY,
            use=chat,
            entry={"mode": "per_model", "binary": str(self.program)},
            env=options(self.version, models={"lab/broken": FakeModel(error=NO_MEMORY)}),
        )

    @pytest.fixture(autouse=True)
    def _program(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.program = a_program(tmp_path_factory.mktemp("program"))


class TestPerModelOld(PerModel):
    version = OLD


class TestPerModelNew(PerModel):
    version = NEW
