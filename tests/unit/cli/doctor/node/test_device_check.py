"""A node's devices are looked at below its root: a card without a driver, the kernel's log, polkit's rules."""

from pathlib import Path

from tests.unit.cli.doctor.node.test_check import found_in, port
from tests.unit.cli.doctor.node.test_look import plant_gpu
from tests.unit.cli.doctor.test_program import programs

UNIT = '[[harnesses]]\nname = "mistralrs"\nsystemd_unit = "mistralrs.service"\n'


def test_a_card_without_a_driver_is_told_and_nothing_else_of_it_is_made_up(tmp_path: Path) -> None:
    plant_gpu(tmp_path / "root", "0000:01:00.0")
    found = found_in(tmp_path, port(), "gpu")
    assert {id_: several[0].result for id_, several in found.items()}["gpu.driver"] == "fail"
    assert found["gpu.count"][0].result == "fail"
    assert found["gpu.smi"][0].result == "skipped"
    assert found["gpu.xid"][0].found == "journalctl is not installed"


def test_critical_errors_are_read_from_the_kernels_log(tmp_path: Path) -> None:
    plant_gpu(tmp_path / "root", "0000:01:00.0")
    (tmp_path / "bin").mkdir()
    programs(tmp_path / "bin", journalctl="echo 'NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.'")
    (found,) = found_in(tmp_path, port(), "gpu.xid", path=f"{tmp_path}/bin")["gpu.xid"]
    assert (found.result, found.found) == ("fail", "Xid 79 at PCI:0000:01:00, 1 times since boot")


def test_a_log_that_this_user_may_not_read_is_skipped(tmp_path: Path) -> None:
    plant_gpu(tmp_path / "root", "0000:01:00.0")
    (tmp_path / "bin").mkdir()
    programs(tmp_path / "bin", journalctl="echo 'Hint: you are not seeing messages from the system' >&2")
    (found,) = found_in(tmp_path, port(), "gpu.xid", path=f"{tmp_path}/bin")["gpu.xid"]
    assert found.result == "skipped"
    assert "systemd-journal" in found.do


def test_a_unit_of_a_harness_is_asked_of_systemd_and_of_the_rules(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    show = "LoadState=loaded\\nActiveState=active\\nSubState=running\\nResult=success\\nMainPID=7\\nEnvironment="
    programs(tmp_path / "bin", systemctl=f'[ "$1" = show ] && printf "{show}\\n" || echo degraded')
    found = found_in(tmp_path, port() + UNIT, "systemd", path=f"{tmp_path}/bin:/usr/bin:/bin")
    assert found["systemd.reach"][0].found == "systemd is degraded"
    assert found["systemd.unit"][0].found == "mistralrs.service is active"
    assert found["systemd.polkit"][0].result in ("ok", "fail")  # root needs no rule, and nobody else has one here
