"""A real neuron with a fake mistral.rs under a fake systemd, by the very neuron.toml that operators write."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.neuron.mistralrs_host import (
    AS_WRITTEN,
    CODER,
    MODELS,
    PROGRAM,
    SMALL,
    UNIT,
    URL,
    Host,
    a_host,
)
from tests.integration.neuron.neuron_process import LIMIT_S, NeuronProcess, chat, neuron, wait_until
from tests.unit.neuron.discovery.nvidia_smi_replay import Replay

from cortex.neuron.process.port import is_free
from cortex.testing.fake_systemd import FakeSystemd


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path) as it:
        yield it


def ask(name: str, **more: object) -> dict[str, object]:
    return {"model": name, "messages": [{"role": "user", "content": "Hello"}], **more}


def load(running: NeuronProcess, name: str, **more: object) -> tuple[int, Any]:
    return running.get("/models/load", {"model_id": name, "harness": "mistralrs", **more})


def loaded(running: NeuronProcess, name: str, **more: object) -> dict[str, Any]:
    status, answer = load(running, name, **more)
    assert status == 200, answer
    return running.until(name, "loaded")


def test_the_file_as_it_is_written_loads_on_first_use(tmp_path: Path) -> None:
    """The port is the file's: where somebody else has it, the server cannot come up, and that is said."""
    is_ours = is_free("localhost", 8080)
    with FakeSystemd(tmp_path / "systemd") as systemd:
        host = Host(tmp_path, systemd, URL)
        host.install()
        assert host.harnesses == AS_WRITTEN
        with host.neuron() as running:
            _, discovery = running.get("/discovery")
            assert "mistralrs" in discovery["harnesses"]
            status, answer = load(running, CODER, quant="Q4_K_M", vram_mb=200)
            assert (status, answer["status"]) == (200, "loading")
            running.until(CODER, "loaded" if is_ours else "failed")


@pytest.mark.parametrize("version", ["0.9.2", "0.9.5"])
def test_what_the_server_has_at_its_start_is_there_and_goes_and_comes_back(host: Host, version: str) -> None:
    host.install(version)
    host.start()
    with host.neuron() as running:
        for name in MODELS:
            report = running.until(name, "loaded")
            assert (report["harness"], report["declared_mb"]) == ("mistralrs", 0)
            endpoint = running.endpoint(name)
            assert (endpoint["url"], endpoint["engine_model"]) == (host.endpoint, name)
            assert host.call("/v1/chat/completions", ask(endpoint["engine_model"]))[0] == 200
        wait_until(lambda: all(running.report(name)["vram_used_mb"] for name in MODELS))
        assert running.unload(CODER) == (200, {"status": "unloaded"})
        assert host.states() == {CODER: "unloaded", SMALL: "loaded"}
        assert running.get(f"/models/{CODER}/endpoint")[0] == 409
        again = loaded(running, CODER, quant="Q4_K_M", vram_mb=100)
        wait_until(lambda: "Server listening" in str(running.get(f"/models/{CODER}/logs")), lambda: running.log)
        assert again["generation"] > report["generation"]
        assert host.states() == {CODER: "loaded", SMALL: "loaded"}
        _, health = running.get("/health")
        assert health["harnesses"][0]["cycles"] == 1


def test_a_load_that_the_server_cannot_do_is_a_400_with_what_it_has(host: Host) -> None:
    host.install(unloaded=tuple(MODELS))
    host.start()
    with host.neuron() as running:
        running.until(CODER, "unloaded")
        status, answer = load(running, "nope", vram_mb=1)
        assert (status, answer["error"]["code"]) == (400, "not_offered")
        assert sorted(answer["error"]["details"]["models"]) == sorted(MODELS)
        assert load(running, "default", vram_mb=1)[0] == 400
        assert load(running, CODER, vram_mb=1, tensor_parallel=3)[0] == 400
        assert load(running, CODER, vram_mb=1, context=4096)[0] == 400
        status, answer = load(running, CODER)
        assert (status, answer["error"]["code"]) == (400, "malformed_request"), "nobody knows what it needs"
        assert host.states() == dict.fromkeys(MODELS, "unloaded")


