"""The real llama.cpp engine for the suites: the loads that it is tried with, and one request to it."""

import json
from pathlib import Path
from typing import Any

from cortex.contract.instance import LoadRequest
from cortex.kit.http_client import HttpClient
from cortex.testing.harness_conformance import LIMIT_S


def loads(folder: Path, model: Path) -> dict[str, Any]:
    """Return the fields of a case that are the same whatever starts the engine."""
    broken = folder / "broken.gguf"
    broken.write_bytes(model.read_bytes()[:20_000])
    return {
        "works": LoadRequest(model_id="lab/demo", harness="trial", source=str(model)),
        "impossible": LoadRequest(model_id="lab/demo", harness="trial", source=str(folder / "none.gguf")),
        "fails": LoadRequest(model_id="lab/broken", harness="trial", source=str(broken)),
        "last_words": "model is corrupted or incomplete",
        "use": chat,
        "use_with_key": chat,
    }


async def chat(url: str, model: str, key: str | None = None) -> None:
    """Have a short chat, with a key where one is asked for."""
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
