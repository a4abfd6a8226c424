"""NVIDIA GPUs by way of NVML: what it tells, what it refuses to tell, and how it fails as a whole."""

import logging
from pathlib import Path

import pynvml
import pytest
from tests.unit.neuron.discovery.fake_nvml import Board, FakeNvml, Part
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.discovery.nvml import NvmlProbe

NOBODY: frozenset[int] = frozenset()
MEMINFO = "MemTotal:       125829120 kB\nMemAvailable:   104857600 kB\n"


def rtx_4080(**more: object) -> Board:
    return Board("NVIDIA GeForce RTX 4080 SUPER", "GPU-4080", 16376, 596, **{"reserved_mb": 434, **more})


def h200(**more: object) -> Board:
    about = {"capability": (9, 0), "bus_id": "00000000:83:00.0", "mig": [0, 0], "ecc": (3, 0), "limit_mw": 700_000}
    return Board("NVIDIA H200", "GPU-h200", 143771, **{**about, **more})


def h200_mig() -> Board:
    parts = (
        Part("NVIDIA H200 MIG 3g.71gb", "MIG-a", 71168, 100),
        None,
        Part("NVIDIA H200 MIG 1g.18gb", "MIG-b", 18176),
    )
    return h200(mig=[1, 1], parts=parts)


def probe_of(nvml: FakeNvml, root: Path = Path("/nowhere")) -> NvmlProbe:
    return NvmlProbe(root, nvml.binding)


def read_one(board: Board, pids: frozenset[int] = NOBODY, root: Path = Path("/nowhere")) -> Reading:
    probe = probe_of(FakeNvml(board), root)
    probe.scan()
    (reading,) = probe.read(pids)
    return reading


def on_bus(root: Path, *addresses: str) -> Path:
    for address in addresses:
        folder = f"sys/bus/pci/devices/{address}"
        plant(root, {f"{folder}/vendor": "0x10de\n", f"{folder}/class": "0x030200\n", f"{folder}/numa_node": "1\n"})
    return root


def test_gpus_are_found_in_the_order_of_nvml_with_their_versions(tmp_path: Path) -> None:
    root = on_bus(tmp_path, "0000:83:00.0")
    assert probe_of(FakeNvml(rtx_4080(), h200()), root).scan() == Scan(
        devices=(
            FoundDevice(
                name="NVIDIA GeForce RTX 4080 SUPER",
                kind="cuda",
                vram_total_mb=16376,
                compute_capability="8.9",
                uuid="GPU-4080",
            ),
            FoundDevice(
                name="NVIDIA H200", kind="cuda", vram_total_mb=143771, compute_capability="9.0", uuid="GPU-h200", numa=1
            ),
        ),
        driver_version="595.71.05",
        cuda_driver_version="13.1",
    )


def test_a_reading_counts_the_drivers_own_part_as_used() -> None:
    assert read_one(rtx_4080(busy_pct=7, temp_c=43, power_mw=26_200, recovery=None)) == Reading(
        vram_used_mb=596 + 434,
        vram_free_mb=16376 - 596 - 434,
        utilization_pct=7.0,
        temp_c=43.0,
        power_w=26.2,
        power_limit_w=320.0,
        processes={},
    )


def test_errors_of_the_memory_and_what_the_driver_asks_for_are_told() -> None:
    reading = read_one(h200(ecc=(5, 2), recovery=1))
    assert (reading.ecc_errors, reading.recovery_action) == ({"corrected": 5, "uncorrected": 2}, "gpu_reset")
    assert read_one(h200(recovery=0)).recovery_action == "none"
    assert read_one(h200(recovery=99)).recovery_action == "action_99"


QUIET_CODES = [
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_DEPRECATED,
]
LOUD_CODES = [pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_OPERATING_SYSTEM, pynvml.NVML_ERROR_UNKNOWN]
FIELDS = {
    "nvmlDeviceGetMemoryInfo": {"vram_used_mb": None, "vram_free_mb": None},
    "nvmlDeviceGetUtilizationRates": {"utilization_pct": None},
    "nvmlDeviceGetPowerUsage": {"power_w": None},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w": None},
    "nvmlDeviceGetTotalEccErrors": {"ecc_errors": {}},
    "nvmlDeviceGetFieldValues": {"recovery_action": None},
}


