"""Ports and files of a local fleet: the daemons' own loaders must read what is written."""

import os
import socket
import tomllib
from pathlib import Path

import pytest
from tests.port import free_port

from cortex.cli.serve import load
from cortex.cli.up.model import LocalModel
from cortex.cli.up.plan import Plan, Wish, environment, make_plan, write_files
from cortex.contract.error import ConfigError
from cortex.neuron.settings import load_neuron_settings

MODEL = LocalModel(id="a/b", source='/models/a "quoted"\\ é \x7f.gguf')


def planned(tmp_path: Path, wish: Wish | None = None) -> Plan:
    plan = make_plan(wish or Wish(port=free_port()), MODEL, tmp_path)
    write_files(plan)
    return plan


def test_both_daemons_load_what_was_written(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    gateway = load(plan.gateway_config, {}, tmp_path, tmp_path)
    neuron = load_neuron_settings(plan.neuron_config, {})
    assert gateway.settings.gateway.listen == f"127.0.0.1:{plan.port}"
    assert [entry.endpoint for entry in gateway.settings.neurons] == [f"http://127.0.0.1:{neuron.port}"]
    assert [(profile.id, profile.source) for profile in gateway.profiles] == [("a/b", MODEL.source)]
    assert (neuron.host, neuron.keep_engines, neuron.harnesses[0].kind) == ("127.0.0.1", False, "llamacpp")
    assert neuron.state_dir is not None
    assert Path(neuron.state_dir).is_relative_to(tmp_path)


def test_ports_that_were_not_asked_for_are_free_and_different(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    ports = {plan.port, plan.neuron_port, plan.metrics_port}
    assert len(ports) == 3
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_zero_is_any_free_port_however_often_it_is_said(tmp_path: Path) -> None:
    plan = planned(tmp_path, Wish(port=0, neuron_port=0, metrics_port=0, engine_port=0))
    assert load(plan.gateway_config, {}, tmp_path, tmp_path).settings.gateway.listen == f"127.0.0.1:{plan.port}"
    assert len({plan.port, plan.neuron_port, plan.metrics_port} - {0}) == 3
    assert plan.engine_port is None


def test_ports_that_were_asked_for_are_taken(tmp_path: Path) -> None:
    wish = Wish(port=free_port(), neuron_port=free_port(), metrics_port=free_port(), engine_port=free_port())
    plan = planned(tmp_path, wish)
    assert (plan.neuron_port, plan.metrics_port) == (wish.neuron_port, wish.metrics_port)
    entry = load_neuron_settings(plan.neuron_config, {}).harnesses[0]
    assert entry.port_range == (wish.engine_port, wish.engine_port)


def test_a_port_can_be_asked_for_once(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(ConfigError) as caught:
        make_plan(Wish(port=port, engine_port=port), MODEL, tmp_path)
    assert caught.value.message == f"--engine-port {port}: that is --port already; choose another port"


@pytest.mark.parametrize("option", ["--port", "--neuron-port", "--metrics-port", "--engine-port"])
def test_a_busy_port_names_its_occupant_and_another_port(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        busy = listener.getsockname()[1]
        ports = {"port": free_port(), option[2:].replace("-", "_"): busy}
        with pytest.raises(ConfigError) as caught:
            make_plan(Wish(**ports), MODEL, tmp_path)
    said = caught.value.message
    assert said.startswith(f"port {busy} on 127.0.0.1 is in use by process {os.getpid()} (")
    assert f"choose another port, for example with {option} " in said
    suggested = int(said.rpartition(" ")[2])
    socket.create_server(("127.0.0.1", suggested)).close()


def test_variables_that_would_undo_the_plan_are_kept_from_the_daemons(tmp_path: Path) -> None:
    kept = {"PATH": "/bin", "CORTEX_GATEWAY__LOG_LEVEL": "debug", "CORTEX_NEURON_HEADROOM_MB": "1", "HF_TOKEN": "t"}
    undoing = {
        "CORTEX_GATEWAY__LISTEN": "0.0.0.0:80",
        "CORTEX_GATEWAY__MODELS": "/etc/cortex/models.toml",
        "CORTEX_GATEWAY": "{}",
        "CORTEX_NEURONS": "[]",
        "CORTEX_NEURON_PORT": "9090",
        "CORTEX_NEURON_KEEP_ENGINES": "true",
        "CORTEX_NEURON_HARNESSES": "[]",
    }
    assert environment(planned(tmp_path), kept | undoing) == kept
    others = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1"}
    assert environment(planned(tmp_path), kept | others) == kept


def test_the_files_are_toml_to_every_reader(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    for path in (plan.gateway_config, plan.neuron_config, tmp_path / "models.toml"):
        assert tomllib.loads(path.read_text())


@pytest.mark.parametrize(("is_there", "store"), [(True, {"url": "sqlite:///cortex.db"}), (False, None)])
def test_keys_and_usage_are_kept_for_the_run_where_a_store_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool, store: object
) -> None:
    monkeypatch.setattr("cortex.cli.up.plan.has_store", lambda: is_there)
    assert tomllib.loads(planned(tmp_path).gateway_config.read_text()).get("store") == store
