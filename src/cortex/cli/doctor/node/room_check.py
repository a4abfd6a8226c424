"""The checks of what a node has besides devices: disks, memory, limits, its clock, SELinux."""

from collections.abc import Iterable
from pathlib import Path

from cortex.cli.doctor import file, limit
from cortex.cli.doctor.examination import Check, in_thread
from cortex.cli.doctor.finding import Finding, Skip, ok
from cortex.cli.doctor.host import disk_of, file_state, kernel_clock_state, limit_of, number_of
from cortex.cli.doctor.node import engine, memory
from cortex.cli.doctor.node.look import NodeLook, group_limit_of, label_of, programs_of
from cortex.neuron.host_memory import ram_mb

STREAMS = 500
"""So many through the neuron's own port are a lot."""
SPREADING = ("vllm", "sglang")
"""Kinds whose engines run a process per GPU, which talk through shared memory."""
OURS = ("cortex-neuron", "llama-server", "mistralrs")
"""Programs whose denials are told."""


def of_disks(look: NodeLook) -> Iterable[Check]:
    async def state() -> list[Finding]:
        path, identity = await look.state_path(), await look.identity()
        disk = await in_thread(disk_of, path, look.root)
        mode = await in_thread(file_state, disk.path)
        return [
            file.judge_directory("state_dir", disk, path, identity, mode),
            file.judge_space("state_dir", disk, memory.STATE_BYTES, "records and logs of engines"),
            memory.judge_state_place(disk, path),
        ]

    async def models() -> list[Finding]:
        identity = await look.identity()
        folders = [Path(folder) for folder in (await look.configured()).settings.model_dirs]

        def one(folder: Path) -> Finding:
            return file.judge_models(folder, file_state(folder), is_folder=folder.is_dir(), identity=identity)

        found = [await in_thread(one, folder) for folder in folders]
        return found or [ok("no model_dirs: models are named by their path, or fetched")]

    async def cache() -> Finding:
        env, home = await look.surroundings()
        top = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface")
        path, identity = Path(env.get("HF_HUB_CACHE") or Path(top) / "hub"), await look.identity()
        disk = await in_thread(disk_of, path, look.root)
        state = await in_thread(file_state, disk.path)
        return memory.judge_cache(disk, path, is_writable=file.is_writable(disk, state, identity))

    return Check("disk.state", state), Check("disk.model", models), Check("disk.cache", cache)


def of_memory(look: NodeLook) -> Iterable[Check]:
    def ram_bytes() -> int | None:
        total_mb = ram_mb(look.root)[0]
        return None if total_mb is None else total_mb * file.MIB

    async def ram() -> Finding:
        return memory.judge_ram(await in_thread(ram_bytes), await look.largest())

    async def group() -> Finding:
        pid = await look.pid()
        limit_bytes = await in_thread(group_limit_of, pid, look.root)
        return memory.judge_group(limit_bytes, await in_thread(ram_bytes), await look.largest())

    async def shared() -> Finding:
        entries = (await look.configured()).settings.harnesses
        spread_by = next((entry.name for entry in entries if entry.kind in SPREADING), "")
        place = look.root / "dev/shm"
        size = await in_thread(lambda: disk_of(place, look.root).total_bytes if place.is_dir() else None)
        return limit.judge_shared_memory(size, spread_by)

    async def locked() -> Finding:
        entries = (await look.configured()).settings.harnesses
        wishing = next((entry.name for entry in entries if "--mlock" in entry.args), "")
        return limit.judge_locked(await _limit(look, "Max locked memory"), wishing)

    return (
        Check("memory.ram", ram),
        Check("memory.group", group),
        Check("memory.shared", shared),
        Check("memory.locked", locked),
    )


async def _limit(look: NodeLook, name: str) -> limit.Limit | None:
    """Return a limit of the neuron that runs, where it may be seen, else of this process."""
    pid = await look.pid() or None
    return limit_of(name, look.root, pid) or limit_of(name, look.root)


def of_host(look: NodeLook) -> Iterable[Check]:
    async def files() -> Finding:
        return limit.judge_files(await _limit(look, "Max open files"), STREAMS, "cortex-neuron")

    async def clock() -> Finding:
        return limit.judge_clock(kernel_clock_state())

    async def selinux() -> list[Finding]:
        enforcing = number_of(look.root / "sys/fs/selinux/enforce")
        settings = (await look.configured()).settings
        labels = [(str(program), label_of(program)) for program in programs_of(settings, look.env)]
        denials = await _denials(look) if enforcing is not None else []
        return list(engine.judge_selinux(enforcing, labels, denials))

    return Check("host.files", files), Check("host.clock", clock), Check("host.selinux", selinux)


async def _denials(look: NodeLook) -> list[str]:
    """Return recent denials of programs of ours; none where this user may not see them."""
    try:
        said = await look.programs.run("ausearch", "-m", "AVC", "-ts", "recent", "-i")
    except Skip:
        return []
    return [line for line in said.out.splitlines() if any(f"comm={name}" in line for name in OURS)]
