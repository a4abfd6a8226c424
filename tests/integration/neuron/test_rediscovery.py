"""A running neuron finds what comes and goes: GPUs by a program that replays real ones, engines by their file."""

import signal
from pathlib import Path
from typing import Any

from tests.integration.neuron.neuron_process import NeuronProcess, neuron, wait_until
from tests.unit.neuron.discovery.nvidia_smi_replay import H200, RTX_4080, Replay

ENTRY = '[[harnesses]]\nname = "engine"\nkind = "command"\ncmd = ["{}", "--port", "${{PORT}}"]\n'
NOT_LOADED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"


def path_with(folder: Path) -> dict[str, str]:
    """Return an environment in which only the programs of a folder and the shell are found."""
    folder.mkdir()
    return {"PATH": f"{folder}:/bin:/usr/bin"}


def discovery(node: NeuronProcess) -> dict[str, Any]:
    return dict(node.get("/discovery")[1])


def names(node: NeuronProcess) -> list[tuple[int, str]]:
    return [(device["index"], device["name"].split()[-1]) for device in discovery(node)["devices"]]


def look(node: NeuronProcess) -> None:
    node.process.send_signal(signal.SIGHUP)


def test_gpus_and_engines_that_come_and_go_show_without_a_restart(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    env = path_with(programs)
    server = tmp_path / "server"
    with neuron(tmp_path, ENTRY.format(server), env=env) as node:
        found = discovery(node)
        before = found["event"]
        assert [device["kind"] for device in found["devices"]] == ["cpu"]
        assert found["harnesses"] == []
        assert "there is no program" in found["harness_details"][0]["why_not"]

        smi = Replay(programs)
        smi.has(RTX_4080, H200)
        server.write_text("#!/bin/sh\n")
        server.chmod(0o755)
        look(node)
        wait_until(lambda: names(node) == [(0, "SUPER"), (1, "H200")], lambda: node.log)
        wait_until(lambda: discovery(node)["harnesses"] == ["engine"], lambda: node.log)
        found = discovery(node)
        assert (found["driver_version"], found["event"] > before) == ("595.71.05", True)
        assert set(found["harness_details"][0]["device_kinds"]) == {"cpu", "cuda"}
        health = node.get("/health")[1]
        assert [reading["vram_free_mb"] for reading in health["devices"]] == [15348, 143158]

        smi.has(H200)
        for _ in range(2):  # one scan may have failed
            calls = len(smi.calls())
            look(node)
            wait_until(lambda calls=calls: len(smi.calls()) > calls, lambda: node.log)  # type: ignore[misc]
        wait_until(lambda: names(node) == [(1, "H200")], lambda: node.log)
        assert [reading["index"] for reading in node.get("/health")[1]["devices"]] == [1]


def test_a_driver_that_is_not_loaded_is_told_and_takes_no_cpu_for_it(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    env = path_with(programs)
    smi = Replay(programs)
    smi.has(RTX_4080)
    smi.says("gpu", NOT_LOADED, 9)
    with neuron(tmp_path, "", env=env) as node:
        found = discovery(node)
        assert found["devices"] == []
        assert "the driver is not loaded" in found["troubles"][0]
        smi.has(RTX_4080)
        look(node)
        wait_until(lambda: names(node) == [(0, "SUPER")], lambda: node.log)
        assert discovery(node)["troubles"] == []
        smi.says("gpu", NOT_LOADED, 9)
        seen: list[dict[str, Any]] = []

        def is_told() -> bool:
            seen.extend(reading for reading in node.get("/health")[1]["devices"] if reading["trouble"])
            return bool(seen)

        wait_until(is_told, lambda: node.log)
        assert (seen[0]["vram_free_mb"], "the driver is not loaded" in seen[0]["trouble"]) == (None, True)
        wait_until(lambda: names(node) == [], lambda: node.log)
        assert "the driver is not loaded" in discovery(node)["troubles"][0]
