"""The host that the pages speak of: a folder in place of ``/``, and programs in place of those that need a real one."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.arch.source import ROOT
from tests.docs.block import blocks_of
from tests.docs.exception import STOOD_IN
from tests.docs.stand_in.package import borrow
from tests.port import free_port

MAPPED = re.compile(
    r"(?<![\w./-])/(?=(?:etc/cortex|etc/credstore|opt/cortex|usr/local/bin|usr/share/(?:bash-completion|zsh|fish))\b)"
)
"""What begins there is below the folder; nothing else of the system is written to."""

FOLDERS = (
    "bin", "node", "etc/cortex/conf.d", "etc/cortex/neuron.d", "opt", "usr/local/bin",
    "usr/share/bash-completion/completions", "usr/share/fish/vendor_completions.d", "usr/share/zsh/site-functions",
)  # fmt: skip

MAKE = """#!/bin/sh
exec {make} -C {root} VENV={venv} -o {venv}/run.stamp -o {venv}/dev.stamp "$@"
"""
"""In the repository, whatever folder a page is in; what this environment has need not be installed."""


class Host:
    """One scratch root. Gateways are started in ``etc``, neurons in ``node``: they look into the folder they are in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc" / "cortex"
        self.node = root / "node"
        self.port = free_port()
        for name in FOLDERS:
            (root / name).mkdir(parents=True)
        for name in STOOD_IN:
            self._write_program(name, f'#!/bin/sh\nexec {sys.executable} -P {ROOT}/tests/docs/stand_in {name} "$@"\n')
        for block in blocks_of(ROOT / "docs" / "operations" / "two-hosts.md"):
            if "model_dirs" in block.text:
                (self.etc / "neuron.d" / "site.toml").write_text(block.text)
        make = shutil.which("make")
        if make:
            self._write_program("make", MAKE.format(make=make, root=ROOT, venv=sys.prefix))

    def _write_program(self, name: str, text: str) -> None:
        (self.root / "bin" / name).write_text(text)
        (self.root / "bin" / name).chmod(0o755)

    def here(self, text: str) -> str:
        """Return a command with the paths of this host."""
        return MAPPED.sub(f"{self.root}/", text)

    def environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith(("CORTEX_", "XDG_", "PIP_"))}
        return own | {
            "PATH": f"{self.root / 'bin'}:{Path(sys.executable).parent}:{own['PATH']}",
            "PYTHONWARNINGS": "",
            "STAND_IN_ROOT": str(self.root),
            "STAND_IN_DEPENDENCIES": str(self.root / "dependencies"),
            "PIP_COMPILE": "0",  # takes longer than all the rest, and is done when a module is imported
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": str(self.root / "wheels"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of what is switched off
            "PIP_NO_INDEX": "1",
        }

    def prepare_to_install(self) -> None:
        """Let pip find the wheel of this repository, and in this environment everything that it depends on."""
        (self.root / "wheels").mkdir()
        argv = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", self.root / "wheels", ROOT]
        subprocess.run(argv, env=self.environment(), check=True)
        dependencies = self.root / "dependencies"
        dependencies.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if path.suffix != ".pth" and not path.name.lower().startswith(("cortex", "pip", "_cortex")):
                (dependencies / path.name).symlink_to(path)

    def borrow(self) -> None:
        """Give environments that were made here what is in ``dependencies``."""
        for folder in (self.root / "opt").iterdir():
            borrow(folder, str(self.root / "dependencies"))
