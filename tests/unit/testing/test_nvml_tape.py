"""NVML on tape: what is played back is what was recorded, in its order, and nothing else."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.testing.small_nvml import SmallNvml

from cortex.neuron.discovery.interface import ProcessUse
from cortex.neuron.discovery.nvml import NvmlProbe
from cortex.testing.nvml_tape import Call, Handle, PlayedError, PlayedNvml, RecordingNvml

NOWHERE = Path("/nowhere")


def test_a_probe_sees_on_the_tape_what_it_saw_on_the_gpu() -> None:
    nvml = SmallNvml()
    recording = RecordingNvml(nvml)
    real = NvmlProbe(NOWHERE, lambda: recording)
    nvml.processes = [7]
    seen = real.scan(), real.read(frozenset({7}))
    assert seen[0].devices[0].uuid == "GPU-h100"
    assert seen[1][0].processes == {7: ProcessUse(500, 500)}
    assert seen[1][0].recovery_action == "gpu_reset"
    tape = msgspec.json.decode(msgspec.json.encode(recording.take()), type=list[Call])
    played = NvmlProbe(NOWHERE, lambda: PlayedNvml(tape))
    assert (played.scan(), played.read(frozenset({7}))) == seen
    assert recording.calls == []


def test_a_question_gets_its_answers_in_their_order_and_then_the_last_again() -> None:
    nvml = SmallNvml()
    recording = RecordingNvml(nvml)
    handle = recording.nvmlDeviceGetHandleByIndex(0)
    for nvml.used_mb in (1, 2):
        recording.nvmlDeviceGetMemoryInfo(handle)
    played = PlayedNvml(recording.calls)
    board = played.nvmlDeviceGetHandleByIndex(0)
    assert board == Handle(0)
    assert [played.nvmlDeviceGetMemoryInfo(board).used >> 20 for _ in range(3)] == [1, 2, 2]


def test_an_error_is_played_with_its_code_and_words() -> None:
    recording = RecordingNvml(SmallNvml())
    handle = recording.nvmlDeviceGetHandleByIndex(0)
    with pytest.raises(recording.NVMLError):
        recording.nvmlDeviceGetPowerUsage(handle)
    with pytest.raises(PlayedError, match="Insufficient Permissions") as error:
        PlayedNvml(recording.calls).nvmlDeviceGetPowerUsage(Handle(0))
    assert error.value.value == 4


def test_what_was_never_asked_is_a_function_that_is_not_there() -> None:
    with pytest.raises(PlayedError) as error:
        PlayedNvml([]).nvmlDeviceGetCount()
    assert error.value.value == 13
    assert not hasattr(PlayedNvml([]), "other")


def test_bytes_come_back_as_bytes() -> None:
    recording = RecordingNvml(SmallNvml())
    recording.nvmlSystemGetDriverVersion()
    assert PlayedNvml(recording.calls).nvmlSystemGetDriverVersion() == b"580.95.05"
