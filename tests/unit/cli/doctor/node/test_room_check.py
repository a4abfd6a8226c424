"""What a node has besides devices is looked at below its root: memory, limits, disks, SELinux."""

from pathlib import Path

from tests.unit.cli.doctor.node.test_check import found_in, port
from tests.unit.cli.doctor.test_host import plant
from tests.unit.cli.doctor.test_program import programs

LIMITS = "Max open files            1024                 2048                 files\n"
LOCKED = "Max locked memory         8388608              8388608              bytes\n"


def test_limits_of_memory_and_files_are_those_of_the_kernel(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(root / "proc/meminfo", "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n")
    plant(root / "proc/self/limits", LIMITS + LOCKED)
    plant(root / "proc/self/cgroup", "0::/x\n")
    plant(root / "sys/fs/cgroup/x/memory.max", "1024\n")
    plant(tmp_path / "models/a.gguf", "x" * 2000)
    text = f'{port()}model_dirs = ["models"]\n[[harnesses]]\nname = "llamacpp"\nargs = ["--mlock"]\n'
    found = found_in(tmp_path, text, "memory", "host.files")
    assert {id_: several[0].result for id_, several in found.items()} == {
        "memory.ram": "ok",
        "memory.group": "warn",
        "memory.shared": "skipped",
        "memory.locked": "warn",
        "host.files": "ok",
    }
    assert "a.gguf" in found["memory.group"][0].means


def test_where_state_will_be_is_looked_at_without_making_it(tmp_path: Path) -> None:
    found = found_in(tmp_path, f'{port()}state_dir = "kept"\n', "disk")
    assert [each.result for each in found["disk.state"]][:1] == ["ok"]
    assert found["disk.state"][0].found == f"{tmp_path / 'kept'} will be made"
    assert not (tmp_path / "kept").exists()
    assert not (tmp_path / "hf").exists()


def test_recent_denials_of_our_programs_are_told(tmp_path: Path) -> None:
    plant(tmp_path / "root/sys/fs/selinux/enforce", "1")
    (tmp_path / "bin").mkdir()
    said = "type=AVC comm=llama-server denied\ntype=AVC comm=sshd denied"
    programs(tmp_path / "bin", ausearch=f"echo '{said}'")
    (found,) = found_in(tmp_path, port(), "host.selinux", path=f"{tmp_path}/bin")["host.selinux"]
    assert found.result == "warn"
    assert found.found.startswith("1 recent denials, the last: type=AVC comm=llama-server")
