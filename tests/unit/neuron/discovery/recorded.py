"""What real machines answered, as ``python -m cortex.testing.record_gpu`` wrote it down; serial numbers are made up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cortex.testing.nvml_tape import Call

FOLDER = Path(__file__).parents[3] / "data" / "gpu"


def tapes_of(machine: str) -> Mapping[str, list[Call]]:
    """Return the tapes of NVML by what they show."""
    return msgspec.json.decode((FOLDER / machine / "nvml.json").read_bytes(), type=dict[str, list[Call]])


def answers_of(machine: str) -> Mapping[str, Mapping[str, Any]]:
    """Return code and output of ``nvidia-smi`` by its arguments."""
    return msgspec.json.decode((FOLDER / machine / "nvidia-smi.json").read_bytes(), type=dict[str, dict[str, Any]])
