"""A binding with one GPU, of the same stuff as the real one: pointers as handles, structures, arrays, objects."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pynvml

MIB = 1 << 20


class SmallNvml:
    """``used_mb`` and ``processes`` may change between two questions."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.used_mb = 600
        self.processes: list[int] = []
        self._board = pynvml.struct_c_nvmlDevice_t()
        self._events = pynvml.struct_c_nvmlEventSet_t()

    def nvmlInit(self) -> None:
        pass

    def nvmlShutdown(self) -> None:
        pass

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.95.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 13000

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        assert index == 0
        return ctypes.pointer(self._board)

    def nvmlDeviceGetMigMode(self, _: Any) -> list[int]:
        return [0, 0]

    def nvmlDeviceGetName(self, _: Any) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetUUID(self, _: Any) -> str:
        return "GPU-h100"

    def nvmlDeviceGetCudaComputeCapability(self, _: Any) -> tuple[int, int]:
        return (9, 0)

    def nvmlDeviceGetPciInfo(self, _: Any) -> Any:
        info = pynvml.nvmlPciInfo_t()
        info.busId = b"00000000:83:00.0"
        return info

    def nvmlDeviceGetMemoryInfo(self, _: Any) -> Any:
        return pynvml.c_nvmlMemory_t(80000 * MIB, (80000 - self.used_mb) * MIB, self.used_mb * MIB)

    def nvmlDeviceGetPowerUsage(self, _: Any) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)

    def nvmlDeviceGetComputeRunningProcesses_v3(self, _: Any) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=500 * MIB) for pid in self.processes]

    def nvmlDeviceGetFieldValues(self, _: Any, fields: list[int]) -> Any:
        values = (pynvml.c_nvmlFieldValue_t * len(fields))()
        values[0].value.uiVal = 1
        return values

    def nvmlEventSetCreate(self) -> Any:
        return ctypes.pointer(self._events)

    def nvmlDeviceRegisterEvents(self, *_: Any) -> None:
        pass

    def nvmlEventSetWait(self, *_: Any) -> Any:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