def test_a_model_that_a_request_brings_back_is_a_resident_again(host: Host) -> None:
    host.install()
    host.start()
    with host.neuron() as running:
        before = running.until(SMALL, "loaded")
        assert running.unload(SMALL)[0] == 200
        assert host.call("/v1/chat/completions", ask(SMALL))[0] == 200
        after = running.until(SMALL, "loaded")
        assert after["generation"] > before["generation"]
        wait_until(lambda: bool(running.report(SMALL)["vram_used_mb"]))


def test_an_unload_waits_for_a_stream_which_mistral_rs_would_cut(host: Host) -> None:
    hold = host.folder / "hold"
    hold.touch()
    host.install(hold_tokens=str(hold))
    host.start()
    with host.neuron() as running:
        running.until(SMALL, "loaded")
        body = json.dumps(ask(SMALL, stream=True)).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(host.endpoint + "/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as stream:
            assert stream.readline().startswith(b"data: ")
            assert running.unload(SMALL, wait=False)[0] == 202
            wait_until(lambda: running.report(SMALL)["in_flight"] == 1)
            assert running.report(SMALL)["status"] == "draining"
            assert host.states()[SMALL] == "loaded"
            hold.unlink()
            assert stream.read().endswith(b"data: [DONE]\n\n")
        running.until(SMALL, "unloaded")


def test_with_a_relay_a_stale_endpoint_reaches_nobody_and_loads_nothing(host: Host) -> None:
    host.install()
    host.start()
    host.harnesses = f'[[harnesses]]\nname = "mistralrs"\nendpoint = "{host.endpoint}"\nrelay = true\n'
    with host.neuron() as running:
        running.until(SMALL, "loaded")
        url = running.endpoint(SMALL)["url"]
        assert url.startswith(f"{running.url}/relay/")
        assert chat(url, model=SMALL)
        assert running.unload(SMALL)[0] == 200
        with pytest.raises(urllib.error.HTTPError) as refusal:
            chat(url, model=SMALL)
        refusal.value.close()
        assert refusal.value.code == 404
        assert host.states()[SMALL] == "unloaded"


def test_a_neuron_that_comes_back_goes_on_with_what_is_loaded(host: Host) -> None:
    host.install()
    host.start()
    with host.neuron() as first:
        generations = {name: first.until(name, "loaded")["generation"] for name in MODELS}
        first.stop(signal.SIGKILL)
    pid = host.systemd.pid(UNIT)
    with host.neuron() as second:
        assert {name: second.until(name, "loaded")["generation"] for name in MODELS} == generations
        assert host.systemd.pid(UNIT) == pid, "and nobody has touched the server"


def test_a_server_that_dies_takes_its_models_along_and_comes_back_with_the_next_load(host: Host) -> None:
    host.install()
    host.start()
    with host.neuron() as running:
        running.until(SMALL, "loaded")
        os.kill(host.systemd.pid(UNIT), signal.SIGKILL)
        assert running.until(SMALL, "failed")["error"]["code"] == "server_gone"
        wait_until(lambda: not running.get("/health")[1]["harnesses"][0]["healthy"])
        loaded(running, SMALL, vram_mb=50)
        running.until(CODER, "loaded")


def test_a_restart_drains_restarts_the_unit_and_counts_anew(host: Host) -> None:
    host.install()
    host.start()
    with host.neuron() as running:
        for name in MODELS:
            running.until(name, "loaded")
        running.unload(SMALL)
        pid = host.systemd.pid(UNIT)
        assert running.get("/harnesses/mistralrs/restart", {"cycles": 1}) == (200, {"status": "restarted", "cycles": 0})
        assert host.systemd.pid(UNIT) not in (0, pid)
        for name in MODELS:
            running.until(name, "loaded")
        assert running.get("/health")[1]["harnesses"][0]["cycles"] == 0


def test_a_model_that_somebody_has_marked_for_ever_makes_a_restart_due(host: Host) -> None:
    host.install()
    host.start()
    with host.neuron() as running:
        running.until(SMALL, "loaded")
        host.call("/v1/models/reload", {"model_id": SMALL})
        wait_until(lambda: running.get("/health")[1]["harnesses"][0]["restart_due"])
        assert running.report(SMALL)["status"] == "loaded"
        assert running.unload(SMALL) == (200, {"status": "unloaded"})
        load(running, SMALL, vram_mb=50)
        assert running.until(SMALL, "failed")["error"]["code"] == "restart_needed"
        assert running.get("/harnesses/mistralrs/restart", {})[0] == 200
        running.until(SMALL, "loaded")


def test_without_leave_the_load_says_which_rule_is_missing(host: Host) -> None:
    host.install(denied="Interactive authentication required.")
    with host.neuron() as running:
        load(running, SMALL, vram_mb=50)
        error = running.until(SMALL, "failed")["error"]
        assert error["code"] == "systemd_refused"
        assert "polkit rule" in error["message"]
        status, answer = running.get("/harnesses/mistralrs/restart", {})
        assert (status, answer["error"]["code"]) == (502, "systemd_refused")


def test_one_server_per_model_by_its_mode(host: Host) -> None:
    program = host.folder / "mistralrs"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    entry = f'[[harnesses]]\nname = "mistralrs"\nmode = "per_model"\nbinary = "{program}"\n'
    with neuron(host.folder, entry) as running:
        for name in MODELS:
            loaded(running, name, vram_mb=60)
        urls = {running.endpoint(name)["url"] for name in MODELS}
        assert len(urls) == 2
        assert running.unload(SMALL) == (200, {"status": "unloaded"})
        assert running.report(CODER)["status"] == "loaded"
        assert running.unload(CODER) == (200, {"status": "unloaded"})


def on_gpus(replay: Replay, *used_mb: int, pid: int = 0) -> None:
    """Have two GPUs on which one process, none without a pid, holds so much."""
    lines = [
        f"{n}, GPU-{n}, NVIDIA L40S, 00000000:0{n + 1}:00.0, 595.80, 8.9, 46068, 609, {used}, {46068 - used}, 0, 63, "
        "144.97, 350.00, [N/A], Enabled"
        for n, used in enumerate(used_mb)
    ]
    replay.has(*lines)
    replay.runs(*(f"GPU-{n}, {pid}, {used}" for n, used in enumerate(used_mb) if pid))


def test_memory_on_gpus_is_believed_only_when_it_is_measured(host: Host) -> None:
    replay = Replay(host.systemd.programs)
    on_gpus(replay, 600, 600)
    one = {"kind": "cuda", "name": "NVIDIA L40S", "total_memory_bytes": 46068 << 20}
    host.install(devices=({**one, "ordinal": 0}, {**one, "ordinal": 1}), unloaded=tuple(MODELS))
    host.start()
    pid = host.systemd.pid(UNIT)
    with host.neuron() as running:
        status, answer = load(running, CODER, vram_mb=40_000, devices=[0])
        assert (status, answer["error"]["details"]["devices"]) == (400, [0, 1])
        assert loaded(running, CODER, vram_mb=40_000, devices=[0, 1], tensor_parallel=2)["devices"] == [0, 1]
        on_gpus(replay, 21_600, 21_600, pid=pid)
        wait_until(lambda: running.report(CODER)["vram_used_mb"] == 43_200)
        assert running.unload(CODER) == (200, {"status": "unloaded"}), "mistral.rs says so, and keeps all of it"
        _, health = running.get("/health")
        assert [device["strangers_mb"] for device in health["devices"]] == [21_600, 21_600]
        assert (health["harnesses"][0]["leaking_cycles"], health["harnesses"][0]["restart_due"]) == (1, True)
        status, answer = load(running, CODER, vram_mb=60_000)
        assert (status, answer["error"]["code"]) == (409, "no_room")
        on_gpus(replay, 600, 600)
        wait_until(lambda: running.get("/health")[1]["devices"][0]["strangers_mb"] == 600)
        assert loaded(running, CODER, vram_mb=60_000)["status"] == "loaded"


def test_a_mistral_rs_for_a_newer_cuda_than_the_driver_supports_is_warned_of(host: Host) -> None:
    on_gpus(Replay(host.systemd.programs), 600)
    host.install(cuda_toolkit_version="13.3")
    host.start()
    with host.neuron() as running:
        words = "its engine was built for CUDA 13.3, and driver 595.80 supports CUDA 13.1 at most"
        assert words in running.log
        assert running.get("/discovery")[1]["harness_details"][0]["engine_cuda"] == "13.3"
