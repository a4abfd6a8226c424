"""Judges what the kernel lets a daemon have: descriptors, waiting connections, locked and shared memory. Pure."""

from cortex.cli.doctor.finding import Finding, fail, ok, skipped, warn

Limit = tuple[int | None, int | None]
"""Soft and hard; None: no limit."""

FILES_PER_STREAM = 2
"""A client's connection, and one to an engine."""
BACKLOG = 2048
LEAST_SHM_BYTES = 1 << 30


def judge_files(limit: Limit | None, streams: int, unit: str) -> Finding:
    """Whether there are descriptors for so many streams at once; a daemon raises its soft limit to the hard one."""
    if limit is None:
        return skipped("the limit of open files cannot be read")
    hard = limit[1]
    wanted = streams * FILES_PER_STREAM
    if hard is None or hard >= wanted:
        return ok(f"{'no limit' if hard is None else hard} open files")
    means = f"enough for some {max(0, hard) // FILES_PER_STREAM} streams at once; more clients are not let in"
    do = f"systemctl edit {unit}: [Service] LimitNOFILE={max(65536, wanted)}"
    return warn(f"{hard} open files at most", means, do)


def judge_backlog(somaxconn: int | None) -> Finding:
    """Whether as many connections may wait to be accepted as a daemon asks for."""
    if somaxconn is None:
        return skipped("net.core.somaxconn cannot be read")
    if somaxconn >= BACKLOG:
        return ok(f"net.core.somaxconn is {somaxconn}")
    means = f"of a burst of connections more than {somaxconn} at a moment are dropped, and tried again a second later"
    return warn(f"net.core.somaxconn is {somaxconn}", means, f"sysctl -w net.core.somaxconn={BACKLOG * 2}")


def judge_locked(limit: Limit | None, mlock_by: str) -> Finding:
    """Whether an engine that is told to lock its model in RAM (``mlock_by``: the harness that says so) may."""
    if limit is None:
        return skipped("the limit of locked memory cannot be read")
    hard = limit[1]
    said = "no limit on locked memory" if hard is None else f"{hard >> 20} MiB of locked memory"
    if not mlock_by or hard is None or hard >= 1 << 34:
        return ok(said)
    means = f"harness {mlock_by} has --mlock in its args, and a model does not fit into that"
    return warn(said, means, "systemctl edit cortex-neuron: [Service] LimitMEMLOCK=infinity")


def judge_shared_memory(size_bytes: int | None, spread_by: str) -> Finding:
    """Whether /dev/shm holds what the processes of one engine on several GPUs (``spread_by``) tell each other."""
    if size_bytes is None:
        return skipped("there is no /dev/shm")
    said = f"/dev/shm has {size_bytes >> 20} MiB"
    if not spread_by or size_bytes >= LEAST_SHM_BYTES:
        return ok(said)
    means = f"engines of harness {spread_by} on several GPUs need more, and die with SIGBUS or NCCL errors"
    return warn(said, means, "mount -o remount,size=8G /dev/shm; of a container: --shm-size=8g, or --ipc=host")


def judge_loop(name: str, *, is_installed: bool) -> Finding:
    """Which event loop ``[gateway] event_loop`` gives."""
    if is_installed or name == "asyncio":
        return ok("asyncio, as configured" if name == "asyncio" else "uvloop")
    if name == "uvloop":
        return fail("event_loop is uvloop, which is not installed", "the gateway does not start", "pip install uvloop")
    return ok("asyncio: uvloop is not installed (optional, and faster: pip install uvloop)")


def judge_clock(state: int | None) -> Finding:
    """Whether something keeps the clock right; ``state`` as adjtimex(2) tells it."""
    if state is None:
        return skipped("the kernel does not tell whether its clock is synchronised")
    if state != 5:
        return ok("the clock is kept right")
    means = "usage, logs and the ends of keys are dated by it; TLS fails where it is far off"
    return warn("nothing keeps the clock right", means, "timedatectl set-ntp true, or systemctl enable --now chronyd")


def judge_skew(difference_s: float, other: str, tolerance_s: float) -> Finding:
    """How far another's clock is off; ``difference_s`` is theirs less ours, ``tolerance_s`` what asking cost."""
    off_s = abs(difference_s)
    if off_s <= 5 + tolerance_s:
        return ok("the clocks agree", other)
    said = f"its clock is {off_s:.0f} s {'ahead of' if difference_s > 0 else 'behind'} this one"
    means = "logs and usage of the two do not fit together; nothing else of cortex goes by it"
    return warn(said, means, "timedatectl, on both: one of them is not synchronised", other)
