"""NVIDIA GPUs by way of NVML, the driver's own library; the only file that imports its binding (``nvidia-ml-py``).

MIG devices are devices, and their parent is then none. What a driver does not tell is None. Errors of the class that
ends NVML's usefulness (driver unloaded or replaced, GPU lost) make the next scan start it anew, and so does another set
of GPUs on the bus. A call may hang in the driver for ever, which is not this file's matter.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.host_file import read_line, read_number
from cortex.neuron.host_memory import has_host_pids, is_unified, ram_mb
from cortex.neuron.process.family import owner_of

log = logging.getLogger(__name__)

UNINITIALIZED, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, TIMEOUT = 1, 3, 4, 6, 9, 10
LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, GPU_IS_LOST, LIB_RM_VERSION_MISMATCH, DEPRECATED = 12, 13, 15, 18, 26
ARGUMENT_VERSION_MISMATCH, GPU_NOT_FOUND = 25, 28
LIFECYCLE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, GPU_IS_LOST, LIB_RM_VERSION_MISMATCH, GPU_NOT_FOUND})
"""After these nothing of the same start of NVML can be believed. Source: nvml.h, nvmlReturn_t."""
QUIET = frozenset({NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, FUNCTION_NOT_FOUND, DEPRECATED})
"""Common where all is well: consumer cards, MIG, old drivers, virtual GPUs."""

OLDER = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH, DEPRECATED})
"""After these an older function may do."""

MIB = 1 << 20
NVIDIA, DISPLAY_CLASS = "0x10de", "0x03"
TEMPERATURE_OF_GPU, VOLATILE = 0, 0
ECC_TYPES = {"corrected": 0, "uncorrected": 1}
XID_EVENT = 8
MAX_XIDS_AT_ONCE = 100
RECOVERY_FIELD = 230
RECOVERY_ACTIONS = (
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
)
"""Source: nvml.h (13.615), nvmlDeviceGpuRecoveryAction_t; its field is NVML_FI_DEV_GET_GPU_RECOVERY_ACTION."""

COMPUTING = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
DRAWING = ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2")

Handle = Any
"""A device as the binding has it: opaque."""


class _Gpu(NamedTuple):
    """One found device. ``board`` is the GPU that it is, or is a part of, and ``board_uuid`` its name."""

    found: FoundDevice
    handle: Handle
    board: Handle
    board_uuid: str | None

    @property
    def is_mig(self) -> bool:
        return self.found.kind == "mig"


class _Lost(Exception):
    """NVML has to be started anew."""


def _binding() -> Any:
    import pynvml

    return pynvml


class NvmlProbe:
    """All GPUs that NVML lists, in its (PCI) order. ``binding`` returns the module, or raises ImportError."""

    def __init__(self, root: Path, binding: Callable[[], Any] = _binding) -> None:
        self._root = root
        self._binding = binding
        self._nvml: Any = None
        self._is_open = False
        self._lost: str | None = None
        self._is_mismatched = False
        self._gpus: tuple[_Gpu, ...] = ()
        self._on_bus: frozenset[str] = frozenset()
        self._events: Any = None
        self._xids: dict[str | None, Counter[int]] = {}
        self._noted: dict[str, str] = {}

    def scan(self) -> Scan:
        self._gpus = ()
        trouble = self._open()
        if not self._is_open:
            return Scan(trouble=trouble, is_driver_mismatched=self._is_mismatched)
        try:
            self._gpus = tuple(self._found())
            self._watch()
            driver, cuda = self._driver_version(), self._cuda_version()
        except _Lost as error:
            self._lose(str(error))
            driver = cuda = None
        if not self._gpus and self._lost is None and self._on_bus:
            self._lose(f"NVML shows no GPU, the PCI bus has {len(self._on_bus)}: hidden by a device policy, or lost")
        if self._lost is None and self._noted.pop("NVML", ""):
            log.warning("NVML works again")
        return Scan(
            devices=tuple(gpu.found for gpu in self._gpus),
            driver_version=driver,
            cuda_driver_version=cuda,
            trouble=self._lost,
        )

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        if not self._is_open:
            return tuple(Reading(trouble=self._lost) for _ in self._gpus)
        self._take_xids()
        uses = [self._uses_of(gpu, pids) for gpu in self._gpus]
        # In a container the list is empty, or holds the host's numbers: that ours are not on it says nothing.
        is_told = not pids or any(uses) or has_host_pids(self._root)
        return tuple(self._reading(gpu, use if is_told else None) for gpu, use in zip(self._gpus, uses, strict=True))

    def _open(self) -> str | None:
        """Start NVML, anew where that may show more; return why it cannot be, None also where there is none."""
        on_bus = self._bus()
        if self._lost is not None or on_bus != self._on_bus:
            self._close()
        self._on_bus = on_bus
        if self._is_open:
            return None
        self._is_mismatched = False
        try:
            self._nvml = self._nvml or self._binding()
            self._nvml.nvmlInit()
        except ImportError:
            self._tell_absence("nvidia-ml-py is not installed")
            return None
        except self._nvml.NVMLError as error:
            if error.value == LIBRARY_NOT_FOUND:
                self._tell_absence("NVIDIA's driver is not installed")
                return None
            self._is_mismatched = error.value == LIB_RM_VERSION_MISMATCH
            self._lost = f"NVML cannot be started: {error}{self._missing_node()}"
            self._note("NVML", self._lost)
            return self._lost
        self._is_open, self._lost = True, None
        return None

    def _close(self) -> None:
        self._lost, self._events = None, None
        if self._is_open:
            self._is_open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError as error:
                log.debug("NVML does not end: %s", error)

    def _tell_absence(self, why: str) -> None:
        """Say once that there are GPUs which nothing here can use; that is no trouble, nobody installed a driver."""
        if self._on_bus:
            self._note("NVML", f"the PCI bus has {len(self._on_bus)} NVIDIA GPU(s), but {why}")

    def _missing_node(self) -> str:
        is_loaded = (self._root / "proc/driver/nvidia/version").exists()
        if is_loaded and not (self._root / "dev/nvidiactl").exists():
            return (
                "; the driver is loaded, but /dev/nvidiactl is missing: nvidia-modprobe or nvidia-persistenced make it"
            )
        return ""

    def _bus(self) -> frozenset[str]:
        """Return the addresses of NVIDIA's GPUs on the PCI bus."""
        devices = (self._root / "sys/bus/pci/devices").glob("*")
        return frozenset(
            device.name
            for device in devices
            if read_line(device / "vendor") == NVIDIA
            and read_line(device / "class").startswith(DISPLAY_CLASS)
            and (device / "driver").resolve().name != "vfio-pci"  # one that a virtual machine has is not ours
        )

    def _lose(self, why: str) -> None:
        """Note that NVML has to be started anew."""
        self._lost = why
        self._note("NVML", f"NVML will be started anew: {why}")

    def _found(self) -> Iterator[_Gpu]:
        """Yield every usable device, MIG ones in place of their parent. Raises: _Lost."""
        for index in range(self._ask("the number of GPUs", "nvmlDeviceGetCount") or 0):
            try:
                board = self._ask(f"GPU {index}", "nvmlDeviceGetHandleByIndex", index)
                found = () if board is None else tuple(self._devices_of(board))
            except _Lost as error:  # the others may be well
                self._lose(f"GPU {index}: {error}")
                continue
            yield from found

    def _devices_of(self, board: Handle) -> Iterator[_Gpu]:
        mode = self._ask("MIG mode", "nvmlDeviceGetMigMode", board)
        uuid = _text(self._ask("UUID", "nvmlDeviceGetUUID", board))
        for handle in self._parts(board) if mode and mode[0] else [board]:
            found = self._device(handle, board, is_mig=handle is not board)
            if found is not None:
                yield _Gpu(found, handle, board, uuid)

    def _parts(self, board: Handle) -> list[Handle]:
        count = self._ask("number of MIG devices", "nvmlDeviceGetMaxMigDeviceCount", board) or 0
        parts = [self._ask("MIG device", "nvmlDeviceGetMigDeviceHandleByIndex", board, n) for n in range(count)]
        found = [part for part in parts if part is not None]
        if not found:
            self._note("MIG", "a GPU is in MIG mode and has no MIG device: nothing of it can be used")
        return found

    def _device(self, handle: Handle, board: Handle, *, is_mig: bool) -> FoundDevice | None:
        name = _text(self._ask("name", "nvmlDeviceGetName", handle)) or "NVIDIA GPU"
        pair = self._ask("compute capability", "nvmlDeviceGetCudaComputeCapability", board)
        capability = None if pair is None else ".".join(map(str, pair))
        unified = is_unified(name, capability)
        total_mb, _ = self._memory(handle, unified=unified)
        if total_mb is None:
            self._note(f"memory of {name}", f"GPU {name} does not tell its memory and is left out")
            return None
        return FoundDevice(
            name=name,
            kind="mig" if is_mig else "cuda",
            vram_total_mb=total_mb,
            compute_capability=capability,
            uuid=_text(self._ask("UUID", "nvmlDeviceGetUUID", handle)),
            numa=self._numa(board),
            unified=unified,
        )

    def _reading(self, gpu: _Gpu, use: Mapping[int, ProcessUse] | None) -> Reading:
        try:
            total_mb, free_mb = self._memory(gpu.handle, unified=gpu.found.unified)
            # Of a board that is divided, the power and the use are nobody's share; its temperature is everybody's.
            whole = None if gpu.is_mig else gpu.board
            return Reading(
                # The driver's own part is neither used nor free to it; to us it is used.
                vram_used_mb=None if total_mb is None or free_mb is None else total_mb - free_mb,
                vram_free_mb=free_mb,
                utilization_pct=_float(getattr(self._ask("use", "nvmlDeviceGetUtilizationRates", whole), "gpu", None)),
                temp_c=self._temperature(gpu.board),
                power_w=_float(self._ask("power", "nvmlDeviceGetPowerUsage", whole), 1000),
                power_limit_w=_float(self._ask("power limit", "nvmlDeviceGetEnforcedPowerLimit", whole), 1000),
                processes=use,
                ecc_errors=self._ecc_errors(gpu.board),
                xids=dict(self._xids.get(gpu.board_uuid, ())),
                recovery_action=self._recovery_action(gpu.board),
            )
        except _Lost as error:
            self._lose(str(error))
            return Reading(trouble=str(error))

    def _memory(self, handle: Handle, *, unified: bool) -> tuple[int | None, int | None]:
        """Return total and free MiB; of a part that has no memory of its own, the host's."""
        if unified:
            return ram_mb(self._root)
        memory = self._ask("memory", "nvmlDeviceGetMemoryInfo", handle)
        return (None, None) if memory is None else (memory.total // MIB, memory.free // MIB)

    def _temperature(self, board: Handle) -> float | None:
        # The second is the older one, before driver 570.
        names = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
        return _float(self._ask("temperature", names, board, TEMPERATURE_OF_GPU))

    def _ecc_errors(self, board: Handle) -> dict[str, int]:
        told = {
            kind: self._ask("ECC errors", "nvmlDeviceGetTotalEccErrors", board, number, VOLATILE)
            for kind, number in ECC_TYPES.items()
        }
        return {kind: count for kind, count in told.items() if count is not None}

    def _recovery_action(self, board: Handle) -> str | None:
        values = self._ask("recovery action", "nvmlDeviceGetFieldValues", board, [RECOVERY_FIELD])
        if values is None or values[0].nvmlReturn:
            return None
        number = values[0].value.uiVal
        return RECOVERY_ACTIONS[number] if number < len(RECOVERY_ACTIONS) else f"action_{number}"

    def _watch(self) -> None:
        """Have critical errors told from now on, where the driver does. Raises: _Lost."""
        if self._events is None:
            self._events = self._ask("critical errors", "nvmlEventSetCreate")
            for board in {gpu.board_uuid: gpu.board for gpu in self._gpus}.values() if self._events else ():
                self._ask("critical errors", "nvmlDeviceRegisterEvents", board, XID_EVENT, self._events)

    def _take_xids(self) -> None:
        """Count the critical errors since the last time."""
        if self._events is None or not self._gpus:
            return
        for _ in range(MAX_XIDS_AT_ONCE):
            try:
                event = self._nvml.nvmlEventSetWait(self._events, 0)
                uuid = _text(self._nvml.nvmlDeviceGetUUID(event.device))
            except self._nvml.NVMLError as error:
                if error.value != TIMEOUT:
                    self._note("critical errors", f"NVML does not tell critical errors: {error}")
                return
            log.error("GPU %s: Xid %d", uuid, event.eventData)
            self._xids.setdefault(uuid, Counter())[event.eventData] += 1

    def _uses_of(self, gpu: _Gpu, pids: frozenset[int]) -> Mapping[int, ProcessUse] | None:
        """Return what our engines use of a device; None where the driver does not tell."""
        if not pids:
            return {}
        try:
            computing = self._ask("processes", COMPUTING, gpu.handle)
            drawing = self._ask("graphics processes", DRAWING, gpu.handle)
        except _Lost as error:
            self._lose(str(error))
            return None
        if computing is None:
            return None
        held_bytes: dict[int, int] = {}
        for process in (*computing, *(drawing or ())):
            owner = owner_of(process.pid, pids, self._root)
            if owner is None:
                continue
            if process.usedGpuMemory is None:
                return None
            # A process that computes and draws is on both lists with the same sum.
            held_bytes[process.pid] = max(held_bytes.get(process.pid, 0), process.usedGpuMemory)
        uses: Counter[int] = Counter()
        for pid, held in held_bytes.items():
            uses[owner_of(pid, pids, self._root) or pid] += -(-held // MIB)
        return {pid: ProcessUse(held_mb, held_mb) for pid, held_mb in uses.items()}

    def _numa(self, board: Handle) -> int | None:
        """Return the node of the host's memory that the GPU is nearest to."""
        pci = self._ask("PCI address", "nvmlDeviceGetPciInfo", board)
        # NVML's domain has eight digits, Linux' four: 00000000:83:00.0
        address = "" if pci is None else (_text(pci.busId) or "").lower()[4:]
        node = read_number(self._root / "sys/bus/pci/devices" / address / "numa_node")
        return node if node is not None and node >= 0 else None

    def _driver_version(self) -> str | None:
        return _text(self._ask("driver version", "nvmlSystemGetDriverVersion"))

    def _cuda_version(self) -> str | None:
        """Return the newest CUDA that the driver supports: 13010 is 13.1."""
        names = ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion")
        number = self._ask("CUDA version", names)
        return f"{number // 1000}.{number % 1000 // 10}" if number else None

    def _ask(self, what: str, names: str | tuple[str, ...], *args: Any) -> Any:
        """Return what NVML says by the first of these functions that it has; None for what it does not tell.

        Raises: _Lost.
        """
        if args and args[0] is None:  # there is nothing to ask about
            return None
        for name in (names,) if isinstance(names, str) else names:
            call = getattr(self._nvml, name, None)
            try:
                if call is not None:  # else a binding of another age
                    return call(*args)
            except self._nvml.NVMLError as error:
                if error.value in LIFECYCLE:
                    raise _Lost(str(error)) from error
                if error.value in OLDER:
                    continue
                if error.value not in QUIET:
                    self._note(what, f"NVML does not tell {what}: {error}")
                return None
            except UnicodeDecodeError:
                return None
        return None

    def _note(self, subject: str, words: str) -> None:
        """Log a trouble, unless it is the last one that this subject had."""
        if words != self._noted.get(subject):
            log.warning("%s", words)
        self._noted[subject] = words


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _float(value: float | None, divisor: int = 1) -> float | None:
    return None if value is None else value / divisor
