"""The roles write configuration that the programs can load, from an inventory of two hosts; what they name is there."""

import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from tests.arch.source import ROOT

from cortex.gateway.catalogue import read_catalogue
from cortex.gateway.settings import GatewaySettings, load_gateway_settings
from cortex.neuron.settings import NeuronSettings, load_neuron_settings

PLACE = ROOT / "packaging" / "ansible"
ROLES = PLACE / "roles"
CONFIG = ROOT / "packaging" / "rpm" / "config"
INVENTORY: dict[str, Any] = yaml.safe_load((PLACE / "inventory" / "example.yml").read_text())["cortex"]
YAML = sorted(path for pattern in ("*.yml", "*/*.yml", "roles/*/*/*.yml") for path in PLACE.glob(pattern))


def defaults(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    return found


def tasks(role: str) -> list[dict[str, Any]]:
    paths = sorted((ROLES / role).glob("tasks/*.yml")) + sorted((ROLES / role).glob("handlers/*.yml"))
    return [task for path in paths for task in yaml.safe_load(path.read_text())]


def hosts() -> dict[str, dict[str, Any]]:
    """Return the hosts of the example with their variables, those of the group above included."""
    children = INVENTORY["children"].values()
    return {name: INVENTORY["vars"] | (own or {}) for child in children for name, own in child["hosts"].items()}


def rendered(role: str, template: str, **said: object) -> str:
    """Return a template as Ansible writes it, of a role's own defaults and what is said besides."""
    maker = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLES / role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    maker.filters["to_json"] = json.dumps
    known: dict[str, Any] = {"ansible_managed": "Ansible managed", "role_path": ROLES / role} | said
    for name, value in defaults(role).items():
        text = isinstance(value, str) and name not in known
        known.setdefault(name, maker.from_string(value).render(known) if text else value)
    return maker.get_template(template).render(known)


def gateway(folder: Path, **said: object) -> GatewaySettings:
    (folder / "cortex.toml").write_text((CONFIG / "cortex.toml").read_text())
    (folder / "conf.d").mkdir()
    groups = {name: list(child["hosts"]) for name, child in INVENTORY["children"].items()}
    text = rendered("cortex_gateway", "site.toml.j2", playbook_dir=PLACE, groups=groups, **said)
    (folder / "conf.d" / "site.toml").write_text(text)
    return load_gateway_settings(folder / "cortex.toml", {})


def neuron(folder: Path, **said: object) -> NeuronSettings:
    (folder / "neuron.toml").write_text((CONFIG / "neuron.toml").read_text())
    (folder / "neuron.d").mkdir()
    (folder / "neuron.d" / "site.toml").write_text(rendered("cortex_neuron", "site.toml.j2", **said))
    return load_neuron_settings(folder / "neuron.toml", {})


def test_a_gateway_of_the_example_knows_the_neuron_and_its_token(tmp_path: Path) -> None:
    settings = gateway(tmp_path, hostvars=hosts(), **INVENTORY["vars"])
    (entry,) = settings.neurons
    assert (entry.name, entry.endpoint) == ("beast", "http://beast.example.internal:9090")
    assert entry.token_file == str(tmp_path / "gateway-neuron.token")
    assert settings.store.url == "sqlite:////var/lib/cortex/cortex.db"


def test_what_the_inventory_says_is_in_the_gateways_file(tmp_path: Path) -> None:
    beast = {"ansible_host": "192.0.2.7", "cortex_neuron_port": 9190}
    more = '[gateway]\nlisten = "0.0.0.0:8080"\n\n[store]\nurl = "postgresql://db/cortex"'
    settings = gateway(tmp_path, hostvars={"beast.example.internal": beast}, cortex_gateway_settings=more)
    (entry,) = settings.neurons
    assert (entry.name, entry.endpoint) == ("beast.example.internal", "http://192.0.2.7:9190")
    assert entry.token_file is None
    assert (settings.gateway.listen, settings.store.url) == ("0.0.0.0:8080", "postgresql://db/cortex")


def test_a_neuron_of_the_example_asks_for_the_token_and_has_an_engine(tmp_path: Path) -> None:
    settings = neuron(tmp_path, **hosts()["beast.example.internal"])
    assert settings.token_file is not None
    assert Path(settings.token_file).name == "neuron.token"
    assert [harness.name for harness in settings.harnesses] == ["llamacpp"]


def test_what_the_inventory_says_is_in_the_neurons_file(tmp_path: Path) -> None:
    more = 'headroom_mb = 900\n\n[[harnesses]]\nname = "vllm"\nbinary = "/opt/vllm/bin/vllm"'
    settings = neuron(
        tmp_path, cortex_neuron_port=9190, cortex_neuron_model_dirs=["/srv/m"], cortex_neuron_settings=more
    )
    assert (settings.port, settings.headroom_mb, settings.token_file) == (9190, 900, None)
    assert ([str(one) for one in settings.model_dirs], settings.harnesses[0].name) == (["/srv/m"], "vllm")


def test_the_example_catalogue_can_be_read() -> None:
    assert read_catalogue(PLACE / "files" / "models.toml")


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(PLACE)))
def test_a_file_is_yaml_and_no_module_comes_from_a_collection(path: Path) -> None:
    for entry in yaml.safe_load(path.read_text()) if path.parent.name in ("tasks", "handlers") else []:
        modules = [key for key in entry if "." in key]
        assert len(modules) == 1
        assert modules[0].startswith("ansible.builtin.")


