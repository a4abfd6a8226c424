"""What the roles write, start and ask for is what the units, the packages and the programs have."""

import re
import tomllib
from typing import Any

import pytest
import yaml
from tests.arch.source import ROOT
from tests.packaging.test_ansible import PACKAGING, PLACE, ROLES, module_of, tasks

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNITS = {name: (PACKAGING / f"systemd/{name}.service").read_text() for name in ("cortex", "cortex-neuron")}
PROGRAMS = {"cortex_gateway": "cortex", "cortex_neuron": "cortex-neuron"}
INSTALL = yaml.safe_load((ROLES / "cortex_install/defaults/main.yml").read_text())

each = pytest.mark.parametrize("role", PROGRAMS)


def given(role: str, module: str) -> list[Any]:
    """Return what a role gives a module, task by task."""
    name = f"ansible.builtin.{module}"
    return [task[name] for task in tasks(role) if module_of(task) == name]


def installs(role: str) -> dict[str, Any]:
    """Return with what a role includes the one that installs."""
    (said,) = [task["vars"] for task in tasks(role) if "include_role" in module_of(task)]
    return INSTALL | dict(said)


def written(role: str) -> dict[str, dict[str, Any]]:
    """Return what a role writes below /etc/cortex, by where."""
    found = {one["dest"]: one for module in ("copy", "template") for one in given(role, module)}
    return {dest: one for dest, one in found.items() if dest.startswith("/etc/cortex/")}


@each
def test_configuration_is_read_by_its_daemon_and_nobody_else(role: str) -> None:
    files = written(role)
    assert len(files) >= 2
    group = re.findall(r"^Group=(.*)$", UNITS[PROGRAMS[role]], re.MULTILINE)
    assert {(one["owner"], one["mode"]) for one in files.values()} == {("root", "0640")}
    assert [one["group"] for one in files.values()] == group * len(files)


@pytest.mark.parametrize("role", ["cortex_install", "cortex_gateway", "cortex_neuron"])
def test_nothing_that_is_written_is_for_others_to_change(role: str) -> None:
    modes = [one["mode"] for module in ("copy", "template", "file") for one in given(role, module) if "mode" in one]
    assert {mode for mode in modes if int(mode, 8) & 0o022} == set()
    assert all(one.get("owner") == "root" for module in ("copy", "template") for one in given(role, module))


@each
def test_site_settings_are_where_the_program_looks_and_name_a_token_that_is_written(role: str) -> None:
    folder = {"cortex_gateway": "conf.d", "cortex_neuron": "neuron.d"}[role]
    (template,) = given(role, "template")
    assert template["dest"] == f"/etc/cortex/{folder}/site.toml"
    text = (ROLES / role / "templates" / template["src"]).read_text()
    (token,) = re.findall(r'^token_file = "(.*)"$', text, re.MULTILINE)
    assert f"/etc/cortex/{token}" in written(role), "a relative name is beside the configuration"


@each
def test_configuration_is_tried_as_the_user_of_the_unit_before_it_is_used(role: str) -> None:
    program, unit = PROGRAMS[role], UNITS[PROGRAMS[role]]
    (user,) = re.findall(r"^User=(.*)$", unit, re.MULTILINE)
    (config,) = re.findall(r"^ExecStart=.* --config (\S+)$", unit, re.MULTILINE)
    (checked,) = [one["argv"] for one in given(role, "command") if one["argv"][0] == "runuser"]
    assert checked == ["runuser", "-u", user, "--", program, "check", "--config", config]
    modules = [module_of(task).rpartition(".")[2] for task in yaml.safe_load(main_of(role))]
    assert modules.index("template") < modules.index("command") < modules.index("systemd_service")


def main_of(role: str) -> str:
    return (ROLES / role / "tasks/main.yml").read_text()


@each
def test_a_drop_in_starts_the_virtual_environments_program_as_the_unit_does(role: str) -> None:
    said = installs(role)
    assert said["cortex_install_program"] == PROGRAMS[role]
    text = (ROLES / "cortex_install/templates/venv.conf.j2").read_text()
    first, second = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert first == "", "a second command is only taken after the first was dropped"
    for name, value in said.items():
        second = second.replace(f"{{{{ {name} }}}}", str(value))
    second = second.replace("{{ cortex_install_program }}", PROGRAMS[role])
    (command,) = re.findall(r"^ExecStart=/usr/bin/(.*)$", UNITS[PROGRAMS[role]], re.MULTILINE)
    assert second == f"/opt/{PROGRAMS[role]}/bin/{command}"


def test_changed_units_are_read_anew_by_systemd() -> None:
    for role in ("cortex_install", "cortex_neuron"):
        found = [task for task in tasks(role) if "daemon_reload" in str(task)]
        (task,) = found
        assert task["ansible.builtin.systemd_service"] == {"daemon_reload": True}
        copied = {one["register"] for one in tasks(role) if "/etc/systemd/system/" in str(one) and "register" in one}
        assert copied == set(re.findall(r"\b(cortex_\w+) is changed", task["when"]))


@each
def test_what_pip_installs_is_this_project_with_extras_that_it_has(role: str) -> None:
    said = installs(role)
    assert said["cortex_install_distribution"] == PROJECT["name"]
    assert set(said["cortex_install_extras"]) <= set(PROJECT["optional-dependencies"])
    assert PROGRAMS[role] in PROJECT["scripts"]


def test_dnf_asks_the_project_that_releases_go_to() -> None:
    (project,) = re.findall(r'^PROJECT = "(.*)"$', (PACKAGING / "ci/copr.py").read_text(), re.MULTILINE)
    assert INSTALL["cortex_install_copr"] == project


@each
def test_the_firewall_is_opened_for_a_service_that_the_package_has(role: str) -> None:
    (opened,) = [one["argv"] for one in given(role, "command") if "firewall-cmd" in str(one["argv"])]
    (service,) = re.findall(r"--add-service=([\w-]+)", opened)
    assert service == PROGRAMS[role]
    assert (PACKAGING / f"rpm/firewalld/{service}.xml").is_file()


@each
def test_it_is_ready_when_it_says_so_itself(role: str) -> None:
    """As the probes of the manifests ask."""
    (asked,) = given(role, "uri")
    (path,) = re.findall(r"^http://127\.0\.0\.1:\{\{ cortex_\w+_port \}\}(/\w+)$", asked["url"])
    workload = (
        PACKAGING / f"kubernetes/{PROGRAMS[role].removeprefix('cortex').lstrip('-') or 'gateway'}.yaml"
    ).read_text()
    assert f"readinessProbe:\n            httpGet:\n              path: {path}\n" in workload


def test_a_gateway_is_replaced_by_the_signal_that_the_package_sends() -> None:
    spec = (PACKAGING / "rpm/cortex.spec").read_text()
    (sent,) = re.findall(r"systemctl (kill .* cortex\.service) \|\| :", spec)
    (command,) = given("cortex_gateway", "command")[-1:]
    assert " ".join(command["argv"]) == f"systemctl {sent}"


def test_where_there_are_two_gateways_one_always_serves() -> None:
    for name in ("site.yml", "upgrade.yml"):
        (play,) = [play for play in yaml.safe_load((PLACE / name).read_text()) if play["hosts"] == "cortex_gateways"]
        assert play["serial"] == 1
