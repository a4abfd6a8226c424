"""NVML as its binding shows it, without a GPU: boards that a test describes, and the codes with which real ones refuse.

Errors are the binding's own (``pynvml.NVMLError``), structures have its fields, functions its names and signatures. As
in the real library nothing works before ``nvmlInit`` or after ``nvmlShutdown``, boards are listed as they were at the
init, and ``nvmlEventSetWait`` ends with a time-out when there is no event.
"""

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pynvml

MIB = 1 << 20


class Part:
    """A MIG device, or what a board and one have in common. ``errors``: code by function, for this device only."""

    def __init__(self, name: str, uuid: str, total_mb: int, used_mb: int = 0, **more: Any) -> None:
        self.name = name
        self.uuid = uuid
        self.total_mb = total_mb
        self.used_mb = used_mb
        self.computing: list[tuple[int, int | None]] = []
        """Pid and MiB."""
        self.drawing: list[tuple[int, int | None]] = []
        self.errors: dict[str, int | None] = {}
        for key, value in more.items():
            assert hasattr(self, key) or key in BOARD, key
            setattr(self, key, value)


BOARD = {
    "bus_id": "00000000:01:00.0",
    "capability": (8, 9),
    "reserved_mb": 0,
    "busy_pct": 0,
    "temp_c": 40,
    "power_mw": 30_000,
    "limit_mw": 320_000,
    "ecc": None,
    "recovery": 0,
    "mig": None,
    "parts": (),
}


class Board(Part):
    """A GPU. ``mig``: current and pending mode, None on a card without; ``ecc``: corrected, uncorrected."""

    bus_id: str
    capability: tuple[int, int]
    reserved_mb: int
    busy_pct: int
    temp_c: int
    power_mw: int
    limit_mw: int
    ecc: tuple[int, int] | None
    recovery: int | None
    mig: list[int] | None
    parts: tuple[Part | None, ...]

    def __init__(self, name: str, uuid: str, total_mb: int, used_mb: int = 0, **more: Any) -> None:
        super().__init__(name, uuid, total_mb, used_mb, **(BOARD | more))