@pytest.mark.parametrize("role", ["cortex_install", "cortex_gateway", "cortex_neuron"])
def test_every_default_is_described_and_every_described_variable_is_used(role: str) -> None:
    described = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    options = described["argument_specs"]["main"]["options"]
    assert set(defaults(role)) <= set(options)
    text = "".join(path.read_text() for path in ROLES.glob("*/[th]*/*"))
    text += "".join(path.read_text() for path in ROLES.glob("*/defaults/*"))
    assert [name for name in options if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("role", ["cortex_gateway", "cortex_neuron"])
def test_who_is_notified_is_there(role: str) -> None:
    called = {task["notify"] for task in tasks(role) if "notify" in task}
    handlers = yaml.safe_load((ROLES / role / "handlers" / "main.yml").read_text())
    assert called == {handler["name"] for handler in handlers}


def test_the_units_and_first_files_that_a_virtual_environment_takes_are_there() -> None:
    copied = [task["ansible.builtin.copy"]["src"] for task in tasks("cortex_install") if "ansible.builtin.copy" in task]
    assert sorted(re.sub(r"\{\{ cortex_install_packaging \}\}/", "", src) for src in copied) == [
        "rpm/config/{{ item }}", "systemd/{{ cortex_install_program }}.service",
    ]  # fmt: skip
    for program, names in (("cortex", ("cortex.toml", "models.toml")), ("cortex-neuron", ("neuron.toml",))):
        unit = (ROOT / "packaging" / "systemd" / f"{program}.service").read_text()
        assert all((CONFIG / name).is_file() for name in names)
        (started,) = re.findall(r"^ExecStart=/usr/bin/(.*)$", unit, re.MULTILINE)
        assert started in (f"{program} {command}" for command in started_by_roles())


def started_by_roles() -> set[str]:
    """Return what the roles have the unit start after the program's name: what the packages' unit has."""
    included = [task["vars"] for role in ("cortex_gateway", "cortex_neuron") for task in tasks(role) if "vars" in task]
    return {one["cortex_install_command"] for one in included}


def test_a_fleet_is_upgraded_neurons_first_and_one_by_one() -> None:
    plays = yaml.safe_load((PLACE / "upgrade.yml").read_text())
    assert [play["hosts"] for play in plays] == ["cortex_neurons", "cortex_gateways"]
    assert {(play["serial"], play["max_fail_percentage"]) for play in plays} == {(1, 0)}
    assert {play["vars"]["cortex_install_state"] for play in plays} == {"latest"}


def test_secrets_are_not_logged() -> None:
    secret = [task for role in ("cortex_gateway", "cortex_neuron") for task in tasks(role) if "token" in str(task)]
    written = [task for task in secret if "ansible.builtin.copy" in task]
    assert len(written) == 2
    assert all(task["no_log"] and task["ansible.builtin.copy"]["mode"] == "0640" for task in written)
