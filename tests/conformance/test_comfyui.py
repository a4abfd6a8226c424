"""ComfyUI keeps the contract of a harness, with a fake one behind the real images server."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from cortex.contract.instance import LoadRequest
from cortex.kit.http_client import HttpClient
from cortex.neuron.harness.comfyui import ComfyUiHarness
from cortex.testing.fake_comfyui import FakeComfyUi, png
from cortex.testing.harness_conformance import LIMIT_S, Case, HarnessConformance

UNKNOWN_NODE = '{"1": {"class_type": "FluxGuidance", "inputs": {"text": "${PROMPT}"}}}'


async def draw(url: str, model: str) -> None:
    body = {"model": model, "prompt": "a cat", "size": "64x64", "response_format": "b64_json"}
    http = HttpClient()
    try:
        reply = await http.request(
            "POST", url + "/v1/images/generations", deadline_s=LIMIT_S, body=json.dumps(body).encode()
        )
    finally:
        await http.close()
    assert reply.status == 200, reply.body
    (image,) = json.loads(reply.body)["data"]
    assert base64.b64decode(image["b64_json"]) == png(64, 64)


class TestComfyUi(HarnessConformance):
    @contextlib.asynccontextmanager
    async def case(self, folder: Path) -> AsyncIterator[Case]:
        async with FakeComfyUi() as fake:
            yield Case(
                make=ComfyUiHarness,
                kind="comfyui",
                works=LoadRequest(model_id="lab/sdxl", harness="trial", source="sdxl.safetensors"),
                impossible=LoadRequest(model_id="lab/sdxl", harness="trial", source="none.safetensors"),
                fails=LoadRequest(model_id="lab/flux", harness="trial", images_workflow=UNKNOWN_NODE),
                last_words="ComfyUI does not know the workflow's nodes: FluxGuidance",
                use=draw,
                entry={"endpoint": fake.url},
            )
            assert not fake.is_busy
            assert fake.held_bytes == 0, "an unload frees the memory"
