"""What engines need besides GPUs is judged by the models that there are."""

from pathlib import Path

import pytest

from cortex.cli.doctor.file import GIB
from cortex.cli.doctor.host import Disk
from cortex.cli.doctor.node.memory import (
    judge_advertised,
    judge_cache,
    judge_group,
    judge_ram,
    judge_range,
    judge_state_place,
)

BIG = (Path("/srv/models/big.gguf"), 40 * GIB)


@pytest.mark.parametrize(
    ("total", "largest", "result"),
    [(64 * GIB, BIG, "ok"), (32 * GIB, BIG, "warn"), (32 * GIB, None, "ok"), (None, BIG, "skipped")],
)
def test_ram_holds_the_largest_model(total: int | None, largest: tuple[Path, int] | None, result: str) -> None:
    assert judge_ram(total, largest).result == result


@pytest.mark.parametrize(
    ("limit", "total", "largest", "result"),
    [
        (None, 64 * GIB, BIG, "ok"),
        (128 * GIB, 64 * GIB, BIG, "ok"),
        (48 * GIB, 64 * GIB, BIG, "ok"),
        (8 * GIB, 64 * GIB, BIG, "warn"),
        (8 * GIB, 64 * GIB, None, "ok"),
    ],
)
def test_the_control_group_holds_it_too(
    limit: int | None, total: int, largest: tuple[Path, int] | None, result: str
) -> None:
    assert judge_group(limit, total, largest).result == result


@pytest.mark.parametrize(("kind", "result"), [("xfs", "ok"), ("tmpfs", "warn"), ("nfs", "warn")])
def test_state_is_on_a_disk_of_this_host(kind: str, result: str) -> None:
    disk = Disk(Path("/var/lib"), True, True, kind, GIB, GIB)
    found = judge_state_place(disk, Path("/var/lib/cortex-neuron"))
    assert (found.result, found.about) == (result, "state_dir")


@pytest.mark.parametrize(
    ("free", "writable", "result"), [(100 * GIB, True, "ok"), (5 * GIB, True, "warn"), (100 * GIB, False, "warn")]
)
def test_models_can_be_fetched(free: int, writable: bool, result: str) -> None:
    disk = Disk(Path("/var/cache"), True, writable, "xfs", 200 * GIB, free)
    assert judge_cache(disk, Path("/var/cache/hub"), is_writable=writable).result == result


@pytest.mark.parametrize(
    ("free", "held", "result"),
    [
        (10, (), "ok"),
        (8, (), "ok"),
        (9, ("9001 is held by sshd",), "warn"),
        (0, tuple(f"{n} is held by x" for n in range(10)), "warn"),
    ],
    ids=["free", "ours", "one", "all"],
)
def test_ports_of_engines_that_others_have_are_told(free: int, held: tuple[str, ...], result: str) -> None:
    found = judge_range("llamacpp", 9000, 9009, free, held)
    assert found.result == result
    assert f"{free} of the 10 ports from 9000 to 9009 are free" in found.found


@pytest.mark.parametrize(
    ("host", "addresses", "why_not", "here", "result"),
    [
        (None, (), "", False, "ok"),
        ("gpu1", ("10.0.0.5",), "", True, "ok"),
        ("gpu1", ("10.0.0.5",), "", False, "warn"),
        ("gpu1", (), "Name or service not known", False, "warn"),
    ],
    ids=["none", "here", "elsewhere", "nowhere"],
)
def test_the_host_that_callers_are_told_is_this_one(
    host: str | None, addresses: tuple[str, ...], why_not: str, here: bool, result: str
) -> None:
    assert judge_advertised(host, addresses, why_not, is_here=here).result == result
