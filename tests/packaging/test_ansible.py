"""Ansible reads the playbooks; options, variables and filters that tasks use are known; Debian gets what Fedora has."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from tests.arch.source import ROOT
from tests.packaging.upstream import need, run

PLACE = ROOT / "packaging" / "ansible"
ROLES = PLACE / "roles"
ROLE_NAMES = sorted(path.name for path in ROLES.iterdir())
PACKAGING = ROOT / "packaging"

MAGIC = {"ansible_facts", "ansible_managed", "groups", "hostvars", "item", "playbook_dir", "role_path"}
"""What Ansible knows by itself."""
OF_TEMPLATES = {"host", "of"}
"""What templates set themselves."""
OF_THE_INVENTORY = {"ansible_host"}
JINJA = jinja2.Environment()
# Of Ansible's own, those that are used here. Jinja refuses what it does not know.
JINJA.filters["to_json"] = json.dumps
JINJA.tests["changed"] = bool
EXPRESSIONS = ("when", "until", "changed_when", "failed_when", "that")
"""Keys whose value is an expression without braces."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def tasks(role: str) -> list[dict[str, Any]]:
    paths = sorted((ROLES / role).glob("tasks/*.yml")) + sorted((ROLES / role).glob("handlers/*.yml"))
    return [task for path in paths for task in read(path)]


def module_of(task: dict[str, Any]) -> str:
    (name,) = [key for key in task if key.startswith("ansible.builtin.")]
    return name


TASKS = [pytest.param(task, id=f"{role}: {task['name']}") for role in ROLE_NAMES for task in tasks(role)]


@pytest.fixture(scope="module")
def known_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what each module that is used takes, as Ansible documents it."""
    need("ansible-doc")
    names = {module_of(task) for role in ROLE_NAMES for task in tasks(role)}
    told = run("ansible-doc", "-j", *sorted(names), env=environment(tmp_path_factory.mktemp("ansible")))
    return {name: page["doc"].get("options", {}) for name, page in json.loads(told).items()}


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"ANSIBLE_HOME": str(home), "ANSIBLE_LOCAL_TEMP": str(home / "tmp"), "HOME": str(home)}


@pytest.mark.parametrize("playbook", ["site.yml", "upgrade.yml"])
def test_ansible_reads_a_playbook_and_its_roles(playbook: str, tmp_path: Path) -> None:
    need("ansible-playbook")
    argv = ("ansible-playbook", "--syntax-check", "-i", "inventory/example.yml", playbook)
    assert "WARNING" not in run(*argv, env=environment(tmp_path), cwd=PLACE)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_options_that_its_module_takes(task: dict[str, Any], known_options: dict[str, Any]) -> None:
    module = module_of(task)
    options, given = known_options[module], task[module]
    if not isinstance(given, dict):
        assert isinstance(given, str)
        return
    named = {alias: name for name, option in options.items() for alias in (name, *option.get("aliases", []))}
    assert set(given) <= set(named)
    assert {name for name, option in options.items() if option.get("required")} <= {named[key] for key in given}
    for key, value in given.items():
        choices = options[named[key]].get("choices")
        assert not choices or "{{" in str(value) or value in choices, f"{key}: {value}"


def expressions(value: object, key: str = "") -> Iterator[str]:
    """Yield what is an expression of Jinja below a value of a task: bare ones in braces."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from expressions(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner, key)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if key in EXPRESSIONS else value


def known_variables() -> set[str]:
    found = MAGIC | OF_THE_INVENTORY
    for role in ROLE_NAMES:
        found |= set(read(ROLES / role / "defaults/main.yml"))
        found |= set(read(ROLES / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"])
        found |= {task["register"] for task in tasks(role) if "register" in task}
    return found


def unknown(text: str, known: set[str]) -> set[str]:
    """Return the variables of a template that nothing gives a value. Raises: TemplateAssertionError, of a filter."""
    return jinja2.meta.find_undeclared_variables(JINJA.parse(text)) - known


@pytest.mark.parametrize("task", TASKS)
def test_a_task_names_variables_and_filters_that_there_are(task: dict[str, Any]) -> None:
    assert set().union(*(unknown(text, known_variables()) for text in expressions(task))) == set()


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/templates/*")), ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_a_template_names_variables_and_filters_that_there_are(path: Path) -> None:
    assert unknown(path.read_text(), known_variables() | OF_TEMPLATES) == set()


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_default_names_variables_that_there_are(role: str) -> None:
    texts = expressions(read(ROLES / role / "defaults/main.yml"))
    assert set().union(*(unknown(text, known_variables()) for text in texts)) == set()


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_every_file_of_tasks_is_included_and_is_there(role: str) -> None:
    included = {task[key] for task in tasks(role) for key in task if key == "ansible.builtin.include_tasks"}
    there = {path.name for path in (ROLES / role / "tasks").iterdir()} - {"main.yml"}
    assert included == there


def engine_tasks() -> dict[str, dict[str, Any]]:
    return {task["name"]: task for task in read(ROLES / "cortex_neuron/tasks/engine.yml")}


def test_debian_gets_the_units_that_the_neuron_may_start() -> None:
    """Those of the package but the neuron's own, whose socket only those want who know of it."""
    copied = [task for task in engine_tasks().values() if "/systemd/" in str(task.get("ansible.builtin.copy"))]
    (task,) = copied
    units = {path.name for path in (PACKAGING / "systemd").glob("*@.service")}
    assert set(task["loop"]) == units
    assert task["ansible.builtin.copy"]["dest"] == "/etc/systemd/system/{{ item }}"
    rule = (PACKAGING / "polkit/50-cortex-neuron.rules").read_text()
    assert [unit for unit in units if unit.partition("@")[0] not in rule] == []


def test_debian_gets_the_rule_of_polkit_where_polkit_and_doctor_look() -> None:
    (task,) = [task for task in engine_tasks().values() if "/polkit/" in str(task.get("ansible.builtin.copy"))]
    copy = task["ansible.builtin.copy"]
    assert (PACKAGING / copy["src"].rpartition("}}/")[2]).is_file()
    assert copy["dest"] == "/etc/polkit-1/rules.d/50-cortex-neuron.rules"
    assert "polkitd" in str(engine_tasks()["Install what lets the neuron start units"]["ansible.builtin.apt"]["name"])


def test_debian_gets_the_users_that_rpm_makes() -> None:
    text = (PACKAGING / "rpm/sysusers/cortex-neuron.conf").read_text()
    made = dict(re.findall(r'^u (\S+) - "[^"]*" (\S+)$', text, re.MULTILINE))
    (task,) = [task for task in engine_tasks().values() if "ansible.builtin.user" in task]
    user = task["ansible.builtin.user"]
    assert {"cortex-neuron", *task["loop"]} == set(made)
    assert {name: user["home"].replace("{{ item }}", name) for name in task["loop"]}.items() <= made.items()


def test_debian_gets_the_folders_that_the_units_read() -> None:
    (task,) = [task for task in engine_tasks().values() if "ansible.builtin.file" in task]
    units = "".join(path.read_text() for path in (PACKAGING / "systemd").glob("*@.service"))
    read_from = {path.rpartition("/")[0] for path in re.findall(r"^AssertPathExists=(\S+)$", units, re.MULTILINE)}
    assert {one["path"] for one in task["loop"]} == read_from
