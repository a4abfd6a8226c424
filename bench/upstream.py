"""The one upstream that every gateway stands in front of: started, killed and started again on the same port."""

import subprocess
from pathlib import Path

from bench.child import Child
from bench.port import free_port


class Upstream:
    """The C server of ``native/upstream.c``."""

    def __init__(self, program: Path, core: int, folder: Path) -> None:
        self.port = free_port()
        self._program, self._core, self._log = program, core, folder / "upstream.log"
        self.child = self._start()

    def restart(self) -> None:
        self.child.kill()
        self.child = self._start()

    def _start(self) -> Child:
        argv = [self._program, str(self.port)]
        child = Child(argv, core=self._core, log=self._log, stdout=subprocess.PIPE)
        if child.stdout.readline() != b"listening\n":
            raise SystemExit(f"bench: the upstream did not start: {child.last_words()}")
        return child
