"""An engine that is too new for the driver, or that has no code for a GPU, is warned of, once."""

import pytest

from cortex.contract.node import Device, HarnessDetail
from cortex.neuron.cuda_check import CudaCheck, fits_nothing, is_newer, suits, unsuited


@pytest.mark.parametrize(
    ("built_for", "supported", "is_so"),
    [
        ("13.0", "12.8", True),
        ("12.9", "12.8", True),
        ("12.8", "12.8", False),
        ("12.10", "12.9", True),
        ("11.8", "13.0", False),
        ("13", "12.8", True),
        ("12", "12.8", False),
        ("13", "13.0", False),
        ("13.1.1", "13.1", False),
        ("unknown", "12.8", False),
    ],
)
def test_whether_a_version_is_newer(built_for: str, supported: str, is_so: bool) -> None:
    assert is_newer(built_for, supported) is is_so


def a_detail(cuda: str | None, capability: str | None = None) -> HarnessDetail:
    return HarnessDetail(
        name="mistralrs", kind="mistralrs", usable=True, engine_cuda=cuda, engine_capability=capability
    )


RTX_5090 = Device(index=0, name="RTX 5090", vram_total_mb=32607, compute_capability="12.0")
RTX_4090 = Device(index=1, name="RTX 4090", vram_total_mb=24564, compute_capability="8.9")
UNKNOWN = Device(index=2, name="some GPU", vram_total_mb=8192)
CPU = Device(index=3, name="CPU", vram_total_mb=65536, kind="cpu")


def test_it_warns_once_with_both_versions(caplog: pytest.LogCaptureFixture) -> None:
    check = CudaCheck()
    for _ in range(2):
        check.tell([a_detail("13.0")], "570.86", "12.8")
    assert [record.getMessage() for record in caplog.records] == [
        "harness mistralrs: its engine was built for CUDA 13.0, and driver 570.86 supports CUDA 12.8 at most: "
        "update the driver, or install the build for an older CUDA"
    ]


@pytest.mark.parametrize(("cuda", "supported"), [("12.8", "13.0"), (None, "12.8"), ("13.0", None)])
def test_what_fits_or_is_not_known_is_not_warned_of(
    cuda: str | None, supported: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    CudaCheck().tell([a_detail(cuda)], None, supported)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("built_for", "capability", "does"),
    [
        ("8.9", "8.9", True),
        ("12.0", "12.1", True),
        ("12.0a", "12.0", True),
        ("12.0a", "12.1", False),
        ("12.0a", "12.10", False),
        ("8.9", "8.6", False),
        ("8.9", "9.0", False),
        ("12.0", "8.9", False),
        ("8.9", "12.0", False),
        ("10.0", "9.0", False),
    ],
)
def test_code_runs_on_gpus_of_its_major_version_from_its_own_on(built_for: str, capability: str, does: bool) -> None:
    assert suits(built_for, capability) is does


def test_only_gpus_whose_capability_is_known_are_asked_about() -> None:
    devices = [RTX_5090, RTX_4090, UNKNOWN, CPU]
    assert unsuited(a_detail("13", "12.0"), devices) == ([RTX_4090], [RTX_5090, RTX_4090])
    assert unsuited(a_detail("13", None), devices) == ([], [])


@pytest.mark.parametrize(
    ("detail", "supported", "devices", "is_so"),
    [
        (a_detail("13.2", "12.0"), "13.2", [RTX_5090, CPU], False),
        (a_detail("13.2", "12.0"), "13.2", [RTX_5090, RTX_4090], False),
        (a_detail("13.2", "12.0"), "13.2", [RTX_4090], True),
        (a_detail("13.2", "12.0"), "12.9", [RTX_5090], True),
        (a_detail("13.2", "12.0"), None, [CPU], False),
        (a_detail(None), "12.9", [RTX_4090], False),
    ],
    ids=["fits", "fits one of two", "no GPU of it", "driver too old", "no GPU", "nobody knows"],
)
def test_what_fits_neither_the_driver_nor_any_gpu_fits_nothing(
    detail: HarnessDetail, supported: str | None, devices: list[Device], is_so: bool
) -> None:
    assert fits_nothing(detail, supported, devices) is is_so


def test_it_warns_once_of_gpus_that_the_engine_has_no_code_for(caplog: pytest.LogCaptureFixture) -> None:
    check = CudaCheck()
    for _ in range(2):
        check.tell([a_detail("13.2", "12.0")], "595.71", "13.2", [RTX_5090, RTX_4090])
    assert [record.getMessage() for record in caplog.records] == [
        "harness mistralrs: its engine was built for GPUs of compute capability 12.0, and has no code for "
        "RTX 4090 (index 1, 8.9): install the build for these"
    ]
