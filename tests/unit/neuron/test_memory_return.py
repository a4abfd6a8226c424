"""When memory counts as given back: by a process that is gone, and by a model of a server that stays."""

import pytest

from cortex.neuron.discovery.interface import ProcessUse, Reading
from cortex.neuron.memory_return import KEPT_MB, of_model, of_process

PID = 7


def holding(*held_mb: int | None) -> list[Reading]:
    """Return readings of devices on which the process holds so much; None: the device cannot tell."""
    return [
        Reading() if mb is None else Reading(processes={PID: ProcessUse(mb, mb)} if mb else {9: ProcessUse(5, 5)})
        for mb in held_mb
    ]


@pytest.mark.parametrize(
    ("readings", "is_back"),
    [(holding(0, 0), True), (holding(0, 1), False), (holding(None, 0), None), (holding(0, None), True), ([], True)],
    ids=["gone", "still on one", "nobody can tell", "one that it was not on does not tell", "no device"],
)
def test_a_process_must_be_gone_from_every_device(readings: list[Reading], is_back: bool | None) -> None:
    assert of_process(PID, {0: 100}, [Reading(), Reading()]).is_back(readings) is is_back


@pytest.mark.parametrize(
    ("before", "after", "is_back"),
    [
        (9000, Reading(vram_used_mb=9000), None),
        (9000, Reading(vram_used_mb=5001), None),
        (9000, Reading(vram_used_mb=5000), True),
        (9000, Reading(), None),
        (None, Reading(vram_used_mb=0), None),
        (9000, Reading(vram_used_mb=0, trouble="its driver does not answer"), None),
        (9000, Reading(vram_used_mb=9000, processes={}), True),
        (9000, Reading(processes={PID: ProcessUse(1, 1)}, trouble="its driver does not answer"), None),
    ],
    ids=[
        "nothing less in use",
        "too little less in use",
        "half of it less in use",
        "use is not told any more",
        "use was not told before",
        "an old sample",
        "processes are told now",
        "an old sample that has the process",
    ],
)
def test_where_processes_are_not_told_less_must_be_in_use_and_unknown_is_not_free(
    before: int | None, after: Reading, is_back: bool | None
) -> None:
    assert of_process(PID, {0: 8000}, [Reading(vram_used_mb=before)]).is_back([after]) is is_back


@pytest.mark.parametrize(
    ("held_mb", "is_back"),
    [
        (30_000, False),
        (22_501, False),
        (22_500, True),
        (20_000, True),
    ],
    ids=["nothing came back", "not quite enough", "all but a quarter", "all of it"],
)
def test_a_server_must_hold_less_by_most_of_what_the_model_held(held_mb: int, is_back: bool) -> None:
    wanted = of_model(PID, {0: 30_000}, {0: 10_000}, {}, [])
    assert wanted.is_back(holding(held_mb)) is is_back


def test_a_server_may_keep_its_context_of_a_small_model() -> None:
    wanted = of_model(PID, {0: 1000}, {0: 800}, {}, [])
    assert wanted.is_back(holding(200 + KEPT_MB))
    assert not wanted.is_back(holding(201 + KEPT_MB))


def test_every_device_must_show_it() -> None:
    wanted = of_model(PID, {0: 9000, 1: 9000}, {0: 8000, 1: 8000}, {}, [])
    assert wanted.is_back(holding(3000, 3000))
    assert not wanted.is_back(holding(3000, 9000))


def test_what_was_never_measured_is_not_waited_for() -> None:
    assert of_model(PID, {0: 9000}, {}, {}, []).is_back(holding(9000))
    assert of_model(PID, {}, {0: 8000}, {}, []).is_back(holding(9000))


def test_a_model_that_no_device_measures_must_show_in_what_is_in_use() -> None:
    wanted = of_model(PID, {}, {}, {0: 8000}, [Reading(vram_used_mb=10_000)])
    assert wanted.is_back([Reading(vram_used_mb=10_000)]) is None
    assert wanted.is_back([Reading(vram_used_mb=6000)])


def test_a_server_that_is_gone_holds_nothing() -> None:
    assert of_model(PID, {0: 9000}, {0: 8000}, {}, []).is_back(holding(0))


@pytest.mark.parametrize(
    ("before_mb", "after_mb", "is_less"),
    [(9000, 9000, False), (9000, 5001, False), (9000, 5000, True), (9000, None, True), (None, 9000, True)],
    ids=["as much", "hardly less", "less", "not told any more", "not told before"],
)
def test_what_is_in_use_must_be_less_where_that_is_told(
    before_mb: int | None, after_mb: int | None, is_less: bool
) -> None:
    wanted = of_process(PID, {0: 8000, 3: 1}, [Reading(vram_used_mb=before_mb)])
    assert wanted.is_less([Reading(vram_used_mb=after_mb, processes={})]) is is_less
