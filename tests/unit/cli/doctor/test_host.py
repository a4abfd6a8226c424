"""What the host says of itself is read below a root, and what cannot be read is not made up."""

import os
from pathlib import Path

import pytest
from tests.unit.closed_folder import close

from cortex.cli.doctor.host import (
    ASKING,
    FileState,
    Identity,
    by_permission,
    disk_of,
    environment_of,
    file_state,
    filesystem_of,
    first_line,
    group_name,
    home_of,
    identity_of,
    kernel_clock_state,
    limit_of,
    look_into,
    may,
    number_of,
    process_name,
    text_of,
    user_name,
)
from cortex.contract.error import ConfigError
from cortex.kit.settings import find_config

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max locked memory         8388608              unlimited            bytes
Max open files            1024                 65536                files
"""
MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:5 / /srv rw - xfs /dev/sdb rw
23 22 0:6 / /srv/my\\040models rw shared:3 - nfs4 host:/models rw
24 22 0:7 / /srv rw - btrfs /dev/sdc rw
"""
SERVICE = "Name:\tcortex-neuron\nUid:\t900\t990\t990\t990\nGid:\t990\t991\t991\t991\nGroups:\t39 44 \n"


def plant(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_limits_are_those_of_a_process(tmp_path: Path) -> None:
    plant(tmp_path / "proc/42/limits", LIMITS)
    assert limit_of("Max open files", tmp_path, 42) == (1024, 65536)
    assert limit_of("Max locked memory", tmp_path, 42) == (8388608, None)
    assert limit_of("Max open files", tmp_path) is None
    assert limit_of("Max of nothing", tmp_path, 42) is None
    assert limit_of("Max open files") is not None  # of this one


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/etc/x", "ext4"), ("/srv/x", "btrfs"), ("/srv/my models/a.gguf", "nfs4"), ("/srvx", "ext4")],
)
def test_a_path_is_on_the_file_system_mounted_last_and_deepest(tmp_path: Path, path: str, kind: str) -> None:
    plant(tmp_path / "proc/self/mountinfo", MOUNTS)
    assert filesystem_of(Path(path), tmp_path) == kind


def test_without_a_list_of_mounts_the_file_system_is_unknown(tmp_path: Path) -> None:
    assert filesystem_of(Path("/x"), tmp_path) == ""


def test_a_place_that_is_not_there_yet_is_judged_by_the_nearest_that_is(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "a" / "b")
    assert (disk.path, disk.exists) == (tmp_path, False)
    assert 0 < disk.free_bytes <= disk.total_bytes


def test_files_are_known_by_their_mode_and_owner(tmp_path: Path) -> None:
    file = plant(tmp_path / "secret", "x")
    file.chmod(0o640)
    assert file_state(file) == FileState(0o640, os.getuid(), os.getgid(), is_readable=True, is_writable=True)
    assert file_state(tmp_path / "none") is None


def test_numbers_and_texts_that_are_none_are_none(tmp_path: Path) -> None:
    assert number_of(plant(tmp_path / "max", "max\n")) is None
    assert number_of(plant(tmp_path / "one", "4096\n")) == 4096
    assert text_of(tmp_path / "none") is None
    assert first_line("\n  said\nmore") == "said"


def test_who_runs_a_process_is_told_by_its_effective_ids_and_groups(tmp_path: Path) -> None:
    plant(tmp_path / "proc/42/status", SERVICE)
    assert identity_of(42, "nobody-of-that-name", tmp_path) == Identity(
        990, frozenset({991, 39, 44}), user_name(990), "process 42"
    )


def test_without_a_process_and_a_users_entry_it_is_whoever_asks(tmp_path: Path) -> None:
    found = identity_of(0, "nobody-of-that-name", tmp_path)
    assert (found.uid, found.whence) == (os.geteuid(), "whoever runs doctor")
    assert os.getegid() in found.gids


@pytest.mark.parametrize(
    ("identity", "mode", "wanted", "can"),
    [
        (Identity(0, frozenset(), "root", ""), 0o000, 6, True),
        (Identity(5, frozenset(), "owner", ""), 0o600, 6, True),
        (Identity(5, frozenset({7}), "owner", ""), 0o066, 6, False),
        (Identity(6, frozenset({7}), "member", ""), 0o060, 6, True),
        (Identity(6, frozenset({7}), "member", ""), 0o040, 6, False),
        (Identity(6, frozenset(), "other", ""), 0o666, 6, True),
        (Identity(6, frozenset(), "other", ""), 0o660, 4, False),
    ],
    ids=["root", "owner", "owner-only", "group", "group-reads", "all", "none"],
)
def test_mode_bits_are_asked_in_their_order(identity: Identity, mode: int, wanted: int, can: bool) -> None:
    assert may(identity, FileState(mode, 5, 7, is_readable=True), wanted) is can


@pytest.mark.parametrize(
    ("reads", "writes", "wanted", "can"),
    [(True, False, 4, True), (True, False, 6, False), (True, True, 7, True), (False, True, 4, False)],
)
def test_of_whoever_asks_the_kernel_has_told_it(reads: bool, writes: bool, wanted: int, can: bool) -> None:
    me = Identity(6, frozenset(), "me", ASKING)
    assert may(me, FileState(0o000, 5, 7, is_readable=reads, is_writable=writes), wanted) is can


def test_a_file_that_is_there_and_closed_is_told_from_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plant(tmp_path / "closed", "x")
    look_into(file, tmp_path / "none", None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    look_into(tmp_path / "none", None)
    with pytest.raises(PermissionError) as caught:
        look_into(file)
    assert caught.value.filename == str(file)


def test_a_file_that_this_user_may_not_look_for_is_told_as_one_that_another_user_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(monkeypatch, tmp_path / "etc")
    with pytest.raises(PermissionError) as caught:
        look_into(tmp_path / "etc" / "models.toml")
    assert caught.value.filename == str(tmp_path / "etc" / "models.toml")
    places = {"cwd": tmp_path, "home": tmp_path, "etc": tmp_path / "etc"}
    with pytest.raises(PermissionError) as caught, by_permission():
        find_config("cortex.toml", explicit=None, env={}, env_key="CORTEX_CONFIG", **places)
    assert caught.value.filename == str(tmp_path / "etc" / "cortex.toml")
    with pytest.raises(ConfigError, match="no such file"), by_permission():
        find_config("cortex.toml", explicit=tmp_path / "none", env={}, env_key="CORTEX_CONFIG", **places)


def test_a_process_was_started_with_an_environment(tmp_path: Path) -> None:
    plant(tmp_path / "proc/42/environ", "HOME=/var/lib/x\0HF_HOME=/big=disk\0odd\0")
    assert environment_of(42, tmp_path) == {"HOME": "/var/lib/x", "HF_HOME": "/big=disk"}
    assert environment_of(43, tmp_path) is None
    assert home_of("no-such-user") is None
    assert home_of("root") is not None


def test_numbers_without_a_name_are_shown_as_they_are() -> None:
    assert (user_name(4_000_123), group_name(4_000_123)) == ("4000123", "4000123")
    assert (user_name(0), group_name(0)) == ("root", "root")


def test_a_process_is_named_without_its_arguments(tmp_path: Path) -> None:
    plant(tmp_path / "proc/42/comm", "prometheus\n")
    assert process_name(42, tmp_path) == "prometheus"
    assert process_name(43, tmp_path) == "?"


def test_the_kernel_tells_how_its_clock_is() -> None:
    assert kernel_clock_state() in (None, 0, 1, 2, 3, 4, 5)
