"""Every check of a node finds something, and what is wrong with one is found by the right one."""

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.port import free_port
from tests.unit.cli.doctor.test_neuron_look import WELL, neuron

from cortex.cli.doctor.examination import Check, examine, selected
from cortex.cli.doctor.finding import Finding
from cortex.cli.doctor.node.check import checks
from cortex.cli.doctor.node.look import NodeLook
from cortex.kit.clock import SystemClock


def found_in(
    folder: Path, text: str | None, *only: str, path: str = "/nowhere", env: Mapping[str, str] | None = None
) -> dict[str, list[Finding]]:
    """Return what is found with a configuration, by check."""
    if text is not None:
        (folder / "neuron.toml").write_text(text)
        (folder / "neuron.toml").chmod(0o640)

    async def run() -> list[Finding]:
        return await examine(selected(made(folder, path, env), only, ()), 120.0)

    found: dict[str, list[Finding]] = {}
    for finding in asyncio.run(run()):
        found.setdefault(finding.id, []).append(finding)
    return found


def made(folder: Path, path: str = "/nowhere", env: Mapping[str, str] | None = None) -> tuple[Check, ...]:
    around = {"PATH": path, "XDG_STATE_HOME": str(folder / "state"), "HF_HOME": str(folder / "hf"), **(env or {})}
    return checks(
        NodeLook(None, around, folder, folder / "home", SystemClock(), root=folder / "root", deadline_s=120.0)
    )


def port() -> str:
    return f'host = "127.0.0.1"\nport = {free_port()}\n'


def test_every_check_has_an_id_of_its_own_and_no_defect(tmp_path: Path) -> None:
    ids = [check.id for check in made(tmp_path)]
    assert max(Counter(ids).values()) == 1
    found = found_in(tmp_path, f'{port()}[[harnesses]]\nname = "openai"\nendpoint = "http://127.0.0.1:9"\n')
    assert list(found) == ids
    assert not [each for several in found.values() for each in several if "has failed" in each.found]


def test_without_a_file_it_is_said_where_one_was_looked_for(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, None, "config.file")["config.file"]
    assert found.result == "warn"
    assert "/etc/cortex/neuron.toml" in found.found


def test_a_configuration_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    found = found_in(tmp_path, "prt = 3\n")
    assert {id_ for id_, several in found.items() if several[0].result == "fail"} == {"config.file"}
    assert "did you mean 'port'" in found["config.file"][0].found


@pytest.mark.parametrize(
    ("text", "id_", "result", "words"),
    [
        ('token_file = "none"\n', "config.secret", "fail", "is not there"),
        ('trusted_networks = ["0.0.0.0/0"]\n', "access.key", "ok", "only this host"),
        ('tls_cert = "none.pem"\ntls_key = "none.key"\n', "tls.pair", "fail", "none.pem"),
        ('model_dirs = ["none"]\n', "disk.model", "warn", "is not there"),
        ('advertise_host = "no.such.host.invalid"\n', "port.advertise", "warn", "no.such.host.invalid"),
        ("", "engine.usable", "fail", "there are no harnesses"),
        ('[[harnesses]]\nname = "mistralrs"\nsystemd_unit = "a.service"\n', "systemd.reach", "fail", "systemd is"),
        ('[[harnesses]]\nname = "mistralrs"\nsystemd_unit = "a.service"\n', "systemd.unit", "skipped", "a.service"),
    ],
    ids=["token", "door", "certificate", "models", "advertised", "harness", "systemd", "unit"],
)  # fmt: skip
def test_a_setting_that_is_wrong_is_found_by_its_check(
    tmp_path: Path, text: str, id_: str, result: str, words: str
) -> None:
    (found,) = found_in(tmp_path, port() + text, id_)[id_]
    assert found.result == result
    assert words in found.found


def test_a_credential_of_the_environment_counts(tmp_path: Path) -> None:
    with_token = {"CORTEX_FLEET_TOKEN": "s3cret"}
    open_door = f'host = "0.0.0.0"\nport = {free_port()}\ntrusted_networks = ["0.0.0.0/0"]\n'
    assert found_in(tmp_path, open_door, "access.key")["access.key"][0].result == "fail"
    (found,) = found_in(tmp_path, open_door, "access.key", env=with_token)["access.key"]
    assert (found.result, "credential" in found.found) == ("ok", True)


def test_a_credential_of_the_unit_counts_before_and_while_it_runs(tmp_path: Path) -> None:
    etc = tmp_path / "root/etc"
    (etc / "cortex").mkdir(parents=True)
    (etc / "cortex/neuron.toml").write_text(f'port = {free_port()}\ntrusted_networks = ["0.0.0.0/0"]\n')
    assert found_in(tmp_path, None, "access.key")["access.key"][0].result == "fail"
    (etc / "credstore").mkdir()
    (etc / "credstore/cortex.fleet-token").write_text("s3cret")
    assert found_in(tmp_path, None, "access.key")["access.key"][0].result == "ok"
    (secret,) = found_in(tmp_path, None, "config.secret")["config.secret"]
    assert (secret.result, secret.about) == ("ok", "cortex.fleet-token")


def test_a_neuron_that_runs_has_its_port(tmp_path: Path) -> None:
    with neuron({**WELL, "/readyz": (200, {"status": "ready"})}) as endpoint:
        text = f'host = "127.0.0.1"\nport = {endpoint.rsplit(":", 1)[1]}\n'
        found = found_in(tmp_path, text, "port")
    assert found["port.ready"][0].result == "ok"
    assert found["port.api"][0].found.startswith("cortex-neuron 0.1.0 runs on")


def test_ports_of_engines_that_somebody_has_are_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        number = taken.getsockname()[1]
        text = f'[[harnesses]]\nname = "llamacpp"\nport_range = [{number}, {number}]\n'
        (found,) = found_in(tmp_path, port() + text, "port.engine")["port.engine"]
    assert (found.result, found.about) == ("warn", "llamacpp")
    assert f"{number} is held by " in found.found
