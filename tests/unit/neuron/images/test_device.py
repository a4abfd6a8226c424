"""The device that a ComfyUI computes on is found by what it says of itself."""

import pytest

from cortex.contract.node import Device
from cortex.neuron.images.answer import Memory, Stats
from cortex.neuron.images.device import device_of

BIG, SMALL = "NVIDIA GeForce RTX 4060 Ti", "NVIDIA GeForce RTX 4060"


def gpus(*names: str) -> tuple[Device, ...]:
    cards = [
        Device(index=n, name=name, vram_total_mb=8000, kind="cuda", uuid=f"GPU-{n}abc") for n, name in enumerate(names)
    ]
    return (*cards, Device(index=len(names), name="cpu", vram_total_mb=64000, kind="cpu"))


def said(name: str = f"cuda:0 {SMALL} : native", kind: str = "cuda", index: int | None = 0, *argv: str) -> Stats:
    return Stats(devices=[Memory(name=name, type=kind, index=index)], system={"argv": ["main.py", *argv]})


@pytest.mark.parametrize(
    ("stats", "devices", "chosen"),
    [
        (said(), gpus(SMALL), 0),
        (said("cuda:0 Other : native"), gpus(SMALL), 0),
        (said("cpu", "cpu", None), gpus(SMALL), 1),
        (said("cpu", "cpu", None), gpus(SMALL)[:1], None),
        (said("npu:0", "npu"), gpus(SMALL), None),
        (said(), gpus(BIG, SMALL), 1),
        (said(f"cuda:0 {BIG} : native"), gpus(BIG, SMALL), 0),
        (said(), gpus(SMALL, SMALL), 0),
        (said(f"cuda:1 {SMALL}", "cuda", 1), gpus(SMALL, SMALL), 1),
        (said(f"cuda:9 {SMALL}", "cuda", 9), gpus(SMALL, SMALL), 0),
        (said(f"cuda:0 {SMALL}", "cuda", 0, "--cuda-device", "1"), gpus(SMALL, SMALL), 1),
        (said(f"cuda:0 {SMALL}", "cuda", 0, "--cuda-device=2"), gpus(BIG, SMALL, SMALL), 2),
        (said(f"cuda:0 {SMALL}", "cuda", 0, "--default-device", "1"), gpus(SMALL, SMALL), 1),
        (said(f"cuda:0 {SMALL}", "cuda", 0, "--cuda-device"), gpus(SMALL, SMALL), 0),
        (said(f"cuda:0 {SMALL}", "cuda", 0, "--cuda-device", "x"), gpus(SMALL, SMALL), 0),
        (Stats(), gpus(SMALL), None),
    ],
    ids=[
        "the only one",
        "under another name",
        "the CPU",
        "a CPU that is no device",
        "something else",
        "by its name",
        "by its longer name",
        "of two",
        "of two the second",
        "a place that there is not",
        "by an option",
        "by an option in one word",
        "by another option",
        "an option without a value",
        "an option that says nothing",
        "nothing said",
    ],
)
def test_the_device_is_found(stats: Stats, devices: tuple[Device, ...], chosen: int | None) -> None:
    found = device_of(stats, None, devices)
    assert (found.index if found else None) == chosen


@pytest.mark.parametrize(
    ("visible", "index", "chosen"),
    [("1", 0, 1), ("1, 0", 1, 0), ("GPU-1a", 0, 1), ("GPU-1a,GPU-0a", 1, 0), ("GPU-9", 0, 0), ("", 1, 1), (",", 0, 0)],
)
def test_an_operator_may_tell_what_it_was_shown(visible: str, index: int, chosen: int) -> None:
    found = device_of(said(f"cuda:{index} {SMALL}", "cuda", index), visible, gpus(SMALL, SMALL))
    assert found is not None
    assert found.index == chosen
