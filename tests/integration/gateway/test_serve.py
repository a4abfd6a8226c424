"""``cortex serve`` as the process that it is: configured by files, stopped by signals, in front of a real neuron."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import openai
import pytest
from tests.integration.gateway.raw_client import LIMIT_S
from tests.integration.gateway.real_fleet import Neuron, is_ready, neuron, process, wait_until
from tests.port import free_port

from cortex.neuron.embedded.blueprint import TinyModel
from cortex.neuron.embedded.tiny_model import write_model

CORTEX_TOML = """
[gateway]
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:{metrics_port}"
poll_s = 0.2
{more}

[[neurons]]
name = "n0"
endpoint = "{neuron}"
"""
MODELS_TOML = """
[[models]]
id = "{id}"
harness = "llamacpp"
source = "{source}"
parallel = 2
context = 4096
aliases = ["{alias}"]
"""
ASK = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 60}


class Served(NamedTuple):
    """A gateway process."""

    process: subprocess.Popen[bytes]
    url: str
    metrics_url: str
    folder: Path

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[Neuron]:
    with neuron(tmp_path_factory.mktemp("neuron")) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A few hundred tokens per second, without an end."""
    return write_model(tmp_path_factory.mktemp("model") / "m.gguf", TinyModel(layers=48, ctx=4096, eos_bias=None))


@pytest.fixture
def served(node, model, tmp_path) -> Iterator[Served]:
    port, metrics_port = free_port(), free_port()
    config = CORTEX_TOML.format(port=port, metrics_port=metrics_port, neuron=node.url, more="shutdown_grace_s = 20")
    (tmp_path / "cortex.toml").write_text(config)
    (tmp_path / "models.toml").write_text(MODELS_TOML.format(id="lab/m", source=model, alias="short"))
    with process(tmp_path, "gateway", "-m", "cortex", "serve") as running:
        it = Served(running, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics", tmp_path)
        wait_until(lambda: is_ready(it.url), running, tmp_path / "gateway.log")
        yield it


def in_flight(served: Served) -> float:
    with urllib.request.urlopen(served.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    counted = [line for line in lines if line.startswith(("cortex_requests_in_flight{", "cortex_requests_waiting "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counted)


def test_it_serves_a_stream_through_the_whole_system_and_ends_with_code_0(served, node):
    with served.sdk() as sdk:
        chunks = list(sdk.chat.completions.create(model="short", stream=True, **ASK))
    assert {chunk.model for chunk in chunks} == {"short"}
    assert chunks[-1].choices[0].finish_reason == "length"
    wait_until(lambda: in_flight(served) == 0)
    assert node.is_idle("lab/m")
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(LIMIT_S) == 0
    assert "chat 200 ok model=lab/m node=n0" in served.log()
    assert "ERROR" not in served.log()


def test_sigterm_lets_a_running_stream_finish(served):
    with served.sdk() as sdk:
        stream = sdk.chat.completions.create(model="lab/m", stream=True, **ASK)
        next(stream)
        served.process.send_signal(signal.SIGTERM)
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    assert served.process.wait(LIMIT_S) == 0


def test_a_second_sigterm_ends_streams_at_once_and_tells_them_so(served, node):
    with served.sdk() as sdk:
        stream = sdk.chat.completions.create(model="lab/m", stream=True, **{**ASK, "max_tokens": 3500})
        next(stream)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(served.url))
        served.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="shutting down"):
            for _ in stream:
                pass
    assert served.process.wait(LIMIT_S) == 0
    wait_until(lambda: node.is_idle("lab/m"))


def accepts(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))).close()
    except ConnectionRefusedError:
        return False
    return True


EARLY = """
import os, signal, sys
from cortex.cli import main, serve
read = serve._load
def interrupted(path):
    os.kill(os.getpid(), signal.SIGHUP)
    return read(path)
serve._load = interrupted
sys.argv = ["cortex", "serve", "--config", "cortex.toml"]
main.main()
"""


def test_a_sighup_that_comes_while_it_starts_is_obeyed_once_it_can_be(tmp_path):
    config = CORTEX_TOML.format(port=0, metrics_port=0, neuron="http://127.0.0.1:1", more="")
    (tmp_path / "cortex.toml").write_text(config)
    (tmp_path / "models.toml").write_text(MODELS_TOML.format(id="m", source="/m", alias="n"))
    with process(tmp_path, "gateway", "-c", EARLY) as running:
        wait_until(lambda: "catalogue reloaded" in (tmp_path / "gateway.log").read_text(), running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(LIMIT_S) == 0


def test_sighup_reads_the_catalogue_again(served, model):
    with (served.folder / "models.toml").open("a") as catalogue:
        catalogue.write(MODELS_TOML.format(id="lab/second", source=model, alias="other"))
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "lab/second" in listed(served))
    (served.folder / "models.toml").write_text("nonsense")
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in served.log())
    assert "lab/second" in listed(served), "the old catalogue stays"


def listed(served: Served) -> set[str]:
    with urllib.request.urlopen(served.url + "/v1/models") as answer:
        return {model["id"] for model in json.load(answer)["data"]}


def test_a_port_in_use_is_told_with_who_has_it(served):
    port = served.url.rsplit(":", 1)[1]
    for taken, free in (("--listen", "--metrics-listen"), ("--metrics-listen", "--listen")):
        options = [taken, f"127.0.0.1:{port}", free, "127.0.0.1:0"]
        second = subprocess.run(
            [sys.executable, "-P", "-m", "cortex", "serve", "--config", "cortex.toml", *options],
            cwd=served.folder,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert second.returncode != 0
        assert f"port {port} on 127.0.0.1 is in use by process {served.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
    assert is_ready(served.url), "the first one is not harmed"


def test_what_is_hardly_meant_is_said_at_start(served, tmp_path):
    port = served.url.rsplit(":", 1)[1]
    (tmp_path / "lonely.toml").write_text(f'[gateway]\nlisten = "127.0.0.1:{port}"\nmetrics_listen = "127.0.0.1:0"\n')
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "cortex", "serve", "--config", "lonely.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "WARNING cli.serve: no [[neurons]]: every request will be answered 503" in ended.stderr
