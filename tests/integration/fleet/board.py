"""The GPUs of one node, made of files: a test says how much memory they have and who else takes of it.

What a neuron then sees and what an engine gets is told by ``gpu_program.py``: a real neuron samples by ``nvidia-smi``,
and real engines hold memory, run out of it, and give it back late.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = Path(__file__).with_name("gpu_program.py")


class Board:
    """One host's GPUs; ``total_mb`` has each one's memory."""

    def __init__(self, folder: Path, total_mb: Sequence[int]) -> None:
        self.folder = folder
        self._total_mb = {f"GPU-{folder.parent.name}-{number}": mb for number, mb in enumerate(total_mb)}
        self._strangers_mb = dict.fromkeys(self._total_mb, 0)
        (folder / "engine").mkdir(parents=True)
        (folder / "without_nvml").mkdir()
        (folder / "without_nvml" / "pynvml.py").write_text("raise ImportError('this host has nvidia-smi only')\n")
        for name in ("nvidia-smi", "llama-server"):
            (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -IS {PROGRAM} {name} {folder} "$@"\n')
            (folder / name).chmod(0o755)
        self._tell()

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return what a neuron needs in ``env`` to see these GPUs and no others."""
        before = {"PATH": self.folder, "PYTHONPATH": self.folder / "without_nvml"}
        return {name: os.pathsep.join(filter(None, (str(path), env.get(name)))) for name, path in before.items()}

    @property
    def server(self) -> Path:
        return self.folder / "llama-server"

    def strangers(self, mb: int, device: int = 0) -> None:
        """Let other processes have so much of a GPU from now on."""
        self._strangers_mb[list(self._total_mb)[device]] = mb
        self._tell()

    def hold_loads(self, is_on: bool) -> None:
        """Let engines that start wait, and begin to load only when that is over."""
        _mark(self.folder / "holds", is_on)

    def break_engines(self, is_on: bool) -> None:
        """Let engines that start end at once, until that is over."""
        _mark(self.folder / "breaks", is_on)

    def keep_memory(self, is_on: bool) -> None:
        """Let the driver keep the memory of engines that end, until that is over."""
        _mark(self.folder / "keeps", is_on)

    def refusals(self) -> list[str]:
        """Return what engines said that did not get their memory."""
        file = self.folder / "refusals"
        return file.read_text().splitlines() if file.exists() else []

    def _tell(self) -> None:
        draft = self.folder / "board.draft"
        draft.write_text(json.dumps({uuid: (mb, self._strangers_mb[uuid]) for uuid, mb in self._total_mb.items()}))
        draft.rename(self.folder / "board.json")


def _mark(file: Path, is_there: bool) -> None:
    if is_there:
        file.touch()
    else:
        file.unlink(missing_ok=True)
