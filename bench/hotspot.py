"""``bench/profile``: one gateway under one kind of load, and the functions in which its time goes.

``py-spy`` names Python functions (installed into ``bench/.venv``), ``perf`` names those of the interpreter, of C
extensions and of the kernel, where it is installed. The sampled process is slower meanwhile: shares count, not times.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.agent import agent_request
from bench.build import build
from bench.campaign import equipment
from bench.dialect import ANTHROPIC, encoded, orders
from bench.load import UNLIMITED, Load, Option, Reading
from bench.peer import environment
from bench.peer.interface import Running, Site
from bench.peer.lineup import PEERS
from bench.place import choose_cores

LOADS: dict[str, tuple[str, dict[str, Option]]] = {
    "request": ("closed", {"connections": 32}),
    "large": ("closed", {"connections": 8, "body": 225_280}),
    "chunk": ("hold", {"connections": 200, "chunks": UNLIMITED, "interval_us": 10_000}),
    "stream": ("closed", {"connections": 200, "chunks": 20, "interval_us": 1_000}),
    "translated": ("hold", {"connections": 100, "chunks": UNLIMITED, "interval_us": 10_000}),
    "agent": ("closed", {"connections": 8, "chunks": 1}),
}
"""Kinds of load: mode and options of the load client; the last two are in Anthropic's dialect."""

BODIES = {
    "translated": ANTHROPIC.body(orders(UNLIMITED, 10_000, is_spread=True)),
    "agent": agent_request(orders(1, 0, is_spread=False)),
}

RATE_HZ = 250


def main() -> int:
    args = _arguments()
    peer = next(peer for peer in PEERS if peer.name == args.gateway)
    peer.install()
    if args.tool == "py-spy":
        environment.install("py-spy")  # not while the load runs
    cores = choose_cores()
    with equipment(build(), cores) as (upstream, load, folder):
        gateway = peer.start(Site(folder, upstream.port, cores))
        try:
            tool = TOOLS[args.tool]
            reading = _under_load(load, gateway, args.load, args.seconds, lambda: tool(gateway, args))
        finally:
            gateway.stop()
    count = reading.count("chunks") or reading.count("requests")
    print(f"\n{gateway.name}, {args.load}: {reading.gateway_cpu_us / max(1, count):.1f} us each while being sampled")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/profile", description=__doc__, allow_abbrev=False)
    parser.add_argument("gateway", nargs="?", default="cortex", choices=[peer.name for peer in PEERS])
    parser.add_argument("load", nargs="?", default="request", choices=[*LOADS])
    parser.add_argument("--tool", choices=[*TOOLS], default="py-spy")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--top", type=int, default=40, help="how many functions")
    parser.add_argument("--lines", action="store_true", help="py-spy: tell lines apart, not only functions")
    return parser.parse_args()


def _under_load(load: Load, gateway: Running, kind: str, seconds: int, sample: Callable[[], None]) -> Reading:
    """Run ``sample`` in the middle of the load."""
    mode, options = LOADS[kind]
    if kind in BODIES:
        kept = load.keep("body.json", encoded(BODIES[kind]))
        options = options | {"path": ANTHROPIC.path, "end": ANTHROPIC.end, "body_file": kept}
    timer = threading.Timer(1.5, sample)
    timer.start()
    reading = load.run(gateway, mode, **options, warmup=1.0, seconds=seconds + 3)
    timer.join()
    return reading


def _py_spy(gateway: Running, args: argparse.Namespace) -> None:
    with tempfile.NamedTemporaryFile() as out:
        argv = [environment.program("py-spy"), "record", "--pid", gateway.child.pid, "--format", "raw", "--nonblocking"]
        argv += ["--rate", RATE_HZ, "--duration", args.seconds, "--output", out.name]
        argv += [] if args.lines else ["--function"]
        subprocess.run([str(part) for part in argv], check=True, capture_output=True)
        stacks = list(_stacks(Path(out.name).read_text()))
    total = sum(count for _, count in stacks) or 1
    own, whole = Counter[str](), Counter[str]()
    for frames, count in stacks:
        own[frames[-1]] += count
        for frame in set(frames):
            whole[frame] += count
    for title, counter in (("in the function itself", own), ("with all it calls", whole)):
        print(f"\n{title}, % of {total} samples")
        for frame, count in counter.most_common(args.top):
            print(f"{100 * count / total:6.1f}  {frame}")


def _stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Yield the stacks of py-spy's raw form, ``outer;…;inner count``."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack.split(";"), int(count)


def _perf(gateway: Running, args: argparse.Namespace) -> None:
    if not shutil.which("perf"):
        raise SystemExit("bench: perf is not installed (Debian: linux-perf; Fedora: perf)")
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        pids = ",".join(str(pid) for pid in gateway.child.pids())
        record = ["perf", "record", "-e", "cpu-clock", "-F", "997", "-o", data, "-p", pids, "--", "sleep"]
        subprocess.run([*record, str(args.seconds)], check=True, capture_output=True)
        report = ["perf", "report", "-i", data, "--stdio", "-F", "overhead,dso,symbol", "--percent-limit", "0.3"]
        done = subprocess.run(report, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    print("\n".join(lines[: args.top]))


TOOLS: dict[str, Callable[[Running, argparse.Namespace], None]] = {"py-spy": _py_spy, "perf": _perf}


if __name__ == "__main__":
    sys.exit(main())
