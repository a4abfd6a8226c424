"""Which devices of a node a profile gets."""

import msgspec
import pytest
from tests.unit.fleet.builder import a_node, a_profile, a_report

from cortex.contract.node import HarnessDetail
from cortex.fleet.device_choice import DeviceChoice, NoDevices, Offer, choose_devices, offer_of
from cortex.fleet.view import NodeView


def choose(
    node: NodeView,
    *,
    harness_kinds: object = None,
    fixed: tuple[int, ...] = (),
    spread: object = None,
    **profile: object,
) -> DeviceChoice | NoDevices:
    """Choose on a node with one harness of these properties; ``fixed``: where its server is."""
    assert node.discovery is not None
    detail = HarnessDetail(
        name="llamacpp", kind="llamacpp", usable=True, is_shared=bool(fixed), device_kinds=harness_kinds, spread=spread
    )
    known = (a_report("m", "unloaded", devices=fixed),) if fixed else ()
    discovery = msgspec.structs.replace(node.discovery, harness_details=(detail,))
    node = msgspec.structs.replace(node, discovery=discovery, models=(*node.models, *known))
    assert node.memory is not None
    offer = offer_of("llamacpp", discovery, node.memory)
    assert isinstance(offer, Offer)
    return choose_devices(a_profile(**profile), offer)


def test_emptiest_devices_are_chosen_first() -> None:
    node = a_node(vram_mb=(24_000,) * 4, free_mb=[3000, 20_000, 9000, 20_000])
    assert choose(node, vram_mb=2000) == DeviceChoice((1,), True, 20_000)
    assert choose(node, vram_mb=2000, min_devices=2) == DeviceChoice((1, 3), True, 40_000)


def test_need_is_split_evenly_over_exactly_the_chosen_devices() -> None:
    node = a_node(vram_mb=(32_000, 32_000), free_mb=[28_000, 28_000])
    assert choose(node, vram_mb=54_000, min_devices=2) == DeviceChoice((0, 1), True, 56_000)
    assert choose(node, vram_mb=57_000, min_devices=2) == DeviceChoice((0, 1), False, 56_000)


def test_more_devices_than_the_least_are_taken_when_fewer_have_no_room() -> None:
    node = a_node(vram_mb=(12_000, 12_000), free_mb=[11_000, 11_000])
    assert choose(node, vram_mb=20_000) == DeviceChoice((0, 1), True, 22_000)


def test_as_few_devices_as_could_ever_hold_it_are_taken_when_none_has_room_now() -> None:
    node = a_node(vram_mb=(12_000, 12_000), free_mb=[100, 200])
    assert choose(node, vram_mb=10_000) == DeviceChoice((1,), False, 200)


def test_need_that_no_set_of_devices_can_hold_is_impossible() -> None:
    found = choose(a_node(vram_mb=(12_000, 12_000), headroom_mb=512), vram_mb=24_000)
    assert found == NoDevices("too_big", "24000 MiB do not fit on 2 devices of up to 12000 MiB (512 kept free)")


def test_nothing_fits_where_all_memory_is_kept_free() -> None:
    found = choose(a_node(vram_mb=(12_000,), headroom_mb=20_000), vram_mb=None)
    assert found == NoDevices("too_big", "nothing fits on 1 device of up to 12000 MiB (20000 kept free)")


def test_a_model_that_goes_into_a_server_gets_all_of_its_devices_and_no_others() -> None:
    node = a_node(vram_mb=(24_000,) * 4, free_mb=[3000, 4000, 20_000, 20_000])
    assert choose(node, vram_mb=2000, fixed=(0, 1)) == DeviceChoice((0, 1), True, 7000)
    assert choose(node, vram_mb=9000, fixed=(0, 1)) == DeviceChoice((0, 1), False, 7000)
    found = choose(node, min_devices=3, fixed=(0, 1))
    assert isinstance(found, NoDevices)
    assert found.reason == "has 2 devices, the model needs 3"


