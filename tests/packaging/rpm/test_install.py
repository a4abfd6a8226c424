"""dnf installs, upgrades and removes the packages in a root of its own; what was installed runs."""

import sys
from pathlib import Path

import pytest
from tests.packaging.rpm.conftest import LATER, Built, fresh
from tests.packaging.rpm.tool import Dnf, listed, repository, rpm_in, run, stub

SITE = "usr/lib/python3.14/site-packages"
OWN = "[gateway]\nlisten = '0.0.0.0:8001'\n"


def offered(dnf: Dnf, built: Built, *, later: bool = False) -> None:
    packages = built.later if later else built.now
    repository(dnf.work / "repo-cortex", *(package.file for package in packages.values()))


def has(dnf: Dnf) -> list[str]:
    return sorted(name for name in rpm_in(dnf.root, "-qa", "--qf", "%{NAME}\n").split() if "cortex" in name)


def payload(root: Path, *command: str, code: int = 0, **env: str) -> str:
    """Run a program of the root with this Python, and the code of the root only."""
    program = root / "usr/bin" / command[0]
    paths = {"PYTHONPATH": str(root / SITE), "PYTHONDONTWRITEBYTECODE": "1"}
    return run(sys.executable, "-P", program, *command[1:], env=paths | env, cwd=root, code=code)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("cortex", ["cortex", "cortex-common"]), ("cortex-neuron", ["cortex-common", "cortex-neuron"])],
)
def test_a_gateway_host_and_a_gpu_host_get_what_they_need(
    built: Built, stubs: dict[str, Path], tmp_path: Path, wanted: str, found: list[str]
) -> None:
    dnf = fresh(tmp_path, stubs)
    offered(dnf, built)
    dnf("install", wanted)
    assert has(dnf) == found


def test_what_is_installed_is_what_was_packaged(installed: Path) -> None:
    rpm_in(installed, "-V", "--nouser", "--nogroup", "cortex", "cortex-common", "cortex-neuron")


def test_without_what_is_built_beside_it_the_neuron_cannot_be_installed(
    built: Built, stubs: dict[str, Path], tmp_path: Path
) -> None:
    dnf = fresh(tmp_path, {"fedora43": stubs["fedora43"]})
    offered(dnf, built)
    said = dnf("install", "cortex-neuron", code=1)
    assert "nothing provides python3dist(nvidia-ml-py) >= 12" in said
    dnf("install", "cortex")


def test_a_version_that_is_too_old_is_refused(built: Built, tmp_path: Path) -> None:
    old = [line.replace("msgspec) = 0.19", "msgspec) = 0.18") for line in listed("fedora43.provides")]
    assert old != listed("fedora43.provides")
    dnf = fresh(tmp_path, {"fedora43": stub(tmp_path, "fedora43", old)})
    offered(dnf, built)
    assert "nothing provides python3.14dist(msgspec) >= 0.19" in dnf("install", "cortex", code=1)


def test_an_edited_configuration_outlives_an_upgrade_and_a_removal(
    built: Built, stubs: dict[str, Path], tmp_path: Path
) -> None:
    dnf = fresh(tmp_path, stubs)
    offered(dnf, built)
    dnf("install", "cortex", "cortex-neuron")
    etc = dnf.root / "etc/cortex"
    untouched = (etc / "neuron.toml").read_text()
    (etc / "cortex.toml").write_text(OWN)
    (etc / "conf.d/site.toml").write_text("[eviction]\nstrategy = 'cost'\n")

    offered(dnf, built, later=True)
    dnf("upgrade", "cortex")
    assert has(dnf) == ["cortex", "cortex-common", "cortex-neuron"]
    assert payload(dnf.root, "cortex", "--version") == f"cortex {LATER}\n"
    assert payload(dnf.root, "cortex-neuron", "--version") == f"cortex-neuron {LATER}\n"
    assert (etc / "cortex.toml").read_text() == OWN
    assert "a later version says more" in (etc / "cortex.toml.rpmnew").read_text()
    assert (etc / "neuron.toml").read_text() == untouched
    assert not (etc / "neuron.toml.rpmnew").exists()
    said = payload(dnf.root, "cortex", "check", "--config", str(etc / "cortex.toml"))
    assert "API on 0.0.0.0:8001" in said
    assert f"and over it: {etc}/conf.d/site.toml" in said

    dnf("remove", "cortex", "cortex-neuron", "cortex-common")
    assert has(dnf) == []
    assert (etc / "cortex.toml.rpmsave").read_text() == OWN
    assert sorted(path.name for path in etc.iterdir()) == ["conf.d", "cortex.toml.rpmnew", "cortex.toml.rpmsave"]
    assert (etc / "conf.d/site.toml").exists()
    assert not (dnf.root / SITE / "cortex").exists()


def test_an_older_version_comes_back(built: Built, stubs: dict[str, Path], tmp_path: Path) -> None:
    dnf = fresh(tmp_path, stubs)
    offered(dnf, built, later=True)
    dnf("install", "cortex")
    offered(dnf, built)
    dnf("downgrade", f"cortex-{built.version}", f"cortex-common-{built.version}")
    assert payload(dnf.root, "cortex", "--version") == f"cortex {built.version}\n"


def test_what_was_installed_is_what_runs(installed: Path, built: Built) -> None:
    assert payload(installed, "cortex", "--version") == f"cortex {built.version}\n"
    where = "import sys, cortex; sys.stdout.write(cortex.__file__)"
    paths = {"PYTHONPATH": str(installed / SITE)}
    assert run(sys.executable, "-B", "-P", "-c", where, env=paths, cwd=installed) == str(
        installed / SITE / "cortex/__init__.py"
    )


def test_the_gateways_configuration_as_shipped_can_be_used(installed: Path) -> None:
    said = payload(installed, "cortex", "check", "--config", str(installed / "etc/cortex/cortex.toml"))
    assert "API on 0.0.0.0:8000, metrics on 0.0.0.0:9100" in said
    assert "store: sqlite:////var/lib/cortex/cortex.db" in said


def test_the_neurons_configuration_as_shipped_can_be_used(installed: Path) -> None:
    said = payload(installed, "cortex-neuron", "check", "--config", str(installed / "etc/cortex/neuron.toml"))
    assert "API on 0.0.0.0:9090" in said


IMPORT_ALL = """
import importlib, pkgutil, sys
import cortex
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ImportError("not here: " + name)
sys.meta_path.insert(0, Absent())
left_out = {left_out!r}
def walk(package):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name.startswith(left_out):
            continue
        module = importlib.import_module(found.name)
        if found.ispkg:
            walk(module)
walk(cortex)
print(len([name for name in sys.modules if name.startswith("cortex.")]))
"""


def test_no_module_needs_what_its_package_does_not_want(installed: Path) -> None:
    """As %check does on Fedora: there, what is not in Fedora may be missing."""
    absent = ("xllamacpp", "gguf", "numpy", "uvloop", "opentelemetry", "pynvml", "huggingface_hub")
    spec = (Path(__file__).parents[3] / "packaging/rpm/cortex.spec").read_text()
    (line,) = [line for line in spec.splitlines() if line.startswith("%pyproject_check_import")]
    left_out = tuple(word.strip("'*") for word in line.split() if word.startswith("'"))
    program = IMPORT_ALL.format(absent=absent, left_out=left_out)
    paths = {"PYTHONPATH": str(installed / SITE)}
    said = run(sys.executable, "-B", "-P", "-W", "error", "-c", program, env=paths, cwd=installed)
    assert int(said) > 450
