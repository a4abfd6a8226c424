"""Which plans are out of date: those on devices where something has changed since."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex.contract.instance import LoadRequest
from cortex.contract.node import Device
from cortex.neuron.basis import Basis, another_life
from cortex.neuron.harness.interface import Launch, Prepared
from cortex.neuron.instance import Instance
from cortex.neuron.refusal import Stale


def instance(model_id: str, status: str, *devices: int, generation: int = 1) -> Instance:
    made = Instance(model_id)
    made.status = status  # type: ignore[assignment]
    made.launch = Launch(
        request=LoadRequest(model_id=model_id, harness="h"),
        prepared=Prepared(need_mb=1, is_estimate=False, parallel=1),
        generation=generation,
        nonce="n",
        devices=tuple(Device(index=index, name="d", vram_total_mb=1) for index in devices),
        ordinals=tuple(range(len(devices))),
        log=Path("log"),
    )
    return made


@contextlib.contextmanager
def stale() -> Iterator[None]:
    with pytest.raises(Stale) as refusal:
        yield
    assert refusal.value.details == {"reason": "basis"}


def test_a_plan_made_before_a_change_on_its_devices_is_stale() -> None:
    basis = Basis()
    basis.note([instance("a", "loading", 0)], 5)
    with stale():
        basis.check(4, (0, 1), 9)
    basis.check(5, (0, 1), 9)
    basis.check(4, (1,), 9)


def test_a_change_elsewhere_or_none_at_all_makes_nothing_stale() -> None:
    basis = Basis()
    one, other = instance("a", "loaded", 0), instance("b", "loaded", 1)
    basis.note([one, other], 2)
    other.status = "draining"
    basis.note([one, other], 3)
    basis.note([one, other], 8)
    basis.check(2, (0,), 9)
    with stale():
        basis.check(2, (1,), 9)


def test_an_instance_that_goes_elsewhere_changes_both_places() -> None:
    basis = Basis()
    basis.note([instance("a", "loaded", 0)], 2)
    basis.note([instance("a", "loading", 1, generation=2)], 7)
    for device in (0, 1):
        with stale():
            basis.check(6, (device,), 9)


def test_a_plan_that_goes_by_what_has_not_happened_is_of_another_life() -> None:
    with stale():
        Basis().check(10, (0,), 9)


def test_without_a_basis_nothing_is_stale() -> None:
    basis = Basis()
    basis.note([instance("a", "loading", 0)], 5)
    basis.check(None, (0,), 9)


def test_a_plan_of_another_life_is_refused_as_any_other_that_is_out_of_date() -> None:
    with stale():
        raise another_life("start-2")
