"""The harness of servers that run by themselves keeps the contract, with the real engine as somebody else's server."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.real_engine import chat

from cortex.contract.error import UpstreamError
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.openai import OpenAiHarness
from cortex.testing.foreign_conformance import ForeignCase, ForeignHarnessConformance
from cortex.testing.harness_conformance import HOST, LIMIT_S

MODEL = "lab/demo"
KEY = "sk-of-the-server-itself"


@contextlib.asynccontextmanager
async def a_server(model: Path, log: Path, *more: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the engine as somebody else would; yield its base URL and its process once it serves."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    argv = ("-P", "-m", "cortex.neuron.embedded", "--model", str(model), "--alias", MODEL, "--host", HOST)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, "--port", str(port), *more, stdout=out, stderr=asyncio.subprocess.STDOUT
        )
    try:
        await serves(f"http://{HOST}:{port}", process)
        yield f"http://{HOST}:{port}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def serves(url: str, process: asyncio.subprocess.Process) -> None:
    http = HttpClient()
    try:
        async with asyncio.timeout(LIMIT_S):
            while process.returncode is None:
                with contextlib.suppress(UpstreamError):
                    if (await http.request("GET", url + "/health", deadline_s=LIMIT_S)).status == 200:
                        return
    finally:
        await http.close()
    raise AssertionError(f"the server has ended with {process.returncode}")


class TestOpenAi(ForeignHarnessConformance):
    has_key = False

    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[ForeignCase]:
        more, entry = (), {}
        if self.has_key:
            file = folder / "key"
            file.touch(mode=0o600)
            file.write_text(KEY)
            more, entry = ("--api-key", KEY), {"key_file": str(file)}
        async with a_server(self.model, folder / "server.log", *more) as (url, process):

            async def end() -> None:
                process.kill()
                await process.wait()

            yield ForeignCase(
                make=OpenAiHarness,
                kind="openai",
                entry={"endpoint": url, **entry},
                model_id=MODEL,
                use=chat,
                end=end,
            )


class TestOpenAiWithKey(TestOpenAi):
    has_key = True
