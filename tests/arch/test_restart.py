"""The unit files do what the programs and the page on restarts say of them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.arch.source import ROOT

from cortex.cli import neuron, serve
from cortex.gateway.reloading import LIVE

UNITS = ROOT / "packaging" / "systemd"
PAGE = (ROOT / "docs" / "operations" / "restart.md").read_text()


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the settings of a unit, each with all its values."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def test_sockets_have_the_names_that_the_programs_look_for() -> None:
    names = [unit(path.name)["Socket"]["FileDescriptorName"][0] for path in sorted(UNITS.glob("*.socket"))]
    assert sorted(names) == sorted((*serve.DOORS, neuron.DOOR))
    assert unit("cortex-metrics.socket")["Socket"]["Service"] == ["cortex.service"]


@pytest.mark.parametrize("name", ["cortex", "cortex-neuron"])
def test_services_are_heard_and_watched(name: str) -> None:
    service = unit(f"{name}.service")["Service"]
    assert (service["Type"], service["NotifyAccess"]) == (["notify"], ["main"])
    assert int(service["WatchdogSec"][0]) >= 20
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_a_replaced_gateway_gets_its_signal_and_engines_get_none() -> None:
    assert unit("cortex.service")["Service"]["KillMode"] == ["control-group"]
    assert unit("cortex-neuron.service")["Service"]["KillMode"] == ["process"]


def test_engines_keep_what_they_need_while_the_neuron_is_restarted_and_its_end_is_not_theirs() -> None:
    service = unit("cortex-neuron.service")["Service"]
    assert service["OOMPolicy"] == ["continue"], "one engine without memory does not end the neuron"
    (place,) = [value for value in service["Environment"] if value.startswith("TMPDIR=")]
    folders = service["StateDirectory"][0].split()
    assert folders[0] == "cortex-neuron", "the first one is where the state is (neuron/environment.py)"
    assert place.removeprefix("TMPDIR=/var/lib/") in folders


def test_what_takes_effect_at_once_is_listed() -> None:
    listed = re.search(r"At once, of `\[gateway\]`: (.*?)\.\n\n", PAGE, re.DOTALL)
    assert listed is not None
    assert sorted(re.findall(r"`(\w+)`", listed[1])) == sorted(LIVE)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here (package systemd)")
    folder = tmp_path / "usr/lib/systemd/system"
    folder.mkdir(parents=True)
    for path in (*UNITS.iterdir(), *Path("/lib/systemd/system").glob("*.target")):
        shutil.copy(path, folder)
    for name in ("usr/bin/cortex", "usr/bin/cortex-neuron", "usr/local/bin/mistralrs", "bin/kill", "bin/sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    names = [path.name for path in UNITS.iterdir()]
    options = [f"--root={tmp_path}", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([program, "verify", *options, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
