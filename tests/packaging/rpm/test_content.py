"""What is in the packages: files, owners, flags, dependencies, scriptlets."""

import hashlib
import io
import re
import tarfile
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from tests.arch.source import ROOT
from tests.packaging.rpm.conftest import EPOCH_S, Built
from tests.packaging.rpm.tool import HERE, listed, run

NAMES = ["cortex", "cortex-common", "cortex-neuron"]
CONFIGS = {
    "cortex": {"/etc/cortex/cortex.toml": "cortex", "/etc/cortex/models.toml": "cortex"},
    "cortex-neuron": {"/etc/cortex/neuron.toml": "cortex-neuron"},
    "cortex-common": {},
}
WANTED = {
    "cortex": [
        "/usr/bin/cortex",
        "/usr/lib/systemd/system/cortex.service",
        "/usr/lib/systemd/system/cortex.socket",
        "/usr/lib/systemd/system/cortex-metrics.socket",
        "/usr/lib/sysusers.d/cortex.conf",
        "/usr/lib/firewalld/services/cortex.xml",
        "/usr/lib/firewalld/services/cortex-metrics.xml",
        "/usr/share/cortex/grafana/dashboard/cortex-fleet.json",
        "/usr/share/cortex/grafana/provisioning/dashboards/cortex.yml",
        "/usr/share/cortex/grafana/provisioning/datasources/cortex.yml",
        "/usr/share/cortex/prometheus/cortex.rules.yml",
        "/usr/share/cortex/prometheus/prometheus.yml",
        "/usr/share/cortex/prometheus/target/cortex-gateway.yml",
        "/usr/share/cortex/prometheus/target/cortex-neuron.yml",
    ],
    "cortex-neuron": [
        "/usr/bin/cortex-neuron",
        "/usr/libexec/cortex/neuron",
        "/usr/lib/systemd/system/cortex-neuron.service",
        "/usr/lib/systemd/system/cortex-neuron.socket",
        "/usr/lib/systemd/system/mistralrs@.service",
        "/usr/lib/sysusers.d/cortex-neuron.conf",
        "/usr/lib/firewalld/services/cortex-neuron.xml",
        "/usr/share/polkit-1/rules.d/50-cortex-neuron.rules",
    ],
    "cortex-common": [
        "/usr/share/bash-completion/completions/cortex",
        "/usr/share/bash-completion/completions/cortex-neuron",
        "/usr/share/zsh/site-functions/_cortex",
        "/usr/share/fish/vendor_completions.d/cortex.fish",
        "/usr/share/doc/cortex/configuration.md",
        "/usr/share/licenses/cortex-common-{version}/LICENSE",
    ],
}
SITE = "/usr/lib/python3.14/site-packages"


def test_one_spec_makes_three_packages_without_an_architecture(built: Built) -> None:
    assert sorted(built.now) == NAMES
    for name, package in built.now.items():
        said = package.ask("--qf", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE}")
        assert said == f"{name} {built.version} 1.fc43 noarch Apache-2.0"


def test_the_same_source_makes_the_same_packages(built: Built) -> None:
    now, again = (
        {name: hashlib.sha256(package.file.read_bytes()).hexdigest() for name, package in packages.items()}
        for packages in (built.now | {"source": built.source}, built.again | {"source": built.source_again})
    )
    assert now == again


def test_the_source_says_nothing_of_when_and_where_it_was_packed(built: Built) -> None:
    with tarfile.open(fileobj=io.BytesIO(built.packed)) as archive:
        told = {(member.mtime, member.uid, member.gid, member.uname) for member in archive.getmembers()}
    assert told == {(int(EPOCH_S), 0, 0, "")}
    assert built.packed[4:8] == bytes(4), "gzip's own time"
    assert built.source.ask("--qf", "%{BUILDTIME} %{BUILDHOST} [%{FILEMTIMES} ]").split() == [
        *(EPOCH_S, "localhost", EPOCH_S, EPOCH_S)
    ]


