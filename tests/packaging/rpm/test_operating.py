"""What systemd, polkit, firewalld, Prometheus, man and shells make of what was installed."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.arch.source import ROOT
from tests.packaging.rpm.tool import AS_ROOT, run

from cortex.kit import credential

UNITS = ["cortex.service", "cortex.socket", "cortex-metrics.socket", "cortex-neuron.service", "cortex-neuron.socket"]
MOST_EXPOSURE = {"cortex.service": 12, "cortex-neuron.service": 20, "mistralrs@.service": 20}
"""Ten times the score of `systemd-analyze security`: 2.0 is what was asked for, the gateway does without more."""
MANAGE = "org.freedesktop.systemd1.manage-units"


@pytest.fixture(scope="module")
def root(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what was installed, with what a host has besides: systemd's targets, kill, a mistral.rs, users."""
    copy = tmp_path_factory.mktemp("operating") / "root"
    shutil.copytree(installed, copy, symlinks=True)
    for path in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(path, copy / "usr/lib/systemd/system", follow_symlinks=True)
    for name in ("bin/kill", "usr/local/bin/mistralrs"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("#!/bin/sh\n")
        (copy / name).chmod(0o755)
    for name in ("passwd", "group"):
        (copy / "etc" / name).touch()
    return copy


def test_systemd_finds_no_mistake_in_the_units(root: Path) -> None:
    options = [f"--root={root}", "--man=no", "--recursive-errors=no"]
    assert run("systemd-analyze", "verify", *options, *UNITS, "mistralrs@.service") == ""


@pytest.mark.parametrize("unit", MOST_EXPOSURE)
def test_services_are_hardened(root: Path, unit: str) -> None:
    path = root / "usr/lib/systemd/system" / unit
    run("systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSURE[unit]}", "--no-pager", path)


def test_a_threshold_is_one(root: Path, tmp_path: Path) -> None:
    soft = tmp_path / "soft.service"
    soft.write_text((root / "usr/lib/systemd/system/cortex.service").read_text().replace("PrivateDevices=yes\n", ""))
    run("systemd-analyze", "security", "--offline=yes", "--threshold=12", "--no-pager", soft, code=1)


@pytest.mark.parametrize("unit", ["cortex.service", "cortex-neuron.service"])
def test_secrets_are_asked_for_by_names_that_the_daemons_know_and_need_not_be_there(root: Path, unit: str) -> None:
    text = (root / "usr/lib/systemd/system" / unit).read_text()
    asked = set(re.findall(r"^LoadCredential=(.*)$", text, re.MULTILINE))
    known = {credential.FLEET_TOKEN, credential.TLS_CERT, credential.TLS_KEY}
    assert asked == (known | {credential.STORE_URL} if unit == "cortex.service" else known)
    assert not any(":" in name for name in asked), "without a path: systemd starts the unit when there is none"


def test_services_start_what_is_installed(root: Path) -> None:
    for unit in ("cortex.service", "cortex-neuron.service"):
        text = (root / "usr/lib/systemd/system" / unit).read_text()
        (program, config) = re.findall(r"^ExecStart=(\S+) .*--config (\S+)$", text, re.MULTILINE)[0]
        assert (root / program.lstrip("/")).exists()
        assert (root / config.lstrip("/")).exists()


def test_users_and_groups_are_those_that_units_files_and_rules_name(root: Path) -> None:
    run(*AS_ROOT, "systemd-sysusers", f"--root={root}", "cortex.conf", "cortex-neuron.conf")
    users = {line.split(":")[0] for line in (root / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (root / "etc/group").read_text().splitlines()}
    assert {"cortex", "cortex-neuron", "mistralrs"} <= users & groups
    for path in (root / "usr/lib/systemd/system").glob("*.service"):
        text = path.read_text()
        assert set(re.findall(r"^User=(\S+)$", text, re.MULTILINE)) <= users, path.name
        assert set(re.findall(r"^Group=(\S+)$", text, re.MULTILINE)) <= groups, path.name


def test_the_rules_for_alerts_can_be_used(root: Path) -> None:
    run("promtool", "check", "rules", root / "usr/share/cortex/prometheus/cortex.rules.yml")
    run("promtool", "check", "config", root / "usr/share/cortex/prometheus/prometheus.yml")


def test_every_page_that_an_alert_names_is_installed(root: Path) -> None:
    rules = (root / "usr/share/cortex/prometheus/cortex.rules.yml").read_text()
    pages = set(re.findall(r"runbook_url: file://(/[^#\s]+)#", rules))
    assert pages
    assert {page for page in pages if not (root / page.lstrip("/")).exists()} == set()


def test_dashboards_are_json(root: Path) -> None:
    boards = sorted((root / "usr/share/cortex/grafana/dashboard").glob("*.json"))
    assert len(boards) >= 5
    assert all(json.loads(board.read_text())["panels"] for board in boards)


READ_SERVICE = """
import sys
from firewall.core.io.service import service_reader
read = service_reader(sys.argv[1], sys.argv[2])
print(" ".join("/".join(port) for port in read.ports))
"""


@pytest.mark.parametrize(
    ("service", "ports"),
    [("cortex", "8000/tcp"), ("cortex-metrics", "9100/tcp"), ("cortex-neuron", "9090/tcp 8100-8299/tcp")],
)
def test_firewalld_reads_the_services(root: Path, service: str, ports: str) -> None:
    folder = root / "usr/lib/firewalld/services"
    run("xmllint", "--noout", folder / f"{service}.xml")
    assert run("/usr/bin/python3", "-c", READ_SERVICE, f"{service}.xml", folder).split() == ports.split()


def test_the_ports_are_those_of_the_configuration(root: Path) -> None:
    gateway, neuron = ((root / "etc/cortex" / f"{name}.toml").read_text() for name in ("cortex", "neuron"))
    assert 'listen = "0.0.0.0:8000"\n' in gateway
    assert 'metrics_listen = "0.0.0.0:9100"\n' in gateway
    assert "port = 9090\n" in neuron


JUDGE = """
const fs = require("fs");
let rule;
const polkit = {addRule: (given) => { rule = given; }, Result: {YES: "yes"}};
new Function("polkit", fs.readFileSync(process.argv[1], "utf8"))(polkit);
const answers = JSON.parse(process.argv[2]).map(([id, user, unit, verb]) => {
    const details = {unit, verb};
    return rule({id, lookup: (key) => details[key]}, {user}) ?? "no";
});
console.log(JSON.stringify(answers));
"""
ASKED = [
    ((MANAGE, "cortex-neuron", "mistralrs.service", "start"), "yes"),
    ((MANAGE, "cortex-neuron", "mistralrs.service", "stop"), "yes"),
    ((MANAGE, "cortex-neuron", "mistralrs@coder.service", "restart"), "yes"),
    ((MANAGE, "cortex-neuron", "comfyui.service", "try-restart"), "yes"),
    ((MANAGE, "cortex-neuron", "cortex-engine@comfyui.service", "start"), "yes"),
    ((MANAGE, "cortex-neuron", "cortex-engine@comfyui.service", "kill"), "no"),
    ((MANAGE, "cortex-engine", "cortex-engine@comfyui.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "cortex-engine@.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "cortex-neuron.service", "stop"), "no"),
    ((MANAGE, "cortex", "mistralrs.service", "start"), "no"),
    ((MANAGE, "root", "mistralrs.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "sshd.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "mistralrs@a/../sshd.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "evil-mistralrs.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "mistralrs.service\nsshd.service", "start"), "no"),
    ((MANAGE, "cortex-neuron", "mistralrs.service", "kill"), "no"),
    ((MANAGE, "cortex-neuron", "mistralrs.service", "set-property"), "no"),
    ((MANAGE, "cortex-neuron", None, None), "no"),
    (("org.freedesktop.systemd1.manage-unit-files", "cortex-neuron", "mistralrs.service", "start"), "no"),
    (("org.freedesktop.systemd1.reload-daemon", "cortex-neuron", None, None), "no"),
]


def test_polkit_lets_the_neuron_have_its_engines_and_nothing_else(root: Path) -> None:
    rules = root / "usr/share/polkit-1/rules.d/50-cortex-neuron.rules"
    answers = json.loads(run("node", "-e", JUDGE, rules, json.dumps([asked for asked, _ in ASKED])))
    assert dict(zip([asked for asked, _ in ASKED], answers, strict=True)) == dict(ASKED)


def test_man_finds_nothing_wrong_and_every_page_that_units_name(root: Path) -> None:
    pages = sorted((root / "usr/share/man").glob("man*/*"))
    assert {page.suffix for page in pages} == {".gz"}, "as on Fedora, so that the spec's globs are tried"
    names = {page.stem for page in pages}
    assert {"cortex.1", "cortex-neuron.8", "cortex.toml.5", "models.toml.5", "neuron.toml.5"} <= names
    for page in pages:  # of several compressed ones mandoc 1.14 unpacks the first
        assert run("mandoc", "-Tlint", "-W", "warning", page) == ""
    units = "".join(path.read_text() for path in (root / "usr/lib/systemd/system").glob("cortex*.service"))
    assert {f"{page}.{section}" for page, section in re.findall(r"man:([\w-]+)\((\d)\)", units)} <= names


def test_bash_reads_the_completions(root: Path) -> None:
    folder = root / "usr/share/bash-completion/completions"
    for name in ("cortex", "cortex-neuron"):
        said = run("bash", "-c", f"source {folder / name} && complete -p {name}")
        assert said.endswith(f" {name}\n")


def test_the_units_of_the_sources_are_all_installed(root: Path) -> None:
    for path in (ROOT / "packaging/systemd").iterdir():
        assert (root / "usr/lib/systemd/system" / path.name).read_text() == path.read_text()
