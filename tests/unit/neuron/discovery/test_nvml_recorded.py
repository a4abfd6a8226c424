"""The probe over what NVML answered on real machines: at rest, while processes held memory, and afterwards."""

from pathlib import Path

import pytest
from tests.unit.neuron.discovery.recorded import tapes_of
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.discovery.nvml import NvmlProbe
from cortex.testing.nvml_tape import PlayedNvml

NOBODY: frozenset[int] = frozenset()
HOLDER, LEADER, CHILD = 470, 502, 503
"""The processes on the tape: one that held 2 GiB, and one whose child did."""
CONTEXT_MB = 518
"""What CUDA's context takes beside what is asked for."""


@pytest.fixture
def h200(tmp_path: Path) -> NvmlProbe:
    """An H200 in a virtual machine, driver 580.159.04."""
    tape = [call for part in tapes_of("h200").values() for call in part]
    plant(tmp_path, {f"proc/{CHILD}/stat": f"{CHILD} (python) S {LEADER} {LEADER} {LEADER} 0"})
    played = PlayedNvml(tape)
    return NvmlProbe(tmp_path, lambda: played)


def test_an_h200_is_found_and_read_at_rest_while_it_is_used_and_afterwards(h200: NvmlProbe) -> None:
    assert h200.scan() == Scan(
        devices=(
            FoundDevice(
                name="NVIDIA H200",
                kind="cuda",
                vram_total_mb=143771,
                compute_capability="9.0",
                uuid="GPU-00000000-0000-0000-0000-000000000200",
            ),
        ),
        driver_version="580.159.04",
        cuda_driver_version="13.0",
    )
    assert h200.read(frozenset({1})) == (
        Reading(
            vram_used_mb=616,
            vram_free_mb=143155,
            utilization_pct=0.0,
            temp_c=34.0,
            power_w=77.841,
            power_limit_w=700.0,
            processes={},
            ecc_errors={"corrected": 0, "uncorrected": 0},
            recovery_action="none",
        ),
    )
    held = 2048 + CONTEXT_MB
    (used,) = h200.read(frozenset({HOLDER}))
    assert (used.vram_used_mb, used.processes) == (3190, {HOLDER: ProcessUse(held, held)})
    (free,) = h200.read(NOBODY)
    assert free.vram_used_mb == 616, "the driver gave it back at once"
    (used,) = h200.read(frozenset({LEADER}))
    assert used.processes == {LEADER: ProcessUse(held, held)}, "a child's memory is its leader's"
    (free,) = h200.read(NOBODY)
    assert (free.vram_used_mb, free.trouble) == (616, None)