def test_a_file_is_in_one_package_only(built: Built) -> None:
    paths = [path for package in built.now.values() for path in package.entries()]
    assert [path for path in paths if paths.count(path) > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_package_has_what_it_is_for(built: Built, name: str) -> None:
    entries = built.now[name].entries()
    wanted = [path.format(version=built.version) for path in WANTED[name]]
    assert [path for path in wanted if path not in entries] == []


@pytest.mark.parametrize("name", NAMES)
def test_configuration_is_kept_and_only_its_daemon_may_read_it(built: Built, name: str) -> None:
    found = {path: entry for path, entry in built.now[name].entries().items() if "c" in entry.flags}
    assert {path: (entry.mode, entry.owner, entry.flags) for path, entry in found.items()} == {
        path: ("-rw-r-----", f"root:{group}", "cn") for path, group in CONFIGS[name].items()
    }


def test_folders_for_what_is_a_sites_own_are_there(built: Built) -> None:
    gateway, neuron = (built.now[name].entries() for name in ("cortex", "cortex-neuron"))
    assert (gateway["/etc/cortex/conf.d"].mode, gateway["/etc/cortex/conf.d"].owner) == ("drwxr-x---", "root:cortex")
    found = neuron["/etc/cortex/neuron.d"]
    assert (found.mode, found.owner) == ("drwxr-x---", "root:cortex-neuron")
    assert built.now["cortex-common"].entries()["/etc/cortex"].mode == "drwxr-xr-x"


@pytest.mark.parametrize("name", NAMES)
def test_everything_else_is_roots_and_nobody_elses_to_change(built: Built, name: str) -> None:
    for path, entry in built.now[name].entries().items():
        if not path.startswith("/etc/cortex/"):
            assert entry.owner == "root:root", path
        assert entry.mode[5] == entry.mode[8] == "-" or entry.mode.startswith("l"), f"{path} is {entry.mode}"
        assert "s" not in entry.mode, f"{path} is {entry.mode}"


def test_all_the_code_is_there_and_nothing_that_tools_left(built: Built) -> None:
    entries = built.now["cortex-common"].entries()
    code = [name for name in sources_of(built) if name.startswith("src/")]
    assert len(code) > 500
    assert [name for name in code if name.replace("src/", f"{SITE}/", 1) not in entries] == []
    assert [path for path in entries if "__pycache__" in path or path.endswith((".pyc", "RECORD"))] == []


def sources_of(built: Built) -> list[str]:
    """Return the files of the repository that the packages were built from."""
    with tarfile.open(fileobj=io.BytesIO(built.packed)) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def test_what_is_packed_is_what_git_knows_and_no_more(builder: ModuleType) -> None:
    names = builder.sources()
    assert {"LICENSE", "pyproject.toml", "packaging/rpm/cortex.spec", "src/cortex/py.typed"} <= set(names)
    assert [name for name in names if name.startswith(("tests/", "bench/", ".venv", "dist/", ".git"))] == []


def test_the_dependencies_are_those_of_the_project(built: Built) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {as_rpm(line, python="3.14") for line in project["dependencies"]}
    assert {line for line in built.now["cortex-common"].lines("--requires") if "dist(" in line} == wanted


def test_of_the_extras_each_package_has_its_own(built: Built) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    store = {as_rpm(line) for line in extras["store"]}
    gateway = built.now["cortex"]
    needed = {line for line in gateway.lines("--requires") if "dist(" in line}
    recommended = {line for line in gateway.lines("--recommends") if "dist(" in line}
    assert needed | recommended == store | {as_rpm(line) for line in extras["fast"]}
    assert {line for line in gateway.lines("--suggests") if "dist(" in line} == {as_rpm(x) for x in extras["trace"]}
    # gguf and numpy only write the demo model of `cortex up`.
    neuron = {as_rpm(line) for line in extras["neuron"]} - {as_rpm(line) for line in extras["embedded"]}
    assert {line for line in built.now["cortex-neuron"].lines("--requires") if "dist(" in line} == neuron


def as_rpm(requirement: str, python: str = "3") -> str:
    """Return a requirement as rpm writes it: without the zeros that end a version."""
    name, version = re.fullmatch(r"([\w.\-\[\]]+)>=([\d.]+)", requirement).groups()  # type: ignore[union-attr]
    return f"python{python}dist({name}) >= {version}"


def test_gateway_and_neuron_want_the_code_of_their_own_version(built: Built) -> None:
    for name in ("cortex", "cortex-neuron"):
        assert f"cortex-common = {built.version}-1.fc43" in built.now[name].lines("--requires")
    assert "polkit" in built.now["cortex-neuron"].lines("--requires")


def test_whatever_is_wanted_is_in_fedora_or_built_beside_it(built: Built) -> None:
    provided = {line.partition(" = ")[0] for name in ("fedora43", "copr") for line in listed(f"{name}.provides")}
    provided |= {line.partition(" = ")[0] for package in built.now.values() for line in package.lines("--provides")}
    wanted = {
        line.split(" ")[0]
        for package in built.now.values()
        for kind in ("--requires", "--recommends", "--suggests")
        for line in package.lines(kind)
    }
    assert {line for line in wanted if line not in provided} == set()


def test_what_is_built_beside_it_is_told(built: Built) -> None:
    page = (HERE / "README.md").read_text()
    beside = {re.findall(r"dist\((.*)\)", line)[0] for line in listed("copr.provides")}
    assert {name for name in beside if f"| `{name}` |" not in page} == set()


def test_units_are_preset_stopped_and_started_again_by_their_packages(built: Built) -> None:
    gateway, neuron = (built.now[name].ask("--scripts") for name in ("cortex", "cortex-neuron"))
    for unit in ("cortex.service", "cortex.socket", "cortex-metrics.socket"):
        assert len(re.findall(rf"(?:preset|disable --now) .*{re.escape(unit)}", gateway)) == 2
    assert "--signal=SIGUSR2 cortex.service" in gateway.partition("posttrans scriptlet")[2]
    assert "try-restart" not in gateway
    for unit in ("cortex-neuron.service", "cortex-neuron.socket"):
        assert len(re.findall(rf"(?:preset|disable --now) .*{re.escape(unit)}", neuron)) == 2
    assert "try-restart cortex-neuron.service" in neuron
    assert all("firewall-cmd --reload" in scripts for scripts in (gateway, neuron))


def test_programs_run_isolated_and_helpers_lead_to_them(built: Built, installed: Path) -> None:
    for name in ("cortex", "cortex-neuron"):
        assert (installed / "usr/bin" / name).read_text().startswith("#!/usr/bin/python3 -sP\n")
    assert (installed / "usr/libexec/cortex/neuron").resolve() == (installed / "usr/bin/cortex-neuron").resolve()


def test_the_source_package_builds_anywhere(built: Built, tmp_path: Path) -> None:
    assert "rpmlib(DynamicBuildRequires) <= 4.15.0-1" in built.source.ask("--requires")
    assert built.source.file.name == f"cortex-{built.version}-1.src.rpm"
    run("sh", "-c", f"rpm2cpio {built.source.file} | cpio -idm --quiet", cwd=tmp_path)
    spec = (tmp_path / "cortex.spec").read_text()
    assert f"Version:        {built.version}\n" in spec
    assert "@" not in re.sub(r"(mistralrs|cortex-engine)@", "", spec)
    assert (tmp_path / f"cortex-{built.version}.tar.gz").exists()


@pytest.mark.parametrize("page", ["operations/runbook.md", "CHANGELOG.md"])
def test_pages_are_where_alerts_and_comments_say(built: Built, page: str) -> None:
    rules = (ROOT / "packaging/prometheus/cortex.rules.yml").read_text()
    assert "runbook_url: file:///usr/share/doc/cortex/operations/runbook.md#" in rules
    entry = built.now["cortex-common"].entries()[f"/usr/share/doc/cortex/{page}"]
    assert "d" in entry.flags


def test_all_pages_are_there_without_the_programs_that_make_them(built: Built) -> None:
    there = {path for path in built.now["cortex-common"].entries() if path.startswith("/usr/share/doc/cortex/")}
    pages = {name for name in sources_of(built) if re.fullmatch(r"docs/.*\.(md|svg)", name)}
    assert len(pages) > 60
    assert {f"/usr/share/doc/cortex/{name.removeprefix('docs/')}" for name in pages} <= there
    assert [path for path in there if path.endswith(".py")] == []
