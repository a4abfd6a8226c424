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
    [(holding(0, 0), True), (holding(0, 1), False), (holding(None), True), ([], True)],
    ids=["gone", "still on one", "nobody can tell", "no device"],
)
def test_a_process_must_be_gone_from_every_device(readings: list[Reading], is_back: bool) -> None:
    assert of_process(PID).is_back(readings) is is_back


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
    wanted = of_model(PID, {0: 30_000}, {0: 10_000})
    assert wanted.is_back(holding(held_mb)) is is_back


def test_a_server_may_keep_its_context_of_a_small_model() -> None:
    wanted = of_model(PID, {0: 1000}, {0: 800})
    assert wanted.is_back(holding(200 + KEPT_MB))
    assert not wanted.is_back(holding(201 + KEPT_MB))


def test_every_device_must_show_it() -> None:
    wanted = of_model(PID, {0: 9000, 1: 9000}, {0: 8000, 1: 8000})
    assert wanted.is_back(holding(3000, 3000))
    assert not wanted.is_back(holding(3000, 9000))


def test_what_was_never_measured_is_not_waited_for() -> None:
    assert of_model(PID, {0: 9000}, {}).is_back(holding(9000))
    assert of_model(PID, {}, {0: 8000}).is_back(holding(9000))


def test_a_server_that_is_gone_holds_nothing() -> None:
    assert of_model(PID, {0: 9000}, {0: 8000}).is_back(holding(0))
