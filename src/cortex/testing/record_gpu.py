"""Records what the GPUs of this host answer, for tests that run without one.

``python -m cortex.testing.record_gpu DIR`` writes ``nvml.json`` (tapes of the neuron's own probe: at rest, while a
process holds memory, after it has ended; and of questions that the probe does not ask), ``nvidia-smi.json`` (the
program's answers by its arguments) and ``host.json``.
It is a tool for people with a GPU; nothing imports it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cortex.neuron.discovery.host import HostReader
from cortex.neuron.discovery.nvidia_smi import READ_FIELDS, SCAN_FIELDS
from cortex.neuron.discovery.nvml import NvmlProbe
from cortex.testing.nvml_tape import Call, RecordingNvml

ROOT = Path("/")
FIELDS = (
    "index,uuid,name,pci.bus_id,driver_version,compute_cap,memory.total,memory.reserved,memory.used,memory.free,"
    "utilization.gpu,temperature.gpu,power.draw,power.limit,mig.mode.current,ecc.mode.current"
)
SMI_QUESTIONS = (
    ("--help-query-gpu",),
    (f"--query-gpu={','.join(SCAN_FIELDS)}", "--format=csv,nounits"),
    (f"--query-gpu={','.join(READ_FIELDS)}", "--format=csv,nounits"),
    (f"--query-gpu={FIELDS}", "--format=csv,nounits"),
    (f"--query-gpu={FIELDS}", "--format=csv"),
    ("--query-compute-apps=gpu_uuid,pid,used_gpu_memory", "--format=csv,nounits"),
    ("--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory", "--format=csv"),
    ("--query-gpu=no.such.field", "--format=csv"),
    ("--query-gpu=index", "--format=csv", "--id=99"),
    ("-L",),
    ("-q",),
    ("topo", "-m"),
    (),
)
OTHER_QUESTIONS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("nvmlDeviceGetAddressingMode", ()),
    ("nvmlDeviceGetNumaNodeId", ()),
    ("nvmlDeviceGetMigMode", ()),
    ("nvmlDeviceGetMaxMigDeviceCount", ()),
    ("nvmlDeviceGetGspFirmwareVersion", ()),
    ("nvmlDeviceGetGspFirmwareMode", ()),
    ("nvmlDeviceGetPersistenceMode", ()),
    ("nvmlDeviceGetEccMode", ()),
    ("nvmlDeviceGetSupportedEventTypes", ()),
    ("nvmlDeviceGetCurrentClocksEventReasons", ()),
    ("nvmlDeviceGetTemperature", (0,)),
    ("nvmlDeviceGetTemperatureV", (0,)),
    ("nvmlDeviceGetFanSpeed", ()),
    ("nvmlDeviceGetSerial", ()),
    ("nvmlDeviceGetFieldValues", ([230, 150, 186],)),
    ("nvmlDeviceGetComputeRunningProcesses_v2", ()),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", ()),
    ("nvmlDeviceGetMigDeviceHandleByIndex", (0,)),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Record into a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="record_gpu")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hold-mb", type=int, default=2048, help="what the process holds meanwhile")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    import pynvml  # only here: nothing else of this package needs it

    tapes, seen = record_nvml(RecordingNvml(pynvml), holder(args.hold_mb), holder(args.hold_mb, "--in-child"))
    _write(args.folder / "nvml.json", tapes)
    _write(args.folder / "nvidia-smi.json", seen.pop("nvidia-smi"))
    _write(args.folder / "host.json", {**_host(), **seen})
    return 0


def record_nvml(
    nvml: RecordingNvml,
    hold: Callable[[], "subprocess.Popen[str]"],
    hold_in_child: Callable[[], "subprocess.Popen[str]"],
) -> tuple[Mapping[str, list[Call]], dict[str, Any]]:
    """Return tapes by what they show, and what the probe made of them."""
    probe = NvmlProbe(ROOT, lambda: nvml)
    tapes: dict[str, list[Call]] = {}
    seen: dict[str, Any] = {"scan": probe.scan(), "at rest": probe.read(frozenset({os.getpid()}))}
    if not seen["at rest"]:
        raise SystemExit(f"no GPU found: {seen['scan'].trouble}")
    tapes["at rest"] = nvml.take()
    for name, start in (("held", hold), ("held in a child", hold_in_child)):
        process = start()
        try:
            seen[name] = probe.read(frozenset({process.pid}))
            tapes[name] = nvml.take()
            seen["pid " + name] = process.pid
            if name == "held":
                seen["nvidia-smi"] = record_smi()
        finally:
            process.communicate()
        seen["seconds until free after " + name] = _seconds_until_free(probe, seen["at rest"][0].vram_used_mb)
    seen["afterwards"] = probe.read(frozenset({os.getpid()}))
    tapes["afterwards"] = nvml.take()
    _ask_others(nvml)
    tapes["other questions"] = nvml.take()
    return tapes, seen


def holder(mib: int, *more: str) -> "Callable[[], subprocess.Popen[str]]":
    """Return what starts a process that holds so much memory, and returns it once it does."""

    def start() -> "subprocess.Popen[str]":
        argv = [sys.executable, "-m", "cortex.testing.vram_holder", str(mib), *more]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    return start


def record_smi(command: str = "nvidia-smi") -> dict[str, dict[str, Any]]:
    """Return the program's answers by its arguments."""
    answers = {}
    for question in SMI_QUESTIONS:
        done = subprocess.run([command, *question], capture_output=True, text=True, timeout=60, check=False)
        answers[" ".join(question)] = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
    return answers


def _ask_others(nvml: RecordingNvml) -> None:
    """Ask what the probe does not ask; the answers are on the tape, errors too."""
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        for name, args in OTHER_QUESTIONS:
            try:
                getattr(nvml, name)(handle, *args)
            except (nvml.NVMLError, AttributeError, TypeError) as error:
                print(f"{name}: {error}", file=sys.stderr)


def _seconds_until_free(probe: NvmlProbe, used_mb: int | None) -> float | None:
    """Return how long the driver took to give memory back, None for more than a while."""
    begin = time.perf_counter()
    while (took_s := time.perf_counter() - begin) < 10:
        (reading, *_) = probe.read(frozenset())
        if reading.vram_used_mb is not None and used_mb is not None and reading.vram_used_mb <= used_mb + 16:
            return round(took_s, 4)
    return None


def _host() -> dict[str, Any]:
    files = ["proc/driver/nvidia/version", "proc/meminfo", "proc/self/cgroup"]
    addresses = (ROOT / "sys/bus/pci/devices").glob("*")
    nvidia = [address for address in addresses if (address / "vendor").read_text().strip() == "0x10de"]
    return {
        "host": HostReader(ROOT).read(),
        "files": {name: (ROOT / name).read_text() for name in files if (ROOT / name).exists()},
        "pci": {
            address.name: {name: (address / name).read_text().strip() for name in ("class", "numa_node", "device")}
            for address in nvidia
        },
        "dev": sorted(str(path) for path in (ROOT / "dev").glob("nvidia*")),
        "pid namespace": os.readlink("/proc/self/ns/pid"),
    }


def _write(file: Path, content: Any) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(content)))


if __name__ == "__main__":
    sys.exit(main())
