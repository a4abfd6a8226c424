"""Endpoints that are not the engine's own address: relayed ones, and servers that run by themselves."""

import json
import socket
import struct
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest
from tests.integration.neuron.engine import engine
from tests.integration.neuron.neuron_process import chat, is_busy, neuron, wait_until

RELAY = '[[harnesses]]\nname = "llamacpp"\nrelay = true\n'
ENDING = 'host = "0.0.0.0"\nkeep_engines = false\ndrain_timeout_s = 5\n'


def hosts_listening_on(port: int) -> list[str]:
    """Return the IPv4 addresses on which somebody listens on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    return [socket.inet_ntoa(struct.pack("<L", int(host, 16))) for host, number in local if int(number, 16) == port]


def test_a_relayed_engine_is_reached_under_the_neurons_port_and_nowhere_else(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, RELAY, head=ENDING) as node:
        endpoint = node.loaded("lab/demo", demo)
        assert endpoint["url"].startswith(f"{node.url}/relay/")
        assert hosts_listening_on(node.report("lab/demo")["port"]) == ["127.0.0.1"]
        with openai.OpenAI(base_url=endpoint["url"] + "/v1", api_key="none", max_retries=0) as sdk:
            same = {"model": "lab/demo", "max_tokens": 24, "temperature": 0, "seed": 1}
            messages = [{"role": "user", "content": "Hello"}]
            whole = sdk.chat.completions.create(messages=messages, **same)
            chunks = list(sdk.chat.completions.create(messages=messages, stream=True, **same))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == whole.choices[0].message.content
        assert len(chunks) > 5
        assert node.unload("lab/demo")[0] == 200
        with pytest.raises(urllib.error.HTTPError) as gone:
            chat(endpoint["url"])
        with gone.value as answer:
            assert (answer.code, json.load(answer)["error"]["code"]) == (404, "generation_gone")


def test_a_client_that_leaves_the_relay_frees_the_engine(tmp_path: Path, slow: Path) -> None:
    with neuron(tmp_path, RELAY, head=ENDING) as node:
        url = node.loaded("slow", slow, parallel=1, context=1024)["url"]
        body = json.dumps({"prompt": "a", "max_tokens": 900, "stream": True}).encode()
        with urllib.request.urlopen(urllib.request.Request(url + "/v1/completions", body)) as stream:
            assert stream.readline().startswith(b"data:")
            assert is_busy(url)
        wait_until(lambda: not is_busy(url))


def test_a_relays_url_outlives_the_neuron_that_gave_it(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, RELAY, head='host = "127.0.0.1"\n') as first:
        url = first.loaded("demo", demo)["url"]
        first.stop()
    with neuron(tmp_path, RELAY, head=ENDING) as second:
        again = second.endpoint("demo")["url"]
        assert again.partition("/relay/")[2] == url.partition("/relay/")[2]
        assert chat(again)


def test_another_server_is_listed_while_it_answers(tmp_path: Path, demo: Path) -> None:
    with engine(demo, tmp_path / "engine.log", "--alias", "lab/theirs") as server:
        harnesses = f'[[harnesses]]\nname = "old"\nkind = "openai"\nendpoint = "{server.url}/v1"\n'
        with neuron(tmp_path, harnesses, head=ENDING) as node:
            report = node.report("lab/theirs")
            assert (report["harness"], report["kind"], report["status"]) == ("old", "openai", "loaded")
            assert report["devices"] == []
            endpoint = node.endpoint("lab/theirs")
            expected = {"url": server.url, "generation": 0, "engine_model": "lab/theirs"}
            assert endpoint == {**expected, "credential": None, "slots": None, "kind": "openai", "context": None}
            assert chat(endpoint["url"])
            assert node.load("lab/theirs", harness="openai")[1]["status"] == "loaded"
            assert node.unload("lab/theirs")[1]["error"]["code"] == "not_managed"
            status, answer = node.load("lab/other", harness="old")
            assert (status, answer["error"]["code"]) == (400, "not_managed")
            server.stop()
            error = node.until("lab/theirs", "failed")["error"]
            assert error["message"] == f"the server at {server.url} does not answer"
            assert node.get("/health")[1]["harnesses"][0]["healthy"] is False
            assert node.get("/models/lab/theirs/endpoint")[0] == 409


def test_another_server_can_be_relayed_to_as_well(tmp_path: Path, demo: Path) -> None:
    with engine(demo, tmp_path / "engine.log", "--alias", "theirs") as server:
        harnesses = f'[[harnesses]]\nname = "openai"\nendpoint = "{server.url}"\nrelay = true\nmodels = ["theirs"]\n'
        with neuron(tmp_path, harnesses, head=ENDING) as node:
            url = node.endpoint("theirs")["url"]
            assert url.startswith(f"{node.url}/relay/")
            assert chat(url)
