"""Every check of a gateway finds something, and what is wrong with a configuration is found by the right one."""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.port import free_port
from tests.unit.cli.doctor.test_neuron_look import neuron

from cortex import __version__
from cortex.cli.doctor.examination import examine, selected
from cortex.cli.doctor.finding import Finding
from cortex.cli.doctor.gateway.check import checks
from cortex.cli.doctor.gateway.look import GatewayLook
from cortex.kit.clock import SystemClock


def found_in(
    folder: Path, text: str | None, *only: str, mode: int = 0o640, env: Mapping[str, str] | None = None
) -> dict[str, list[Finding]]:
    """Return what is found with a configuration, by check."""
    around = {"PATH": "/nowhere", **(env or {})}
    if text is not None:
        (folder / "cortex.toml").write_text(text)
        (folder / "cortex.toml").chmod(mode)

    async def run() -> list[Finding]:
        look = GatewayLook(None, around, folder, folder / "home", SystemClock(), root=folder / "root", deadline_s=120.0)
        try:
            return await examine(selected(checks(look), only, ()), 120.0)
        finally:
            await look.close()

    found: dict[str, list[Finding]] = {}
    for finding in asyncio.run(run()):
        found.setdefault(finding.id, []).append(finding)
    return found


def results(found: dict[str, list[Finding]]) -> dict[str, str]:
    return {id_: findings[0].result for id_, findings in found.items()}


def ports() -> str:
    return f'[gateway]\nlisten = "127.0.0.1:{free_port()}"\nmetrics_listen = "127.0.0.1:{free_port()}"\n'


def test_every_check_has_an_id_of_its_own_and_no_defect(tmp_path: Path) -> None:
    look = GatewayLook(None, {}, tmp_path, tmp_path, SystemClock())
    made = checks(look)
    assert max(Counter(check.id for check in made).values()) == 1
    found = found_in(tmp_path, ports())
    assert list(found) == [check.id for check in made]
    assert not [each for several in found.values() for each in several if "has failed" in each.found]


def test_without_a_file_it_is_said_where_one_was_looked_for(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, None)["config.file"]
    assert found.result == "warn"
    assert "/etc/cortex/cortex.toml" in found.found


def test_what_this_user_may_not_read_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cortex.toml").write_text(ports())
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = found_in(tmp_path, None)
    assert {several[0].result for several in found.values()} <= {"ok", "warn", "skipped"}
    (one,) = found["config.file"]
    assert (one.result, one.found) == ("skipped", f"{tmp_path / 'cortex.toml'} cannot be read by this user")
    assert "run it as root" in one.do


def test_a_configuration_that_cannot_be_used_is_told_once_and_the_host_is_looked_at(tmp_path: Path) -> None:
    found = found_in(tmp_path, '[gateway]\nlisten = "0.0.0.0:8000"\npol_s = 3\n')
    said = results(found)
    assert said.pop("config.file") == "fail"
    assert "did you mean 'poll_s'" in found["config.file"][0].found
    assert "fail" not in said.values()
    assert said["node.name"] == "skipped"


def test_a_healthy_neuron_is_well_in_every_step(tmp_path: Path) -> None:
    with neuron() as endpoint:
        found = found_in(tmp_path, f'{ports()}[[neurons]]\nname = "beast"\nendpoint = "{endpoint}"\n')
    steps = {id_: findings for id_, findings in found.items() if id_.startswith("node.") and id_ != "node.state"}
    assert {id_: findings[0].result for id_, findings in steps.items()} == dict.fromkeys(
        ("node.name", "node.connect", "node.answer", "node.token", "node.version", "node.clock"), "ok"
    )
    assert __version__ in found["node.version"][0].found


def test_a_catalogue_with_faults_is_told_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text('[[models]]\nid = "a"\nharness = "llamacpp"\nvram_mb = -1\n')
    found = found_in(tmp_path, ports())
    assert results(found)["catalogue.file"] == "fail"
    assert "vram_mb" in found["catalogue.file"][0].found
    assert results(found)["catalogue.place"] == "skipped"


def test_files_of_a_store_are_looked_at_and_a_password_is_not_told(tmp_path: Path) -> None:
    found = found_in(tmp_path, f'{ports()}[store]\nurl = "sqlite:///kept/cortex.db"\n')
    assert (found["store.disk"][0].result, found["store.disk"][0].found) == ("ok", f"{tmp_path / 'kept'} will be made")
    assert results(found)["store.reach"] == "ok"
    secret = found_in(tmp_path, f'{ports()}[store]\nurl = "postgresql://me:s3cret@127.0.0.1:1/cortex"\n')
    assert results(secret)["store.reach"] == "fail"
    assert results(secret)["access.key"] == "ok"  # only this host is served
    assert "s3cret" not in str(secret)


def test_a_stores_password_that_systemd_gives_is_not_in_the_configuration(tmp_path: Path) -> None:
    url, given = "postgresql://me:s3cret@127.0.0.1:1/cortex", tmp_path / "given"
    given.mkdir()
    (given / "cortex.store-url").write_text(url)
    said = found_in(tmp_path, f'{ports()}[store]\nurl = "{url}"\n', "config.mode", mode=0o644)
    assert said["config.mode"][0].result == "fail"
    found = found_in(
        tmp_path, ports(), "config.mode", "store.reach", mode=0o644, env={"CREDENTIALS_DIRECTORY": str(given)}
    )
    assert found["config.mode"][0].result != "fail"
    assert found["store.reach"][0].result == "fail", "nobody listens there"


@pytest.mark.parametrize(
    ("more", "id_", "result"),
    [
        ('trusted_networks = ["0.0.0.0/0"]\nlisten = "0.0.0.0:{port}"', "access.key", "fail"),
        ('trusted_proxies = ["0.0.0.0/0"]', "access.proxy", "fail"),
        ('tls_cert = "none.pem"\ntls_key = "none.key"', "tls.pair", "fail"),
        ('tls_cert = "none.pem"\ntls_key = "none.key"', "config.secret", "fail"),
    ],
    ids=["door", "proxy", "certificate", "key"],
)
def test_a_setting_that_is_wrong_is_found_by_its_check(tmp_path: Path, more: str, id_: str, result: str) -> None:
    head = "" if "listen" in more else f'listen = "127.0.0.1:{free_port()}"\n'
    metrics = f'metrics_listen = "127.0.0.1:{free_port()}"\n'
    found = found_in(tmp_path, f"[gateway]\n{head}{metrics}{more.replace('{port}', str(free_port()))}\n")
    assert results(found)[id_] == result
