"""A machine with what was installed: a real systemd as the first process of namespaces of its own, for one scenario.

What is below ``/etc``, ``/usr`` and ``/var`` there is this machine's with the packages' files over it; whatever is
written is gone with it. It has its own processes, mounts, control groups and network. Needs root, and a kernel that
lets it have all that.
"""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSIDE = Path(__file__).with_name("inside.py")
LIMIT_S = 300
PYTHON = f"/usr/local/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""As it is called there: at a place that no sandbox hides, with the libraries of these tests."""
GROUPS = Path("/sys/fs/cgroup")
USED = ("", "name=systemd", "memory", "pids", "devices")
"""Hierarchies in which systemd makes groups: in each of them it must be below a group of its own."""

BOOT = """\
set -e
mount --make-rprivate /
umount --recursive --lazy /sys/fs/cgroup
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/layer
mount --make-rshared /
for folder in etc usr var; do
    layer=/run/layer/$folder
    mkdir -p "$layer/new" "$layer/work" "$layer/none"
    packed=$layer/none
    [ ! -d "$1/$folder" ] || packed=$1/$folder
    mount -t overlay -o "lowerdir=$packed:/$folder,upperdir=$layer/new,workdir=$layer/work" overlay "/$folder"
done
mount -t proc proc /proc
mkdir -p /usr/local/python /usr/local/library
mount --bind "$2" /usr/local/python
mount --bind "$3" /usr/local/library
cat > /run/systemd/system/scenario.target <<END
[Unit]
DefaultDependencies=no
Wants=scenario.service
END
cat > /run/systemd/system/scenario.service <<END
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=infinity
StandardOutput=truncate:$4.log
StandardError=inherit
ExecStart=$5 -P $6 $7 $4
END
mkdir -p /run/systemd/journal
export container=lxc
exec /lib/systemd/systemd --system --unit=scenario.target --show-status=no --log-target=console
"""


def play(scenario: str, packed: Path, folder: Path) -> Any:
    """Run a scenario of ``inside.py`` on a machine with what is below ``packed``; return what it found."""
    if os.getuid() != 0:
        pytest.skip("a machine of its own needs root")
    told = folder / "told.json"
    command = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child"]
    words = [str(packed), sys.base_prefix, sysconfig.get_path("purelib"), str(told), PYTHON, str(INSIDE), scenario]
    with _groups(f"cortex-test-{os.getpid()}") as join:
        done = subprocess.run(
            ["/bin/sh", "-c", f'{join}exec "$@"', "sh", *command, "/bin/sh", "-c", BOOT, "sh", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            text=True,
            check=False,
        )
    log = told.with_suffix(".json.log")
    if not log.exists():
        pytest.skip(f"no machine of its own can be had here: {done.stdout[-500:]}")
    assert told.exists(), f"{log.read_text()}\n{done.stdout[-4000:]}"
    return json.loads(told.read_text())


@contextlib.contextmanager
def _groups(name: str) -> Iterator[str]:
    """Make a control group in every hierarchy; yield what a shell runs to be in all of them."""
    made: list[Path] = []
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kind, path = line.split(":", 2)
            if kind not in USED:
                continue
            folder = _hierarchy(kind) / path.strip("/") / name
            try:
                folder.mkdir()
            except OSError as error:
                pytest.skip(f"{folder}: a machine of its own needs a control group: {error.strerror}")
            made.append(folder)
        yield "".join(f"echo 0 > {folder}/cgroup.procs || exit; " for folder in made)
    finally:
        for folder in made:
            for below, _, _ in os.walk(folder, topdown=False):
                os.rmdir(below)


def _hierarchy(kind: str) -> Path:
    """Return where a hierarchy is mounted: the only one, or the one beside older ones, or one of those."""
    if kind:
        return GROUPS / kind.removeprefix("name=")
    return GROUPS / "unified" if (GROUPS / "unified").is_dir() else GROUPS
