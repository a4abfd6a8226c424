"""llama.cpp keeps the contract of a harness, with the real embedded engine."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cortex.contract.instance import LoadRequest
from cortex.kit.http_client import HttpClient
from cortex.neuron.embedded.tiny_model import write_demo_model
from cortex.neuron.harness.llamacpp import LlamaCppHarness
from cortex.testing.harness_conformance import LIMIT_S, Case, HarnessConformance


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_model(tmp_path_factory.mktemp("model") / "demo.gguf")


async def chat(url: str, model: str) -> None:
    body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    http = HttpClient()
    try:
        reply = await http.request(
            "POST",
            url + "/v1/chat/completions",
            deadline_s=LIMIT_S,
            body=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
    finally:
        await http.close()
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["choices"]


class TestLlamaCpp(HarnessConformance):
    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        broken = folder / "broken.gguf"
        broken.write_bytes(self.model.read_bytes()[:20_000])
        yield Case(
            make=LlamaCppHarness,
            kind="llamacpp",
            works=LoadRequest(model_id="lab/demo", harness="trial", source=str(self.model)),
            impossible=LoadRequest(model_id="lab/demo", harness="trial", source=str(folder / "none.gguf")),
            fails=LoadRequest(model_id="lab/broken", harness="trial", source=str(broken)),
            last_words="model is corrupted or incomplete",
            use=chat,
        )
