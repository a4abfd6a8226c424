"""An engine that is too new for the driver is warned of, once."""

import pytest

from cortex.contract.node import HarnessDetail
from cortex.neuron.cuda_check import CudaCheck, is_newer


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


def a_detail(cuda: str | None) -> HarnessDetail:
    return HarnessDetail(name="mistralrs", kind="mistralrs", usable=True, engine_cuda=cuda)


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
