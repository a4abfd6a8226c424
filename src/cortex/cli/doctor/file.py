"""Judges files: the configuration, those that hold secrets, directories, and the disks that they are on. Pure."""

import stat
from pathlib import Path

from cortex.cli.doctor.examination import RIGHTS
from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn
from cortex.cli.doctor.host import Disk, FileState, Identity, group_name, may, user_name

NETWORKED = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "9p",
    "afs",
    "lustre",
    "beegfs",
    "glusterfs",
    "gpfs",
    "ocfs2",
)
"""File systems whose locks and shared memory are not those of a disk; one by way of FUSE is ``fuse.<kind>``."""
IN_MEMORY = ("tmpfs", "ramfs")
MIB = 1 << 20
GIB = 1 << 30
LEAST_BYTES = 64 * MIB
"""With less nothing works: not even a log can be written."""


def lacking(said: str, identity: Identity, what: str, do: str, about: str = "") -> Finding:
    """Who runs the daemon lacks a right. Of whoever asks that says nothing: the daemon may run as another user."""
    if identity.is_asking:
        return skipped(f"{said}: this user {what}; another may run the daemon", about, RIGHTS)
    return fail(said, f"{identity.name} ({identity.whence}) {what}", do, about)


def judge_config(path: Path | None, state: FileState | None, identity: Identity, *, holds_secret: bool) -> Finding:
    """Who may read and write the configuration."""
    if path is None or state is None:
        return skipped("there is no configuration file")
    said = f"{path} is {state.mode:04o} {user_name(state.uid)}:{group_name(state.gid)}"
    if state.mode & stat.S_IWOTH:
        return fail(said, "every user of this host can change it", f"chmod o-w {path}")
    if state.uid not in (0, identity.uid):
        means = f"{user_name(state.uid)} can change what {identity.name} runs with"
        return warn(said, means, f"chown root {path}")
    if not may(identity, state, 4):
        do = f"chgrp {identity.name} {path} && chmod 0640 {path}"
        return lacking(said, identity, "cannot read it", do)
    if state.mode & stat.S_IROTH and holds_secret:
        return fail(said, "every user of this host can read the secret in it", f"chmod 0640 {path}")
    if state.mode & stat.S_IROTH and path.is_relative_to("/etc"):
        return warn(said, "every user of this host can read it; packages install it as 0640", f"chmod 0640 {path}")
    return ok(said)


def judge_secret(key: str, path: Path, state: FileState | None, identity: Identity, content: str | None) -> Finding:
    """Whether a file with a secret is there, is only for its daemon, and holds one. ``content`` None: not readable."""
    if state is None:
        return fail(
            f"{path} is not there", f"{key} names it: who needs it will not start, or is refused", _make(path), key
        )
    said = f"{path} is {state.mode:04o} {user_name(state.uid)}:{group_name(state.gid)}"
    if state.mode & (stat.S_IROTH | stat.S_IWOTH):
        means = "every user of this host can use the secret in it"
        return fail(said, means, f"chmod 0640 {path}; then put another secret into it, on both sides", key)
    if not may(identity, state, 4):
        return lacking(said, identity, "cannot read it", f"chown {identity.name} {path} && chmod 0600 {path}", key)
    if content is None:
        return skipped(f"{said}; what is in it cannot be seen by this user", key, "run it as root")
    if not content.strip():
        return fail(f"{path} is empty", "there is no secret in it", _make(path), key)
    return ok(said, key)


def judge_credential(key: str, path: Path, state: FileState | None, content: str | None) -> Finding:
    """Whether there is a secret in a credential of systemd's, which sees to it that only its unit reads the file."""
    if state is None or content is None:
        return skipped(f"{path} is there for its unit alone, while that runs", key, RIGHTS)
    if not content.strip():
        return fail(
            f"{path} is empty", "there is no secret in it", "put one into its source, and restart the unit", key
        )
    return ok(f"{path} comes from systemd", key)


def _make(path: Path) -> str:
    return f"(umask 077; openssl rand -hex 32 > {path}), and the same on the other side"


def judge_directory(key: str, disk: Disk, path: Path, identity: Identity, state: FileState | None) -> Finding:
    """Whether a daemon can write where it has to. ``state``: of ``disk.path``."""
    if not is_writable(disk, state, identity):
        do = f"install -d -o {identity.name} -m 0750 {path}"
        return lacking(f"{disk.path} is not writable", identity, "cannot write there", do, key)
    return ok(f"{path}" if disk.exists else f"{path} will be made", key)


def is_writable(disk: Disk, state: FileState | None, identity: Identity) -> bool:
    """Tell whether somebody may write to ``disk.path``, whose ``state`` is given."""
    return disk.is_writable if identity.is_asking or state is None else may(identity, state, 3)


def judge_space(key: str, disk: Disk, wanted_bytes: int, what: str) -> Finding:
    """Whether there is room. ``what`` needs it; ``wanted_bytes`` is what is comfortable."""
    said = f"{size(disk.free_bytes)} of {size(disk.total_bytes)} free at {disk.path}"
    if disk.free_bytes < min(LEAST_BYTES, wanted_bytes):
        return fail(said, f"{what} cannot be written", f"make room: du -xh {disk.path} | sort -h | tail", key)
    if disk.free_bytes < wanted_bytes:
        return warn(said, f"soon {what} cannot be written", f"make room: du -xh {disk.path} | sort -h | tail", key)
    return ok(said, key)


def is_networked(kind: str) -> bool:
    """Tell whether a kind of file system is one over a network."""
    return kind.removeprefix("fuse.") in NETWORKED or kind == "fuse.sshfs"


def judge_models(folder: Path, state: FileState | None, *, is_folder: bool, identity: Identity) -> Finding:
    """Whether a directory of model files can be read by whoever runs the neuron."""
    key = "model_dirs"
    if state is None or not is_folder:
        said = f"{folder} is no directory" if state is not None else f"{folder} is not there"
        return warn(said, "no model is found in it", f"mkdir -p {folder}, or take it off model_dirs", key)
    if not may(identity, state, 5):
        said = f"{folder} is {state.mode:04o} {user_name(state.uid)}"
        return lacking(said, identity, "cannot read it: no model is found in it", f"chmod o+rx {folder}", key)
    return ok(str(folder), key)


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, words in ((1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB")):
        if count >= unit:
            return f"{count / unit:.4g} {words}"
    return f"{count} B"