def test_cpu_is_not_a_second_device_beside_an_accelerator() -> None:
    node = a_node(vram_mb=(24_000, 64_000), kinds=("cuda", "cpu"))
    found = choose(node, min_devices=2)
    assert isinstance(found, NoDevices)
    assert found.code == "too_few_devices"
    assert choose(node) == DeviceChoice((0,), True, 24_000), "nor the emptier choice"


def test_cpu_serves_where_there_is_no_accelerator() -> None:
    assert choose(a_node(vram_mb=(16_000,), kinds=("cpu",))) == DeviceChoice((0,), True, 16_000)


def test_only_devices_that_the_harness_can_use_are_chosen() -> None:
    node = a_node(vram_mb=(24_000, 8_000, 64_000), kinds=("cuda", "rocm", "cpu"))
    assert choose(node, harness_kinds=("cpu", "rocm")) == DeviceChoice((1,), True, 8_000)
    assert choose(node, harness_kinds=("cpu",)) == DeviceChoice((2,), True, 64_000), "the CPU, where it can use no GPU"
    assert choose(node, harness_kinds=None) == DeviceChoice((0,), True, 24_000), "an older neuron does not say"
    assert choose(node, harness_kinds=()) == DeviceChoice((), True), "it needs none"


def test_a_model_is_never_spread_over_several_kinds() -> None:
    node = a_node(vram_mb=(24_000, 8_000, 8_000), kinds=("cuda", "rocm", "rocm"))
    assert choose(node, min_devices=2) == DeviceChoice((1, 2), True, 16_000)
    assert choose(node, vram_mb=20_000) == DeviceChoice((0,), True, 24_000)
    assert choose(node, vram_mb=15_000) == DeviceChoice((0,), True, 24_000), "one device rather than two"
    found = choose(node, vram_mb=25_000)
    assert found == NoDevices("too_big", "25000 MiB do not fit on 1 device of up to 24000 MiB")


def test_a_model_gets_one_mig_device_and_no_more() -> None:
    node = a_node(vram_mb=(20_000, 20_000), kinds=("mig", "mig"))
    assert choose(node, vram_mb=15_000) == DeviceChoice((0,), True, 20_000)
    assert choose(node, vram_mb=30_000) == NoDevices("too_big", "30000 MiB do not fit on 1 device of up to 20000 MiB")
    found = choose(node, min_devices=2)
    assert isinstance(found, NoDevices)
    assert "of which a process sees one" in found.reason


def test_a_node_whose_devices_the_harness_cannot_use_is_no_place() -> None:
    node = a_node(vram_mb=(24_000,), kinds=("cuda",))
    assert choose(node, harness_kinds=("cpu",)) == NoDevices(
        "too_few_devices", "has 0 devices that the harness can use, the model needs 1"
    )


def test_model_that_needs_no_device_gets_none_even_on_a_bare_node() -> None:
    assert choose(a_node(vram_mb=()), min_devices=0, vram_mb=None) == DeviceChoice((), True)


def test_floor_is_compared_with_the_whole_memory_of_each_device() -> None:
    node = a_node(vram_mb=(8000, 24_000, 24_000), free_mb=[8000, 100, 100])
    assert choose(node, min_device_vram_mb=10_000, min_devices=2, vram_mb=150) == DeviceChoice((1, 2), True, 200)
    found = choose(node, min_device_vram_mb=10_000, min_devices=3)
    assert found == NoDevices("devices_too_small", "has 2 devices of 10000 MiB or more, the model needs 3")


def test_unknown_free_memory_is_not_zero() -> None:
    assert choose(a_node(free_mb=[None])) == DeviceChoice((0,), None)
    assert choose(msgspec.structs.replace(a_node(), health=None)) == DeviceChoice((0,), None)


def test_unknown_need_fits_nobody_knows_where_but_prefers_the_emptiest() -> None:
    node = a_node(vram_mb=(24_000, 24_000), free_mb=[100, 5000])
    assert choose(node, vram_mb=None) == DeviceChoice((1,), None, 5000)


