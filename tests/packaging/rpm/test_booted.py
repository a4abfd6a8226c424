"""What a running systemd makes of the packages' units: engines outlive a neuron and end in time, secrets reach daemons.

Each test boots a machine of its own (``machine.py``), where that can be had.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.arch.source import ROOT
from tests.packaging.rpm.conftest import Built
from tests.packaging.rpm.machine import play

PAGE = ROOT / "docs" / "operations" / "install.md"


def test_an_engine_of_its_own_compiles_and_sees_nothing_of_the_neurons(installed: Path, tmp_path: Path) -> None:
    found = play("engine", installed, tmp_path)
    assert (found["state"], found["owner"]) == ("active", "cortex-engine")
    assert found["where"] == "/var/lib/cortex-engine/art"
    assert "['-c', 'two words', '--port', '8188'] /srv/hub\n[False, False]\n" in found["said"]
    assert found["files"] == "/etc/cortex/engine/art.env (ignore_errors=no)"


def test_an_engine_without_a_command_says_so_where_it_is_looked_for(installed: Path, tmp_path: Path) -> None:
    found = play("engine", installed, tmp_path)
    assert "ENGINE_COMMAND= is missing in /etc/cortex/engine/mute.env" in found["said"]
    assert "Assertion failed" in found["undescribed"]


def test_secrets_reach_a_daemon_by_name_and_it_starts_without_them(installed: Path, tmp_path: Path) -> None:
    found = play("secret", installed, tmp_path)
    assert found["bare"] == ["active", ["cortex.db"]], found["said"]
    assert "store: sqlite:////var/lib/cortex/plain.db" in found["before"], "whoever checks sees what the unit will have"
    assert found["plain"] == ["active", True], found["said"]
    assert found["sealed"] == ["active", True], found["said"]
    assert "store: sqlite:////var/lib/cortex/sealed.db" in found["during"]


@pytest.mark.parametrize("daemon", ["cortex", "cortex-neuron"])
def test_the_page_on_installing_is_right_on_a_host_where_nothing_was_started_yet(
    daemon: str, installed: Path, tmp_path: Path
) -> None:
    """A unit's folders, its state among them, are made by its first start."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if f"sudo systemctl enable --now {daemon}\n" in block]
    (tmp_path / "commands").write_text(json.dumps(block.splitlines()))
    found = play("page", installed, tmp_path)
    wrong = [
        (command, code, said)
        for command, code, said in found["said"]
        if code and not (command.endswith("doctor") or (command == "cortex status" and said.startswith("fleet: ")))
    ]
    assert wrong == [], found["log"]
    assert [command for command, _, _ in found["said"]] == block.splitlines()


@pytest.fixture(scope="module")
def survived(built: Built, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("survive")
    (folder / "preun").write_text(built.now["cortex-neuron"].ask("--qf", "%{PREUN}"))
    return play("survive", installed, folder)


def test_a_neuron_with_a_secret_of_its_units_asks_for_it_and_tells_its_engines_nothing(survived: Any) -> None:
    assert survived["stranger"] == 401
    assert survived["order"][0] == 200, survived["said"]
    assert not survived["is_told"]


def test_an_engine_goes_on_when_its_neuron_is_restarted_or_stopped(survived: Any) -> None:
    (engine,) = survived["engines"]
    first, second = survived["main"]
    assert first != second
    assert survived["restarted"] == [engine]
    assert [survived[when]["generation"] for when in ("before", "after")] == [1, 1]
    assert survived["stopped"] == ["inactive", [engine]]


def test_what_is_left_of_a_stopped_neuron_ends_by_its_units_name(survived: Any) -> None:
    assert "/cortex-neuron.service\n" in survived["group"]
    assert survived["killed"]
    assert survived["again"] == [], "the next neuron knows that it is gone"


def test_engines_outlive_an_upgrade_and_end_when_the_package_is_removed(survived: Any) -> None:
    (engine,) = survived["removed_from"]
    assert survived["enabled"]
    assert survived["upgraded"] == ["", [engine]]
    assert survived["removed"] == ["", True]
    assert survived["units"] == ["inactive", "inactive"]
    assert not survived["still_enabled"]
