"""A real neuron before a fake ComfyUI: what outlives it, what it notices, what it tells."""

import base64
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.gateway.comfyui_thread import ComfyUiThread, comfyui
from tests.integration.neuron.neuron_process import (
    LIMIT_S,
    NeuronProcess,
    engines_ended,
    is_running,
    neuron,
    wait_until,
)
from tests.port import free_port

from cortex.testing.fake_comfyui import png
from cortex.testing.fake_systemd import VARIABLE, FakeSystemd

MODEL = "lab/sdxl"
UNIT = "cortex-engine@comfyui.service"
LOAD = {"model_id": MODEL, "harness": "comfyui", "source": "sdxl", "vram_mb": 64}


@pytest.fixture
def comfy() -> Iterator[ComfyUiThread]:
    with comfyui() as running:
        yield running


def entry(comfy: ComfyUiThread) -> str:
    return f'[[harnesses]]\nname = "comfyui"\nendpoint = "{comfy.fake.url}"\n'


def loaded(node: NeuronProcess) -> str:
    """Load the model and return its URL."""
    status, answer = node.get("/models/load", LOAD)
    assert status == 200, answer
    node.until(MODEL, "loaded")
    return str(node.endpoint(MODEL)["url"])


def draw(url: str) -> bytes:
    body = json.dumps({"prompt": "a cat", "size": "64x64"}).encode()
    with urllib.request.urlopen(url + "/v1/images/generations", body, timeout=LIMIT_S) as answer:
        return base64.b64decode(json.load(answer)["data"][0]["b64_json"])


def test_an_images_server_outlives_its_neuron_and_is_gone_on_with(tmp_path: Path, comfy: ComfyUiThread) -> None:
    with engines_ended(tmp_path):
        with neuron(tmp_path, entry(comfy)) as first:
            url = loaded(first)
            before = first.report(MODEL)
            first.stop(signal.SIGKILL)
            assert draw(url) == png(64, 64)
        with neuron(tmp_path, entry(comfy)) as second:
            after = second.until(MODEL, "loaded")
            assert (after["generation"], after["port"]) == (before["generation"], before["port"])
            assert draw(second.endpoint(MODEL)["url"]) == png(64, 64)


def test_an_images_server_that_is_killed_is_told_and_its_workflow_and_memory_are_gone(
    tmp_path: Path, comfy: ComfyUiThread
) -> None:
    with neuron(tmp_path, entry(comfy), head="keep_engines = false\n") as node:
        draw(loaded(node))
        assert comfy.fake.held_bytes > 0
        (pid,) = node.engine_pids()
        os.kill(pid, signal.SIGKILL)
        report = node.until(MODEL, "failed")
        assert "the images server was killed by SIGKILL" in report["error"]["message"]
        wait_until(lambda: comfy.fake.frees == 1)
        assert comfy.fake.held_bytes == 0
        wait_until(lambda: node.get("/models/load", LOAD)[0] == 200)  # its memory may not be seen free yet
        assert draw(loaded(node)) == png(64, 64)
        (pid,) = node.engine_pids()
    assert not is_running(pid), "it ends with a neuron that keeps none"


def test_a_comfyui_that_is_gone_makes_its_harness_unhealthy_and_its_models_are_loaded_once_it_is_back(
    tmp_path: Path, comfy: ComfyUiThread
) -> None:
    def is_healthy() -> bool:
        (harness,) = node.get("/health")[1]["harnesses"]
        return bool(harness["healthy"])

    with neuron(tmp_path, entry(comfy)) as node:
        assert is_healthy()
        assert node.report("sdxl.safetensors")["status"] == "unloaded"
        comfy.run(comfy.fake.stop)
        wait_until(lambda: not is_healthy())
        status, answer = node.get("/models/load", LOAD)
        assert (status, answer["error"]["code"]) == (502, "upstream_unreachable")
        comfy.run(comfy.fake.start)
        with engines_ended(tmp_path):
            assert draw(loaded(node)) == png(64, 64)


def test_a_comfyui_that_nobody_here_can_restart_keeps_its_models(tmp_path: Path, comfy: ComfyUiThread) -> None:
    with neuron(tmp_path, entry(comfy), head="keep_engines = false\n") as node:
        url = loaded(node)
        status, answer = node.get("/harnesses/comfyui/restart", {})
        assert (status, answer["error"]["code"]) == (400, "not_managed")
        assert draw(url) == png(64, 64)


def test_what_cannot_be_is_refused_with_what_would_be_right(tmp_path: Path, comfy: ComfyUiThread) -> None:
    with neuron(tmp_path, entry(comfy)) as node:
        status, answer = node.get("/models/load", {**LOAD, "source": "none"})
        assert (status, answer["error"]["code"]) == (400, "source_missing")
        assert answer["error"]["details"]["checkpoints"] == ["sdxl.safetensors"]
        status, answer = node.get("/models/load", {**LOAD, "images_workflow": "{}"})
        assert (status, answer["error"]["details"]["field"]) == (400, "images_workflow")


def test_a_workflow_with_nodes_that_are_not_there_fails_its_load_and_names_them(
    tmp_path: Path, comfy: ComfyUiThread
) -> None:
    own = '{"1": {"class_type": "FluxGuidance", "inputs": {"text": "${PROMPT}"}}}'
    with neuron(tmp_path, entry(comfy)) as node:
        assert node.get("/models/load", {**LOAD, "images_workflow": own})[0] == 200
        report = node.until(MODEL, "failed")
        assert "ComfyUI does not know the workflow's nodes: FluxGuidance" in report["error"]["message"]


def test_a_comfyui_below_systemd_is_started_by_the_first_load_and_restarted_on_demand(tmp_path: Path) -> None:
    port = free_port()
    with FakeSystemd(tmp_path / "systemd") as systemd:
        argv = (sys.executable, "-P", "-m", "cortex.testing.fake_comfyui", "--port", str(port))
        systemd.install(UNIT, argv)
        found = systemd.environment()
        entries = f'[[harnesses]]\nname = "comfyui"\nendpoint = "http://localhost:{port}"\nsystemd_unit = "{UNIT}"\n'
        head = "keep_engines = false\n"
        with neuron(tmp_path, entries, head=head, env={"PATH": found["PATH"], VARIABLE: found[VARIABLE]}) as node:
            assert systemd.pid(UNIT) == 0
            assert draw(loaded(node)) == png(64, 64)
            before = systemd.pid(UNIT)
            assert before > 0
            assert node.get("/harnesses/comfyui/restart", {})[1]["status"] == "restarted"
            assert systemd.pid(UNIT) not in (0, before)
            assert node.report(MODEL)["status"] == "unloaded"
            assert draw(loaded(node)) == png(64, 64)