@pytest.mark.parametrize("code", QUIET_CODES + LOUD_CODES)
@pytest.mark.parametrize("function", FIELDS)
def test_a_field_that_fails_is_unknown_and_the_others_are_told(
    function: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    nvml = FakeNvml(h200())
    probe = probe_of(nvml)
    probe.scan()
    (whole,) = probe.read(NOBODY)
    nvml.boards[0].errors = {function: code}
    for _ in range(3):
        (reading,) = probe.read(NOBODY)
    changed = {
        name: getattr(reading, name)
        for name in Reading.__struct_fields__
        if getattr(reading, name) != getattr(whole, name)
    }
    assert changed == FIELDS[function]
    assert len(caplog.messages) == (1 if code in LOUD_CODES else 0), "said once, and only what is not common"


LIFECYCLE = [
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
]


@pytest.mark.parametrize("code", LIFECYCLE)
def test_an_error_that_ends_nvmls_life_makes_that_device_unknown_and_the_next_scan_starts_it_anew(code: int) -> None:
    nvml = FakeNvml(rtx_4080(), h200())
    probe = probe_of(nvml)
    probe.scan()
    nvml.boards[0].errors = {"nvmlDeviceGetMemoryInfo": code}
    lost, there = probe.read(NOBODY)
    assert lost == Reading(trouble=str(pynvml.NVMLError(code)))
    assert (there.vram_free_mb, there.trouble) == (143771, None)
    nvml.boards[0].errors = {}
    assert (nvml.inits, nvml.shutdowns) == (1, 0)
    found = probe.scan()
    assert (nvml.inits, nvml.shutdowns) == (2, 1)
    assert (len(found.devices), found.trouble) == (2, None)
    assert [reading.trouble for reading in probe.read(NOBODY)] == [None, None]


def test_a_gpu_that_is_lost_is_left_out_and_the_others_are_found(caplog: pytest.LogCaptureFixture) -> None:
    nvml = FakeNvml(rtx_4080(errors={"nvmlDeviceGetHandleByIndex": pynvml.NVML_ERROR_GPU_IS_LOST}), h200())
    probe = probe_of(nvml)
    for _ in range(3):
        found = probe.scan()
        assert [device.uuid for device in found.devices] == ["GPU-h200"]
        assert found.trouble == "GPU 0: GPU is lost"
    assert [message for message in caplog.messages if "anew" in message] == [
        "NVML will be started anew: GPU 0: GPU is lost"
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVML cannot be started: Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "version mismatch"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
        (pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
def test_nvml_that_cannot_be_started_is_in_trouble_until_it_can(
    code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    nvml = FakeNvml(rtx_4080())
    nvml.init_error = code
    probe = probe_of(nvml)
    for _ in range(2):
        found = probe.scan()
        assert found.devices == ()
        assert words in (found.trouble or "")
        assert found.is_driver_mismatched == (code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
        assert probe.read(NOBODY) == ()
    assert len(caplog.messages) == 1
    nvml.init_error = None
    found = probe.scan()
    assert (len(found.devices), found.is_driver_mismatched) == (1, False)
    assert caplog.messages[1:] == ["NVML works again"]


def test_without_nvidias_library_there_is_nothing_and_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    nvml = FakeNvml()
    nvml.init_error = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert probe_of(nvml).scan() == Scan()
    assert caplog.messages == []


def test_the_real_binding_without_a_library_is_nothing_too(tmp_path: Path) -> None:
    class NoLibrary:
        """The binding as it is, on a host where the library is not."""

        NVMLError = pynvml.NVMLError

        def nvmlInit(self) -> None:
            raise pynvml.NVMLError_LibraryNotFound

    assert NvmlProbe(tmp_path, NoLibrary).scan() == Scan()


def test_without_the_binding_there_is_nothing(tmp_path: Path) -> None:
    def missing() -> object:
        raise ImportError

    assert NvmlProbe(tmp_path, missing).scan() == Scan()


def test_gpus_that_nobody_installed_a_driver_for_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nvml = FakeNvml()
    nvml.init_error = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    probe = probe_of(nvml, on_bus(tmp_path, "0000:01:00.0", "0000:02:00.0"))
    assert [probe.scan(), probe.scan()] == [Scan(), Scan()]
    assert caplog.messages == ["the PCI bus has 2 NVIDIA GPU(s), but NVIDIA's driver is not installed"]


def test_a_driver_whose_device_files_are_missing_is_told_apart_from_none(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/driver/nvidia/version": "NVRM version: …\n"})
    nvml = FakeNvml()
    nvml.init_error = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert "/dev/nvidiactl is missing" in (probe_of(nvml, tmp_path).scan().trouble or "")
    plant(tmp_path, {"dev/nvidiactl": ""})
    assert "/dev/nvidiactl" not in (probe_of(nvml, tmp_path).scan().trouble or "")


def test_no_gpu_where_the_bus_has_some_is_trouble(tmp_path: Path) -> None:
    root = on_bus(tmp_path, "0000:01:00.0")
    nvml = FakeNvml()
    probe = probe_of(nvml, root)
    assert "NVML shows no GPU, the PCI bus has 1: hidden by a device policy, or lost" in (probe.scan().trouble or "")
    nvml.boards = [rtx_4080()]
    assert len(probe.scan().devices) == 1


def test_a_gpu_that_a_virtual_machine_has_is_not_missed(tmp_path: Path) -> None:
    root = on_bus(tmp_path, "0000:01:00.0")
    (root / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True)
    (root / "sys/bus/pci/devices/0000:01:00.0/driver").symlink_to(root / "sys/bus/pci/drivers/vfio-pci")
    assert probe_of(FakeNvml(), root).scan() == Scan(driver_version="595.71.05", cuda_driver_version="13.1")


def test_a_gpu_that_appears_on_the_bus_is_found_by_a_fresh_start_and_only_then(tmp_path: Path) -> None:
    nvml = FakeNvml(rtx_4080())
    probe = probe_of(nvml, on_bus(tmp_path, "0000:01:00.0"))
    probe.scan()
    nvml.boards.append(h200())
    assert len(probe.scan().devices) == 1, "NVML lists what it found as it was started"
    assert nvml.inits == 1
    on_bus(tmp_path, "0000:83:00.0")
    assert len(probe.scan().devices) == 2
    assert nvml.inits == 2


def test_mig_devices_are_devices_in_place_of_their_gpu() -> None:
    probe = probe_of(FakeNvml(h200_mig(), rtx_4080()))
    assert [(device.kind, device.name, device.uuid, device.vram_total_mb) for device in probe.scan().devices] == [
        ("mig", "NVIDIA H200 MIG 3g.71gb", "MIG-a", 71168),
        ("mig", "NVIDIA H200 MIG 1g.18gb", "MIG-b", 18176),
        ("cuda", "NVIDIA GeForce RTX 4080 SUPER", "GPU-4080", 16376),
    ]


def test_a_mig_device_has_its_own_memory_and_processes_and_its_boards_temperature_and_errors() -> None:
    board = h200_mig()
    board.temp_c, board.ecc = 55, (0, 4)
    board.computing = [(7, 900)]
    assert board.parts[0] is not None
    board.parts[0].computing = [(7, 900)]
    probe = probe_of(FakeNvml(board))
    assert [device.compute_capability for device in probe.scan().devices] == ["9.0", "9.0"]
    first, second = probe.read(frozenset({7}))
    assert (first.vram_used_mb, first.vram_free_mb, first.temp_c) == (100, 71068, 55.0)
    assert (first.utilization_pct, first.power_w, first.power_limit_w) == (None, None, None)
    assert first.ecc_errors == {"corrected": 0, "uncorrected": 4}
    assert (first.processes, second.processes) == ({7: ProcessUse(900, 900)}, {})


def test_a_gpu_in_mig_mode_without_devices_is_none(caplog: pytest.LogCaptureFixture) -> None:
    assert probe_of(FakeNvml(h200(mig=[1, 1]))).scan().devices == ()
    assert "has no MIG device" in caplog.text


@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA N1X", "Orin (nvgpu)", "NVIDIA Thor"])
@pytest.mark.parametrize("code", [None, pynvml.NVML_ERROR_NOT_SUPPORTED], ids=["a figure", "none"])
def test_a_gpu_that_shares_the_hosts_ram_has_all_of_it_whatever_nvml_says(
    tmp_path: Path, name: str, code: int | None
) -> None:
    plant(tmp_path, {"proc/meminfo": MEMINFO})
    board = Board(
        name, "GPU-x", 8192, capability=(12, 1), errors={} if code is None else {"nvmlDeviceGetMemoryInfo": code}
    )
    probe = probe_of(FakeNvml(board), tmp_path)
    (device,) = probe.scan().devices
    (reading,) = probe.read(NOBODY)
    assert (device.vram_total_mb, device.unified) == (122880, True)
    assert (reading.vram_used_mb, reading.vram_free_mb) == (20480, 102400)


def test_a_card_of_its_own_that_does_not_tell_its_memory_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(tmp_path, {"proc/meminfo": MEMINFO})
    board = Board("NVIDIA L40S", "GPU-l40s", 46068, errors={"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_UNKNOWN})
    assert [device.uuid for device in probe_of(FakeNvml(board, h200()), tmp_path).scan().devices] == ["GPU-h200"]
    assert "GPU NVIDIA L40S does not tell its memory and is left out" in caplog.text


def test_a_gpu_that_tells_nothing_but_its_memory_is_found_all_the_same() -> None:
    told = ("nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMemoryInfo")
    board = rtx_4080(errors={"*": pynvml.NVML_ERROR_NOT_SUPPORTED, **dict.fromkeys(told)})
    assert probe_of(FakeNvml(board)).scan().devices == (
        FoundDevice(name="NVIDIA GPU", kind="cuda", vram_total_mb=16376),
    )


def test_only_our_processes_are_told_whether_they_compute_or_draw_or_both() -> None:
    board = rtx_4080(computing=[(7, 1000), (8, 24), (99, 5000)], drawing=[(7, 1000), (9, 30)])
    reading = read_one(board, frozenset({7, 8, 9, 10}))
    assert reading.processes == {7: ProcessUse(1000, 1000), 8: ProcessUse(24, 24), 9: ProcessUse(30, 30)}


def test_an_engine_of_several_processes_is_told_with_their_sum(tmp_path: Path) -> None:
    """Workers stay in the session of the process that leads them, also when it is gone."""
    plant(tmp_path, {f"proc/{pid}/stat": f"{pid} (VLLM::Worker) S 1 {pid} 7 0" for pid in (71, 72)})
    plant(tmp_path, {"proc/80/stat": "80 (python) S 1 80 80 0"})
    board = rtx_4080(computing=[(7, 300), (71, 4000), (72, 5000), (80, 100)])
    assert read_one(board, frozenset({7}), tmp_path).processes == {7: ProcessUse(9300, 9300)}
    board.computing = [(71, 4000), (80, 100)]
    assert read_one(board, frozenset({7}), tmp_path).processes == {7: ProcessUse(4000, 4000)}


def test_a_use_that_is_hidden_makes_that_gpu_untold() -> None:
    assert read_one(rtx_4080(computing=[(7, None)]), frozenset({7})).processes is None
    hidden = rtx_4080(errors={"nvmlDeviceGetComputeRunningProcesses_v3": pynvml.NVML_ERROR_NO_PERMISSION})
    assert read_one(hidden, frozenset({7})).processes is None


def test_nobody_is_looked_for_where_nobody_runs() -> None:
    nvml = FakeNvml(rtx_4080())
    probe = probe_of(nvml)
    probe.scan()
    probe.read(NOBODY)
    assert not any("Processes" in call for call in nvml.calls)


@pytest.mark.parametrize(
    ("namespace", "listed", "expected"),
    [
        ("pid:[4026532999]", [], None),
        ("pid:[4026532999]", [(4711, 900)], None),
        ("pid:[4026532999]", [(7, 900)], {7: ProcessUse(900, 900)}),
        ("pid:[4026531836]", [], {}),
    ],
    ids=["a container", "with the host's numbers", "that is told its own", "the host"],
)
def test_in_a_container_an_absence_from_the_list_says_nothing(
    tmp_path: Path, namespace: str, listed: list[tuple[int, int | None]], expected: object
) -> None:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(namespace)
    assert read_one(rtx_4080(computing=listed), frozenset({7}), tmp_path).processes == expected


def test_an_old_driver_is_asked_by_its_older_functions() -> None:
    nvml = FakeNvml(
        rtx_4080(computing=[(7, 12)], drawing=[(8, 13)]),
        without=(
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
            "nvmlSystemGetCudaDriverVersion_v2",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetTotalEccErrors",
            "nvmlDeviceGetFieldValues",
            "nvmlEventSetCreate",
        ),
        cuda=11040,
    )
    probe = probe_of(nvml)
    assert probe.scan().cuda_driver_version == "11.4"
    (reading,) = probe.read(frozenset({7, 8}))
    assert reading.processes == {7: ProcessUse(12, 12), 8: ProcessUse(13, 13)}
    assert (reading.temp_c, reading.recovery_action) == (40.0, None)


def test_critical_errors_are_counted_by_their_number_and_board(caplog: pytest.LogCaptureFixture) -> None:
    first, second = rtx_4080(), h200()
    nvml = FakeNvml(first, second)
    probe = probe_of(nvml)
    probe.scan()
    assert nvml.watched == [first, second]
    nvml.events += [(first, 79), (first, 13), (second, 13), (first, 13)]
    assert [reading.xids for reading in probe.read(NOBODY)] == [{79: 1, 13: 2}, {13: 1}]
    assert [reading.xids for reading in probe.read(NOBODY)] == [{79: 1, 13: 2}, {13: 1}], "they stay counted"
    assert "GPU GPU-4080: Xid 79" in caplog.text


def test_critical_errors_are_watched_again_after_a_fresh_start_and_stay_counted() -> None:
    nvml = FakeNvml(rtx_4080())
    probe = probe_of(nvml)
    probe.scan()
    nvml.events.append((nvml.boards[0], 79))
    probe.read(NOBODY)
    nvml.errors = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    probe.read(NOBODY)
    nvml.errors = {}
    probe.scan()
    assert nvml.watched == nvml.boards
    assert probe.read(NOBODY)[0].xids == {79: 1}


def test_a_storm_of_critical_errors_does_not_hold_up_a_sample() -> None:
    nvml = FakeNvml(rtx_4080())
    probe = probe_of(nvml)
    probe.scan()
    nvml.events += [(nvml.boards[0], 31)] * 1000
    assert probe.read(NOBODY)[0].xids == {31: 100}


def test_critical_errors_that_are_not_told_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    nvml = FakeNvml(rtx_4080())
    nvml.errors = {"nvmlEventSetWait": pynvml.NVML_ERROR_UNKNOWN}
    probe = probe_of(nvml)
    probe.scan()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert probe.read(NOBODY)[0].xids == {}
    assert caplog.messages == ["NVML does not tell critical errors: Unknown Error"]


def test_the_end_of_nvml_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    nvml = FakeNvml(rtx_4080())
    probe = probe_of(nvml)
    probe.scan()
    nvml.errors = {"nvmlDeviceGetMemoryInfo": 9, "nvmlShutdown": pynvml.NVML_ERROR_UNKNOWN}
    probe.read(NOBODY)
    nvml.errors.pop("nvmlDeviceGetMemoryInfo")
    assert len(probe.scan().devices) == 1