class FakeNvml:
    """The module. ``without``: functions that this driver does not have (code 13); ``init_error``: code of nvmlInit."""

    NVMLError = pynvml.NVMLError

    def __init__(
        self, *boards: Board, without: Iterable[str] = (), driver: str = "595.71.05", cuda: int = 13010
    ) -> None:
        self.boards = list(boards)
        self.without = set(without)
        self.driver = driver
        self.cuda = cuda
        self.init_error: int | None = None
        self.errors: dict[str, int] = {}
        """Code by function, whatever it is asked about."""
        self.inits = 0
        self.shutdowns = 0
        self.events: list[tuple[Board, int]] = []
        self.watched: list[Board] = []
        self.calls: list[str] = []
        self._listed: list[Board] | None = None

    def binding(self) -> "FakeNvml":
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return one of the functions below, guarded as the library guards them."""
        if not name.startswith("nvml"):
            raise AttributeError(name)
        function = getattr(type(self), f"_{name}", None)
        if function is None:
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append(name)
            self._refuse(name, args)
            return function(self, *args)

        return call

    def _refuse(self, name: str, args: tuple[Any, ...]) -> None:
        if name in self.without:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        if name != "nvmlInit" and self._listed is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        own: Mapping[str, int | None] = args[0].errors if args and isinstance(args[0], Part) else {}
        code = own.get(name, own.get("*", self.errors.get(name)))
        if code is not None:
            raise pynvml.NVMLError(code)

    def _nvmlInit(self) -> None:
        if self.init_error is not None:
            raise pynvml.NVMLError(self.init_error)
        self.inits += 1
        self._listed = list(self.boards)

    def _nvmlShutdown(self) -> None:
        self.shutdowns += 1
        self._listed = None
        self.watched = []

    def _nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def _nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    _nvmlSystemGetCudaDriverVersion_v2 = _nvmlSystemGetCudaDriverVersion

    def _nvmlDeviceGetCount(self) -> int:
        return len(self._boards())

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> Board:
        board = self._boards()[index]
        self._refuse("nvmlDeviceGetHandleByIndex", (board,))
        return board

    def _nvmlDeviceGetName(self, part: Part) -> str:
        return part.name

    def _nvmlDeviceGetUUID(self, part: Part) -> str:
        return part.uuid

    def _nvmlDeviceGetCudaComputeCapability(self, board: Board) -> tuple[int, int]:
        return board.capability

    def _nvmlDeviceGetPciInfo(self, board: Board) -> Any:
        return SimpleNamespace(busId=board.bus_id.encode())

    def _nvmlDeviceGetMemoryInfo(self, part: Part) -> Any:
        reserved_mb = part.reserved_mb if isinstance(part, Board) else 0
        free_mb = part.total_mb - part.used_mb - reserved_mb
        return SimpleNamespace(total=part.total_mb * MIB, free=free_mb * MIB, used=(part.total_mb - free_mb) * MIB)

    def _nvmlDeviceGetUtilizationRates(self, board: Board) -> Any:
        if board.mig and board.mig[0]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=board.busy_pct, memory=0)

    def _nvmlDeviceGetTemperature(self, board: Board, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return board.temp_c

    _nvmlDeviceGetTemperatureV = _nvmlDeviceGetTemperature

    def _nvmlDeviceGetPowerUsage(self, board: Board) -> int:
        return board.power_mw

    def _nvmlDeviceGetEnforcedPowerLimit(self, board: Board) -> int:
        return board.limit_mw

    def _nvmlDeviceGetTotalEccErrors(self, board: Board, kind: int, counter: int) -> int:
        assert counter == pynvml.NVML_VOLATILE_ECC
        if board.ecc is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return board.ecc[kind]

    def _nvmlDeviceGetFieldValues(self, board: Board, fields: list[int]) -> list[Any]:
        assert fields == [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
        refused = board.recovery is None
        code = pynvml.NVML_ERROR_NOT_SUPPORTED if refused else pynvml.NVML_SUCCESS
        return [SimpleNamespace(nvmlReturn=code, value=SimpleNamespace(uiVal=board.recovery or 0))]

    def _nvmlDeviceGetMigMode(self, board: Board) -> list[int]:
        if board.mig is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return board.mig

    def _nvmlDeviceGetMaxMigDeviceCount(self, board: Board) -> int:
        return 7 if board.mig and board.mig[0] else 0

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, board: Board, index: int) -> Part:
        part = board.parts[index] if index < len(board.parts) else None
        if part is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return part

    def _nvmlDeviceGetComputeRunningProcesses(self, part: Part) -> list[Any]:
        return _processes(part.computing)

    _nvmlDeviceGetComputeRunningProcesses_v2 = _nvmlDeviceGetComputeRunningProcesses
    _nvmlDeviceGetComputeRunningProcesses_v3 = _nvmlDeviceGetComputeRunningProcesses

    def _nvmlDeviceGetGraphicsRunningProcesses(self, part: Part) -> list[Any]:
        return _processes(part.drawing)

    _nvmlDeviceGetGraphicsRunningProcesses_v2 = _nvmlDeviceGetGraphicsRunningProcesses
    _nvmlDeviceGetGraphicsRunningProcesses_v3 = _nvmlDeviceGetGraphicsRunningProcesses

    def _nvmlEventSetCreate(self) -> object:
        return "event set"

    def _nvmlDeviceRegisterEvents(self, board: Board, kinds: int, events: object) -> None:
        assert kinds == pynvml.nvmlEventTypeXidCriticalError
        self.watched.append(board)

    def _nvmlEventSetWait(self, events: object, timeout_ms: int) -> Any:
        assert timeout_ms == 0, "the sample must not wait"
        if not self.events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        board, xid = self.events.pop(0)
        return SimpleNamespace(device=board, eventType=8, eventData=xid)

    def _boards(self) -> list[Board]:
        assert self._listed is not None
        return self._listed


def _processes(listed: Iterable[tuple[int, int | None]]) -> list[Any]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=None if mb is None else mb * MIB) for pid, mb in listed]
