"""A neuron that goes and comes back while its engines run: killed, told to stop, told to take them with it."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.neuron.neuron_process import (
    LLAMACPP,
    chat,
    engines_ended,
    is_running,
    neuron,
    start,
    wait_until,
)

ENDING = "keep_engines = false\ndrain_timeout_s = 5\n"
FORGETFUL = "lease_ttl_s = 1\n"
"""A drain waits so long after a start, since nobody knows who holds what."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for neurons; no engine of theirs is left when the test ends."""
    with engines_ended(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_engines_outlive_a_neuron_and_the_next_one_goes_on_with_them(
    folder: Path, demo: Path, number: signal.Signals
) -> None:
    with neuron(folder, head=FORGETFUL) as first:
        endpoint = first.loaded("lab/demo", demo, pinned=True)
        report, (pid,) = first.report("lab/demo"), first.engine_pids()
        begun = first.get("/discovery")[1]["start_id"]
        assert first.stop(number) == (-number if number == signal.SIGKILL else 0)
    assert is_running(pid)
    assert chat(endpoint["url"]), "it serves without a neuron"
    with neuron(folder, head=FORGETFUL) as second:
        assert second.get("/discovery")[1]["start_id"] != begun
        found = second.report("lab/demo")
        same = ("status", "generation", "devices", "declared_mb", "parallel", "port", "pinned")
        assert {name: found[name] for name in same} == {name: report[name] for name in same}
        assert second.endpoint("lab/demo") == endpoint
        assert chat(endpoint["url"])
        status, answer = second.load("lab/demo", demo)
        assert (status, answer["status"], answer["generation"]) == (200, "loaded", endpoint["generation"])
        assert second.engine_pids() == [pid]
        assert second.unload("lab/demo") == (200, {"status": "unloaded"})
        assert not is_running(pid)
        assert second.loaded("lab/demo", demo)["generation"] == endpoint["generation"] + 1


def test_an_engine_that_died_meanwhile_is_forgotten(folder: Path, demo: Path) -> None:
    with neuron(folder) as first:
        first.loaded("demo", demo)
        (pid,) = first.engine_pids()
        first.stop()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    with neuron(folder) as second:
        assert second.get("/models") == (200, [])
        assert second.engine_pids() == []


def test_an_adopted_engine_that_dies_has_failed(folder: Path, demo: Path) -> None:
    with neuron(folder) as first:
        first.loaded("demo", demo)
        (pid,) = first.engine_pids()
        first.stop()
    with neuron(folder) as second:
        os.kill(pid, signal.SIGKILL)
        assert second.until("demo", "failed")["error"]["message"].startswith("llama-server ended")


def test_a_load_under_way_goes_on_under_the_next_neuron(folder: Path, slow: Path) -> None:
    with neuron(folder) as first:
        first.load("slow", slow)
        wait_until(lambda: first.engine_pids() != [])
        (pid,) = first.engine_pids()
        first.stop(signal.SIGKILL)
    with neuron(folder) as second:
        assert second.until("slow", "loaded")["generation"] == 1
        assert second.engine_pids() == [pid]


def test_an_engine_whose_entry_is_no_longer_configured_is_ended(folder: Path, demo: Path) -> None:
    with neuron(folder) as first:
        first.loaded("demo", demo)
        (pid,) = first.engine_pids()
        first.stop()
    with neuron(folder, "") as second:
        assert not is_running(pid)
        assert second.get("/models") == (200, [])


def test_engines_that_are_not_to_be_kept_end_even_with_a_neuron_that_is_killed(folder: Path, demo: Path) -> None:
    with neuron(folder, head=ENDING) as node:
        node.loaded("demo", demo)
        (pid,) = node.engine_pids()
        node.stop(signal.SIGKILL)
        wait_until(lambda: not is_running(pid))


def test_a_second_neuron_names_who_has_its_port_or_its_directory(folder: Path) -> None:
    with neuron(folder) as first:
        port = int(first.url.rpartition(":")[2])
        second = start(folder, LLAMACPP, port=port)
        assert second.process.wait(30) == 2
        assert f"port {port} on 127.0.0.1 is in use by process {first.process.pid} (" in second.log
        third = start(folder, LLAMACPP)
        assert third.process.wait(30) == 2
        assert "is in use by another neuron: stop that one, or set another `state_dir`" in third.log
        assert first.get("/readyz")[0] == 200


@pytest.mark.parametrize(
    ("harnesses", "head", "words"),
    [
        ('[[harnesses]]\nname = "openai"\n', "", "harnesses: 'openai' of kind openai needs `endpoint`, a base URL"),
        (LLAMACPP, 'token_file = "gone"\n', "token_file"),
        (LLAMACPP, 'host = "203.0.113.7"\n', "203.0.113.7 is not an address of this machine"),
    ],
    ids=["entry", "token", "host"],
)
def test_a_configuration_that_cannot_be_is_told_in_one_sentence(
    folder: Path, harnesses: str, head: str, words: str
) -> None:
    failed = start(folder, harnesses, head=head)
    try:
        assert failed.process.wait(30) == 2
    except subprocess.TimeoutExpired:
        failed.process.kill()
        raise
    assert words in failed.log
    assert "Traceback" not in failed.log


def test_the_credential_is_read_again_on_sighup(folder: Path) -> None:
    token, config = folder / "token", folder / "neuron.toml"
    token.write_text("first\n")
    with neuron(folder, env={"CORTEX_FLEET_TOKEN": "around"}) as node:
        around, first, second = ({"authorization": f"Bearer {word}"} for word in ("around", "first", "second"))
        assert (node.get("/models")[0], node.get("/models", headers=around)[0]) == (401, 200)
        config.write_text(f'token_file = "{token}"\n{config.read_text()}')
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node.get("/models", headers=first)[0] == 200)
        assert node.get("/models", headers=around)[0] == 401
        token.write_text("second\n")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node.get("/models", headers=second)[0] == 200)
        assert node.get("/models", headers=first)[0] == 401
        token.unlink()
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the credential stays as it was" in node.log)
        assert node.get("/models", headers=second)[0] == 200
        with urllib.request.urlopen(urllib.request.Request(f"{node.url}/metrics", headers=second), timeout=30) as page:
            assert b"\ncortex_config_reload_success 0.0\n" in page.read()
