"""An engine that asks for a key of its generation: clients of the gateway know nothing of it."""

import json
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.real_fleet import gateway, neuron

from cortex.contract.profile import Profile
from cortex.neuron.embedded.tiny_model import write_demo_model

WORDS = (
    *(sys.executable, "-P", "-m", "cortex.neuron.embedded", "--model", "${{MODEL_PATH}}", "--alias", "${{MODEL_ID}}"),
    *("--host", "${{HOST}}", "--port", "${{PORT}}", "--metrics", "--api-key", "${{KEY}}"),
)
TOML = """
port = {{port}}
host = "127.0.0.1"
state_dir = "state"
drain_timeout_s = 5
keep_engines = false
{token}

[[harnesses]]
name = "lab"
kind = "command"
cmd = {cmd}
in_flight_metrics = ["llamacpp:requests_processing"]
"""


@pytest.mark.parametrize("has_token", [True, False], ids=["told to the gateway", "shown by the neuron"])
def test_a_model_behind_a_key_is_answered_in_every_generation(tmp_path: Path, has_token: bool) -> None:
    model, token = write_demo_model(tmp_path / "demo.gguf"), tmp_path / "token"
    token.write_text("s3cret")
    profile = Profile(id="lab/demo", harness="lab", source=str(model), parallel=2, aliases=("demo",))
    toml = TOML.format(token='token_file = "token"' if has_token else "", cmd=json.dumps(WORDS))
    with (
        neuron(tmp_path, toml) as node,
        gateway(node.url, (profile,), token_file=str(token) if has_token else None, poll_s=0.2) as it,
        openai.OpenAI(base_url=it.url + "/v1", api_key="of a client", max_retries=0) as sdk,
    ):
        for _ in range(2):
            chunks = sdk.chat.completions.create(
                model="demo", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, stream=True
            )
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            request = urllib.request.Request(
                node.url + "/models/unload",
                json.dumps({"model_id": "lab/demo"}).encode(),
                {"content-type": "application/json", "authorization": "Bearer s3cret"},
            )
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                assert json.load(answer) == {"status": "unloaded"}
