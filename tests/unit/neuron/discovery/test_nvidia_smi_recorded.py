"""The probe over what ``nvidia-smi`` answered on real machines, its whole list of fields included."""

from pathlib import Path

import pytest
from tests.unit.neuron.discovery.nvidia_smi_replay import Replay
from tests.unit.neuron.discovery.recorded import answers_of

from cortex.neuron.discovery.interface import ProcessUse
from cortex.neuron.discovery.nvidia_smi import READ_FIELDS, SCAN_FIELDS, NvidiaSmiProbe

ALL_FIELDS = (
    "index,uuid,name,pci.bus_id,driver_version,compute_cap,memory.total,memory.reserved,memory.used,memory.free,"
    "utilization.gpu,temperature.gpu,power.draw,power.limit,mig.mode.current,ecc.mode.current"
)
CALLS = {
    "help": "--help-query-gpu",
    "gpu": f"--query-gpu={ALL_FIELDS} --format=csv,nounits",
    "apps": "--query-compute-apps=gpu_uuid,pid,used_gpu_memory --format=csv,nounits",
    "table": "",
}


@pytest.fixture
def h200(tmp_path: Path) -> Replay:
    """An H200, driver 580.159.04, while process 470 held 2 GiB."""
    replay, answers = Replay(tmp_path), answers_of("h200")
    for call, question in CALLS.items():
        replay.says(call, answers[question]["out"], answers[question]["code"])
    return replay


def test_an_h200_is_read_as_it_was(h200: Replay) -> None:
    probe = NvidiaSmiProbe(h200.path.parent, str(h200.path))
    found = probe.scan()
    (device,), (reading,) = found.devices, probe.read(frozenset({470}))
    assert (found.driver_version, found.cuda_driver_version, found.trouble) == ("580.159.04", "13.0", None)
    assert (device.name, device.vram_total_mb, device.compute_capability) == ("NVIDIA H200", 143771, "9.0")
    assert (reading.vram_used_mb, reading.vram_free_mb, reading.temp_c) == (143771 - 140582, 140582, 35.0)
    assert (reading.power_w, reading.power_limit_w) == (83.98, 700.0)
    assert reading.processes == {470: ProcessUse(2566, 2566)}


def test_every_field_that_is_asked_for_is_one_that_a_real_driver_lists(h200: Replay) -> None:
    probe = NvidiaSmiProbe(h200.path.parent, str(h200.path))
    probe.scan()
    probe.read(frozenset())
    asked = [call.split()[0].partition("=")[2].split(",") for call in h200.calls() if call.startswith("--query-gpu")]
    assert asked == [list(SCAN_FIELDS), list(READ_FIELDS)]


@pytest.mark.parametrize(
    ("question", "code", "words"),
    [
        ("--query-gpu=no.such.field --format=csv", 2, 'Field "no.such.field" is not a valid field to query.'),
        ("--query-gpu=index --format=csv --id=99", 6, "No devices were found"),
    ],
)
def test_failures_are_said_on_standard_output_with_a_code_of_their_own(
    h200: Replay, question: str, code: int, words: str
) -> None:
    answer = answers_of("h200")[question]
    assert (answer["code"], answer["err"]) == (code, "")
    h200.says("gpu", answer["out"], answer["code"])
    found = NvidiaSmiProbe(h200.path.parent, str(h200.path)).scan()
    assert found.devices == ()
    assert words in (found.trouble or "")
