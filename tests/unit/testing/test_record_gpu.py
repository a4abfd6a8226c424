"""The tool that records what GPUs answer, run over a binding that stands for them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.neuron.discovery.nvidia_smi_replay import RTX_4080, Replay
from tests.unit.testing.small_nvml import SmallNvml

from cortex.testing import record_gpu
from cortex.testing.nvml_tape import PlayedNvml, RecordingNvml
from cortex.testing.record_gpu import SMI_QUESTIONS, holder, main, record_nvml, record_smi

if TYPE_CHECKING:
    import subprocess


def test_each_tape_shows_one_situation(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = SmallNvml()
    monkeypatch.setattr(record_gpu, "record_smi", lambda: {"-L": {"code": 0}})

    def hold() -> "subprocess.Popen[str]":
        process = holder(0)()
        nvml.processes = [process.pid]
        return process

    tapes, seen = record_nvml(RecordingNvml(nvml), hold, hold)
    assert list(tapes) == ["at rest", "held", "held in a child", "afterwards", "other questions"]
    pid = seen["pid held"]
    assert seen["held"][0].processes[pid].held_mb == 500
    assert seen["nvidia-smi"] == {"-L": {"code": 0}}
    assert seen["seconds until free after held"] is not None
    assert (
        PlayedNvml(tapes["held"])
        .nvmlDeviceGetComputeRunningProcesses_v3(PlayedNvml(tapes["at rest"]).nvmlDeviceGetHandleByIndex(0))[0]
        .pid
        == pid
    )
    assert any(call.name == "nvmlDeviceGetMigMode" for call in tapes["other questions"])


def test_a_host_without_a_gpu_is_told() -> None:
    nvml = SmallNvml()
    nvml.nvmlDeviceGetCount = lambda: 0  # type: ignore[method-assign]
    with pytest.raises(SystemExit, match="no GPU found"):
        record_nvml(RecordingNvml(nvml), holder(0), holder(0))


def test_every_answer_of_the_program_is_kept_with_its_code(tmp_path: Path) -> None:
    smi = Replay(tmp_path)
    smi.has(RTX_4080)
    smi.says("apps", "no permission\n", 4)
    answers = record_smi(str(smi.path))
    assert list(answers) == [" ".join(question) for question in SMI_QUESTIONS]
    apps = answers["--query-compute-apps=gpu_uuid,pid,used_gpu_memory --format=csv,nounits"]
    assert (apps["code"], apps["out"]) == (4, "no permission\n")


def test_all_is_written_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_gpu, "record_nvml", lambda *_: ({"at rest": []}, {"nvidia-smi": {}, "held": 1}))
    assert main([str(tmp_path / "new")]) == 0
    assert json.loads((tmp_path / "new" / "nvml.json").read_text()) == {"at rest": []}
    host = json.loads((tmp_path / "new" / "host.json").read_text())
    assert host["held"] == 1
    assert host["pid namespace"].startswith("pid:[")
