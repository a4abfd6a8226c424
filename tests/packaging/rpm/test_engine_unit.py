"""Engines that run as units of their own: ``cortex-engine@NAME.service`` as it is packaged.

What a running systemd makes of it is in ``test_booted.py``.
"""

import re
import shutil
from pathlib import Path

import pytest
from tests.packaging.rpm.conftest import Built
from tests.packaging.rpm.tool import run

UNIT = "cortex-engine@.service"
EXPOSURE = 18
"""Ten times the score of `systemd-analyze security`; engines that compile cannot have MemoryDenyWriteExecute=."""


@pytest.fixture(scope="module")
def unit(installed: Path) -> str:
    return (installed / "usr/lib/systemd/system" / UNIT).read_text()


def settings(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def test_systemd_finds_no_mistake_in_an_instance_of_it(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(installed / "usr/lib/systemd", tmp_path / "usr/lib/systemd")
    for path in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(path, tmp_path / "usr/lib/systemd/system", follow_symlinks=True)
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/sh", tmp_path / "bin/sh")
    (tmp_path / "etc/cortex/engine").mkdir(parents=True)
    (tmp_path / "etc/cortex/engine/comfyui.env").write_text("ENGINE_COMMAND=/bin/true\n")
    options = [f"--root={tmp_path}", "--man=no", "--recursive-errors=no"]
    assert run("systemd-analyze", "verify", *options, "cortex-engine@comfyui.service") == ""


def test_it_is_as_hard_as_engines_that_compile_allow(installed: Path) -> None:
    path = installed / "usr/lib/systemd/system" / UNIT
    run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", path)


def test_code_may_be_made_and_written_in_places_of_its_own(unit: str) -> None:
    assert settings(unit, "MemoryDenyWriteExecute") == []
    assert settings(unit, "CacheDirectory") == settings(unit, "StateDirectory") == ["cortex-engine/%i"]
    places = dict(word.split("=", 1) for line in settings(unit, "Environment") for word in line.split())
    assert {"HOME", "XDG_CACHE_HOME", "HF_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"} <= set(places)
    folders = ("/var/lib/cortex-engine/%i", "/var/cache/cortex-engine/%i")
    paths = [value for value in places.values() if value.startswith("/")]
    assert [path for path in paths if not path.startswith(folders)] == []


def test_it_is_not_the_neurons_user_and_sees_the_same_devices(installed: Path, unit: str) -> None:
    neuron = (installed / "usr/lib/systemd/system/cortex-neuron.service").read_text()
    assert settings(unit, "User") == settings(unit, "Group") == ["cortex-engine"]
    assert settings(unit, "DeviceAllow") == settings(neuron, "DeviceAllow")
    hidden = settings(unit, "InaccessiblePaths")[0].split()
    assert {"-/etc/cortex", "-/var/lib/cortex-neuron", "-/etc/credstore"} <= set(hidden)


def test_the_folder_of_its_commands_is_there_for_the_neuron_to_look_into(built: Built) -> None:
    found = built.now["cortex-neuron"].entries()["/etc/cortex/engine"]
    assert (found.mode, found.owner) == ("drwxr-x---", "root:cortex-neuron")
    assert f"/usr/lib/systemd/system/{UNIT}" in built.now["cortex-neuron"].entries()


def test_what_outlives_a_neuron_ends_when_its_package_goes(built: Built) -> None:
    """With the package goes whatever would find them again; an upgrade keeps them."""
    scripts = built.now["cortex-neuron"].ask("--scripts")
    preun = re.split(r"^\w+ scriptlet .*$", scripts.partition("preuninstall scriptlet")[2], flags=re.MULTILINE)[0]
    stop, kill = preun.index("disable --now cortex-neuron.service"), preun.index("kill cortex-neuron.service")
    assert stop < preun.index("[ $1 -eq 0 ]", stop) < kill
    stopped, disabled = re.findall(r"systemctl (?:stop|--no-reload disable) (.*@.*) 2>", preun[kill:])
    assert stopped == "'cortex-engine@*.service' 'mistralrs@*.service'"
    assert disabled == "cortex-engine@.service mistralrs@.service"
