"""A fake ComfyUI with a client of it, in a loop of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cortex.kit.http_client import HttpClient
from cortex.neuron.images.comfy import Comfy
from cortex.neuron.images.workflow import fill, read_workflow
from cortex.testing.fake_comfyui import FakeComfyUi

VALUES = {
    "CHECKPOINT": "sdxl.safetensors",
    "PROMPT": "a cat",
    "NEGATIVE_PROMPT": "",
    "WIDTH": 64,
    "HEIGHT": 72,
    "SEED": 1,
    "N": 1,
}


def a_workflow(**values: object) -> object:
    return fill(read_workflow(None), VALUES | values, {})


def with_comfy(test: Callable[[FakeComfyUi, Comfy], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        http = HttpClient()
        try:
            async with FakeComfyUi(**how) as fake:
                await test(fake, Comfy(fake.url, http))
        finally:
            await http.close()

    asyncio.run(run())
