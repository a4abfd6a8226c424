"""systemctl: units are those that are packaged. One is really enabled, in the scratch root."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tests.arch.source import ROOT

SYSTEMD = Path("usr/lib/systemd/system")
"""Where a root has units."""

VERBS = {"enable", "restart", "reload", "kill", "edit", "status"}
OF_OTHERS = {"nvidia-persistenced"}
"""Units that pages speak of and that come with other packages."""


def units() -> list[Path]:
    """Return the units that the packages bring."""
    found = [*(ROOT / "packaging" / "systemd").iterdir(), *(ROOT / "packaging" / "mistralrs").glob("*.service")]
    return [path for path in found if path.suffix in (".service", ".socket")]


def systemctl(words: list[str]) -> None:
    options = [word for word in words if word.startswith("-")]
    verb, *names = [word for word in words if not word.startswith("-")]
    assert verb in VERBS, f"{verb} is unknown"
    assert names, "no unit is named"
    files = [file_of(name) for name in names if name not in OF_OTHERS]
    for option in options:
        name, _, value = option.partition("=")
        if name == "--signal":
            assert signal.Signals[value] == signal.SIGUSR2, "nothing is said of another one"
        else:
            allowed = {"enable": ["--now"], "kill": ["--kill-whom=main"]}.get(verb, [])
            assert option in allowed, f"{option} is unknown"
    if verb == "enable":
        for file in files:
            enable(file)
    print(f"would {verb} {', '.join(file.name for file in files)}")


def journalctl(words: list[str]) -> None:
    option, name, *rest = words
    assert option == "-u", f"{option} is unknown"
    assert not rest or (len(rest) == 2 and rest[0] == "-n" and rest[1].isdigit()), f"{rest} is unknown"
    print("would show the log of", file_of(name).name)


def file_of(name: str) -> Path:
    """Return the file of a unit, which may be named without ``.service``."""
    full = name if "." in name else f"{name}.service"
    found = [path for path in units() if path.name == re.sub(r"@[^.]+", "@", full)]
    assert found, f"no package has {full}"
    return found[0]


def enable(file: Path) -> None:
    """Enable a unit by the real program, which does it in a root where no systemd runs."""
    assert "[Install]" in file.read_text(), f"{file.name} cannot be enabled: it is wanted by nothing"
    root = Path(os.environ["STAND_IN_ROOT"])
    folder = root / SYSTEMD
    folder.mkdir(parents=True, exist_ok=True)
    for one in units():
        shutil.copy(one, folder)
    path = os.environ["PATH"].split(os.pathsep, 1)[1]  # without the stand-ins
    real = shutil.which("systemctl", path=path)
    if real:
        subprocess.run([real, f"--root={root}", "enable", file.name], check=True)
        wanted = [path.name for path in (root / "etc/systemd/system").glob("*.wants/*")]
        assert file.name in wanted, f"{file.name} is not enabled: {wanted}"
