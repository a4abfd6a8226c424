"""Files are judged by who may read and write them, disks by their room and their kind."""

from pathlib import Path

import pytest

from cortex.cli.doctor.file import (
    GIB,
    MIB,
    is_networked,
    judge_config,
    judge_directory,
    judge_models,
    judge_secret,
    judge_space,
    size,
)
from cortex.cli.doctor.host import ASKING, Disk, FileState, Identity

DAEMON = Identity(990, frozenset({990}), "cortex", "the service's user")
ETC, HOME = Path("/etc/cortex/cortex.toml"), Path("/home/me/cortex.toml")


def state(mode: int, uid: int = 0, gid: int = 990) -> FileState:
    return FileState(mode, uid, gid, is_readable=True)


@pytest.mark.parametrize(
    ("path", "seen", "holds_secret", "result", "do"),
    [
        (ETC, state(0o640), True, "ok", ""),
        (HOME, state(0o644), False, "ok", ""),
        (ETC, state(0o644), False, "warn", "chmod 0640 /etc/cortex/cortex.toml"),
        (HOME, state(0o644), True, "fail", "chmod 0640"),
        (ETC, state(0o646), False, "fail", "chmod o-w"),
        (ETC, state(0o640, uid=1000), False, "warn", "chown root"),
        (ETC, state(0o600), False, "fail", "chmod 0640"),
        (ETC, state(0o640, gid=5), False, "fail", "chgrp"),
        (None, None, False, "skipped", ""),
    ],
    ids=["packaged", "own", "open", "secret", "writable", "another's", "closed", "group", "none"],
)
def test_the_configuration_is_for_root_and_its_daemon(
    path: Path | None, seen: FileState | None, holds_secret: bool, result: str, do: str
) -> None:
    found = judge_config(path, seen, DAEMON, holds_secret=holds_secret)
    assert found.result == result
    assert do in found.do


@pytest.mark.parametrize(
    ("seen", "content", "result", "do"),
    [
        (state(0o640), "s3cret\n", "ok", ""),
        (None, None, "fail", "openssl rand"),
        (state(0o644), "s3cret", "fail", "chmod 0640"),
        (state(0o600), "s3cret", "fail", "chown cortex"),
        (state(0o640), None, "skipped", "root"),
        (state(0o640), " \n", "fail", "openssl rand"),
    ],
    ids=["well", "missing", "open", "closed", "hidden", "empty"],
)
def test_a_secret_is_there_and_for_its_daemon_alone(
    seen: FileState | None, content: str | None, result: str, do: str
) -> None:
    found = judge_secret("token_file", Path("/etc/cortex/token"), seen, DAEMON, content)
    assert (found.result, found.about) == (result, "token_file")
    assert do in found.do
    assert "s3cret" not in str(found)


def disk(free: int = 100 * GIB, *, writable: bool = True, exists: bool = True) -> Disk:
    return Disk(Path("/var/lib"), exists, writable, "xfs", 200 * GIB, free)


@pytest.mark.parametrize(
    ("free", "result"), [(2 * GIB, "ok"), (500 * MIB, "warn"), (MIB, "fail")], ids=["room", "little", "none"]
)
def test_room_is_told_before_it_is_gone(free: int, result: str) -> None:
    found = judge_space("state_dir", disk(free), GIB, "records")
    assert found.result == result
    assert "free at /var/lib" in found.found


def test_a_directory_is_judged_by_the_rights_of_who_writes_there() -> None:
    path = Path("/var/lib/cortex")
    assert judge_directory("state_dir", disk(writable=False), path, DAEMON, state(0o770)).result == "ok"
    closed = judge_directory("state_dir", disk(), path, DAEMON, state(0o755))
    assert closed.result == "fail"
    assert closed.do == "install -d -o cortex -m 0750 /var/lib/cortex"
    me = DAEMON._replace(whence=ASKING)
    assert judge_directory("state_dir", disk(), path, me, state(0o000)).result == "ok"
    assert judge_directory("state_dir", disk(writable=False), path, me, state(0o777)).result == "skipped"


def test_what_whoever_asks_may_not_do_says_nothing_of_the_daemon() -> None:
    me, closed = DAEMON._replace(whence=ASKING), FileState(0o600, 1, 1, is_readable=False)
    found = [
        judge_config(HOME, closed._replace(uid=0), me, holds_secret=False),
        judge_secret("token_file", Path("/etc/cortex/token"), closed, me, None),
        judge_models(Path("/srv/models"), closed, is_folder=True, identity=me),
    ]
    assert {(each.result, "another may run the daemon" in each.found) for each in found} == {("skipped", True)}


@pytest.mark.parametrize(
    ("seen", "is_folder", "result"),
    [
        (state(0o755), True, "ok"),
        (None, False, "warn"),
        (state(0o644), False, "warn"),
        (state(0o700), True, "fail"),
    ],
    ids=["readable", "missing", "file", "closed"],
)
def test_a_directory_of_models_can_be_read(seen: FileState | None, is_folder: bool, result: str) -> None:
    assert judge_models(Path("/srv/models"), seen, is_folder=is_folder, identity=DAEMON).result == result


@pytest.mark.parametrize(
    ("kind", "is_one"), [("nfs4", True), ("fuse.sshfs", True), ("fuse.glusterfs", True), ("xfs", False), ("", False)]
)
def test_file_systems_over_a_network_are_known(kind: str, is_one: bool) -> None:
    assert is_networked(kind) is is_one


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (512, 3 * MIB, GIB + GIB // 2, 2 << 40)] == ["512 B", "3 MiB", "1.5 GiB", "2 TiB"]
