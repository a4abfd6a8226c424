"""Engines and servers that ask for a key: who is told it, and that the others are served all the same."""

import contextlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.integration.neuron.engine import engine
from tests.integration.neuron.neuron_process import (
    LIMIT_S,
    NeuronProcess,
    chat,
    engines_ended,
    neuron,
    wait_until,
)

ENDING = 'host = "0.0.0.0"\nkeep_engines = false\ndrain_timeout_s = 5\n'
TOKEN = {"authorization": "Bearer s3cret"}
WORDS = (
    *(sys.executable, "-P", "-m", "cortex.neuron.embedded", "--model", "${MODEL_PATH}", "--alias", "${MODEL_ID}"),
    *("--host", "${HOST}", "--port", "${PORT}", "--parallel", "${PARALLEL}", "--metrics", "--api-key", "${KEY}"),
)
COMMAND = f"""
[[harnesses]]
name = "lab"
kind = "command"
cmd = {json.dumps(WORDS)}
in_flight_metrics = ["llamacpp:requests_processing", "llamacpp:requests_deferred"]
work_metrics = ["llamacpp:n_decode_total"]
"""


def status_of(url: str, key: str | None = None) -> int:
    """Return how a server answers the question for its models."""
    request = urllib.request.Request(url + "/v1/models", headers={} if key is None else bearer(key))
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def load(node: NeuronProcess, source: Path, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Load a model with the command, wait until it serves, and return its endpoint."""
    body = {"model_id": "lab/demo", "harness": "lab", "source": str(source)}
    status, answer = node.get("/models/load", body, headers)
    assert status == 200, answer
    wait_until(lambda: "loaded" in {report["status"] for report in node.get("/models", headers=headers)[1]})
    return dict(node.get("/models/lab/demo/endpoint", headers=headers)[1])


def test_a_caller_without_a_credential_is_relayed_to_an_engine_with_a_key(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, COMMAND, head=ENDING) as node:
        endpoint = load(node, demo)
        assert endpoint["url"].startswith(f"{node.url}/relay/")
        assert endpoint["credential"] is None
        assert chat(endpoint["url"])
        assert status_of(f"http://127.0.0.1:{node.report('lab/demo')['port']}") == 401, "nobody else is let in"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(endpoint["url"] + "/metrics", timeout=LIMIT_S)
        with refused.value as answer:
            assert (answer.code, json.load(answer)["error"]["code"]) == (403, "forbidden")


def test_a_caller_with_a_credential_is_told_the_key_of_each_generation(tmp_path: Path, demo: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    head = ENDING + 'token_file = "token"\n'
    with neuron(tmp_path, COMMAND, head=head) as node:
        first = load(node, demo, TOKEN)
        assert "/relay/" not in first["url"]
        assert status_of(first["url"], first["credential"]) == 200
        assert node.get("/models/unload", {"model_id": "lab/demo"}, TOKEN)[0] == 200
        second = load(node, demo, TOKEN)
        assert second["credential"] != first["credential"]
        assert status_of(second["url"], first["credential"]) == 401, "the key of another generation is none"
        assert first["credential"] not in json.dumps(node.get("/models", headers=TOKEN)[1])


def test_the_next_neuron_knows_the_key_and_keeps_it_from_others(tmp_path: Path, demo: Path) -> None:
    with engines_ended(tmp_path):
        with neuron(tmp_path, COMMAND, head='host = "127.0.0.1"\n') as first:
            load(first, demo)
            first.stop()
        (record,) = (tmp_path / "state" / "engine").glob("*.json")
        assert record.stat().st_mode & 0o077 == 0, "it holds the key"
        with neuron(tmp_path, COMMAND, head=ENDING) as second:
            assert chat(second.endpoint("lab/demo")["url"])
            assert second.report("lab/demo")["in_flight"] == 0


def test_of_several_servers_with_a_key_a_dead_one_is_replaced(tmp_path: Path, demo: Path) -> None:
    (tmp_path / "key").write_text("k3y\n")
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(engine(demo, tmp_path / f"{n}.log", "--alias", "theirs", "--api-key", "k3y"))
            for n in range(2)
        ]
        urls = json.dumps([server.url for server in servers])
        harnesses = f'[[harnesses]]\nname = "old"\nkind = "openai"\nendpoints = {urls}\nkey_file = "key"\n'
        node = stack.enter_context(neuron(tmp_path, harnesses, head=ENDING))
        first = node.endpoint("theirs")["url"]
        assert chat(first)
        servers[0].stop()
        wait_until(lambda: node.endpoint("theirs")["url"] != first, lambda: node.log)
        assert chat(node.endpoint("theirs")["url"])
        assert node.report("theirs")["status"] == "loaded"
        servers[1].stop()
        assert node.until("theirs", "failed")["error"]["code"] == "server_silent"
        assert "k3y" not in node.log
