"""Two programs of a GPU host whose memory is figures in files: ``nvidia-smi``, and a ``llama-server`` for such GPUs.

``gpu_program.py NAME FOLDER argv…``. The engine is the real embedded one. Before it starts, it takes what the file
beside its model (``<model>.mb``) says, evenly from the GPUs that it may see, and ends as CUDA would make it where there
is not enough. It imports nothing of what it plays a part for: ``board.py`` is its other end.
"""

import json
import os
import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path

STEADY = {"utilization.gpu": 10, "temperature.gpu": 45, "power.draw": "80.50", "power.limit": "320.00"}
"""What is always the same."""
FIELDS = ("uuid", "name", "driver_version", "compute_cap", "memory.total", "memory.used", "memory.free", *STEADY)
FLAGS = "--api-prefix --metrics --alias --offline --kv-unified --cache-ram"


def main(name: str, folder: Path, argv: list[str]) -> int:
    """Be one of the two programs; return the exit code."""
    return {"nvidia-smi": nvidia_smi, "llama-server": llama_server}[name](folder, argv)


def nvidia_smi(folder: Path, argv: list[str]) -> int:
    """Answer one of the four calls that a neuron makes."""
    call, _, wanted = (argv[0] if argv else "").partition("=")
    if call == "--help-query-gpu":
        print("\n".join(f'"{field}"' for field in FIELDS))
    elif call == "--query-gpu":
        print(wanted)
        for row in gpus(folder):
            print(", ".join(str(row.get(field, "[N/A]")) for field in wanted.split(",")))
    elif call == "--query-compute-apps":
        print("gpu_uuid, pid, used_gpu_memory [MiB]")
        for pid, held_mb in engines(folder):
            for uuid, mb in held_mb.items():
                print(f"{uuid}, {pid}, {mb}")
    else:
        print("| NVIDIA-SMI 595.71.05    Driver Version: 595.71.05    CUDA Version: 13.1     |")
    return 0


def gpus(folder: Path) -> Iterator[dict[str, object]]:
    """Yield every GPU as it is now."""
    board = json.loads((folder / "board.json").read_text())
    held = [held_mb for _, held_mb in engines(folder)]
    for uuid, (total_mb, strangers_mb) in board.items():
        used_mb = strangers_mb + sum(held_mb.get(uuid, 0) for held_mb in held)
        yield {
            "uuid": uuid,
            "name": "Board",
            "driver_version": "595.71.05",
            "compute_cap": "8.9",
            "memory.total": total_mb,
            "memory.used": used_mb,
            "memory.free": total_mb - used_mb,
            **STEADY,
        }


def engines(folder: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield every engine that holds memory, those that have ended too while the driver keeps it."""
    keeps = (folder / "keeps").exists()
    for file in (folder / "engine").glob("*.json"):
        pid, _, ticks = file.stem.partition("-")
        if keeps or started(int(pid)) == ticks:
            yield int(pid), json.loads(file.read_text())
        else:
            file.unlink(missing_ok=True)


def started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty for one that has ended. Source: proc(5), ``stat``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def llama_server(folder: Path, argv: list[str]) -> int:
    """Answer a question, or take the memory and become the engine."""
    answers = {"--version": "version: 1", "--help": FLAGS, "--list-devices": "Available devices:\n  CUDA0: Board"}
    if argv[0] in answers:
        print(answers[argv[0]])
        return 0
    while (folder / "holds").exists():
        select.select([], [], [], 0.01)
    if (folder / "breaks").exists():
        print("error: this engine is broken", file=sys.stderr)
        return 1
    model = argv[argv.index("--model") + 1]
    visible = [uuid for uuid in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if uuid]
    need_mb = int(Path(f"{model}.mb").read_text())
    mine = folder / "engine" / f"{os.getpid()}-{started(os.getpid())}.json"
    draft = mine.with_suffix(".draft")
    draft.write_text(json.dumps({uuid: need_mb // len(visible) for uuid in visible}))
    draft.rename(mine)
    for row in gpus(folder):
        if row["uuid"] in visible and int(str(row["memory.free"])) < 0:
            mine.unlink()
            said = f"allocating {need_mb} MiB on {row['uuid']}: cudaMalloc failed: out of memory"
            with (folder / "refusals").open("a") as refusals:
                print(re.sub(r".*/", "", model), said, file=refusals)
            print(said, file=sys.stderr)
            return 1
    python = (sys.executable, "-P", "-m", "cortex.neuron.embedded")
    os.execv(python[0], [*python, *argv, "--threads", "1"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