def test_headroom_is_not_given_away() -> None:
    node = a_node(free_mb=[1400], headroom_mb=512)
    assert choose(node, vram_mb=1000) == DeviceChoice((0,), False, 888)


@pytest.mark.parametrize(
    ("spread", "devices"),
    [(None, (0, 1, 2)), ("layers", (0, 1, 2)), ("tensors", (0, 1, 2, 3)), ("none", None)],
    ids=["nobody knows", "layers on each", "a part of every layer on each", "on one only"],
)
def test_number_of_devices_is_one_that_the_engine_can_use(spread: str | None, devices: tuple[int, ...] | None) -> None:
    found = choose(a_node(vram_mb=(10_000,) * 5), vram_mb=24_000, spread=spread)
    assert found.devices == devices if isinstance(found, DeviceChoice) else devices is None


def test_a_number_that_the_profile_names_is_tried_first_whatever_divides() -> None:
    assert choose(a_node(vram_mb=(10_000,) * 7), vram_mb=24_000, min_devices=3, spread="tensors").devices == (0, 1, 2)  # type: ignore[union-attr]
    assert choose(a_node(vram_mb=(10_000,) * 7), vram_mb=36_000, min_devices=3, spread="tensors").devices == tuple(
        range(6)
    )  # type: ignore[union-attr]
    found = choose(a_node(vram_mb=(10_000,) * 2), min_devices=2, spread="none")
    assert found == NoDevices("too_few_devices", "has a harness that puts a model on one device, the model needs 2")


def test_device_that_tells_what_is_free_is_taken_before_one_that_may_be_empty() -> None:
    node = a_node(vram_mb=(24_000, 24_000), free_mb=[None, 9000])
    assert choose(node, vram_mb=8000) == DeviceChoice((1,), True, 9000)
    assert choose(node, vram_mb=12_000) == DeviceChoice((0,), None)
    assert choose(node, vram_mb=16_000, min_devices=2) == DeviceChoice((0, 1), None, 9000)


def test_stale_sample_says_nothing_of_what_is_free() -> None:
    node = a_node(free_mb=[100])
    assert node.health is not None
    node = msgspec.structs.replace(node, health=msgspec.structs.replace(node.health, stale=True))
    assert choose(node, vram_mb=1000) == DeviceChoice((0,), None)


def test_promises_to_others_are_not_given_away() -> None:
    assert choose(a_node(free_mb=[10_000], reserved_mb=9500), vram_mb=1000) == DeviceChoice((0,), False, 500)


@pytest.mark.parametrize("reserved_mb", [0, 6000], ids=["engine runs already", "still only promised"])
def test_load_in_progress_is_counted_once(reserved_mb: int) -> None:
    loading = a_report("x", "loading", devices=(0,), declared_mb=6000)
    node = a_node(vram_mb=(10_000,), free_mb=[10_000], reserved_mb=reserved_mb, models=[loading])
    assert choose(node, vram_mb=4000) == DeviceChoice((0,), True, 4000)
    assert choose(node, vram_mb=4001) == DeviceChoice((0,), False, 4000)


def test_engine_that_has_not_taken_all_it_declared_is_counted_with_all_of_it() -> None:
    loaded = a_report("x", devices=(0, 1), declared_mb=8000, vram_used_mb=2000)
    node = a_node(vram_mb=(10_000, 10_000), free_mb=[9000, 9000], models=[loaded])
    assert choose(node, vram_mb=6000) == DeviceChoice((0,), True, 6000)


def test_unloaded_and_failed_models_hold_nothing() -> None:
    gone = [a_report("x", "unloaded", devices=(0,), declared_mb=8000), a_report("y", "failed", devices=(0,))]
    assert choose(a_node(vram_mb=(10_000,), models=gone)) == DeviceChoice((0,), True, 10_000)
