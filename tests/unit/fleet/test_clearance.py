"""Which of those who could go are the least loss together, and where that makes room."""

import pytest
from tests.unit.fleet.builder import a_node, a_report

from cortex.contract.node import DeviceKind, HarnessDetail
from cortex.fleet.clearance import EXACT_MOST, Clearance, Weight, choose_victims
from cortex.fleet.device_choice import Pool, offer_of
from cortex.fleet.eviction import Tenant


def tenant(key: str, price_s: float, *, ranks: tuple[int, ...] = (), **held: int) -> Tenant:
    """A tenant that holds so much of each device: ``d0=4000``."""
    held_mb = {int(name[1:]): mb for name, mb in held.items()}
    return Tenant(key, 1, None, ranks, price_s, None, 0.0, held_mb)


def pools(
    *totals: int, tenants: list[Tenant], kinds: tuple[DeviceKind, ...] = (), strangers: int = 0
) -> tuple[Pool, ...]:
    """The pools of a node on which exactly these tenants are."""
    models = [
        a_report(t.key, devices=tuple(t.held_mb), declared_mb=sum(t.held_mb.values()), generation=1) for t in tenants
    ]
    free = [total - strangers - sum(t.held_mb.get(index, 0) for t in tenants) for index, total in enumerate(totals)]
    detail = HarnessDetail(name="llamacpp", kind="llamacpp", usable=True)
    node = a_node("a", totals, free_mb=free, models=models, details=(detail,), kinds=kinds or None)
    assert node.discovery is not None
    assert node.memory is not None
    offer = offer_of("llamacpp", node.discovery, node.memory)
    assert offer is not None
    assert offer.pools is not None
    return offer.pools


def told(found: Clearance | None) -> tuple[list[str], list[int]]:
    assert found is not None
    return [victim.key for victim in found.victims], sorted(device.index for device in found.devices)


def test_one_goes_that_is_large_enough_rather_than_two() -> None:
    on = [tenant("small", 1.0, d0=2000), tenant("large", 2.0, d0=6000), tenant("other", 1.5, d0=4000)]
    found = choose_victims(pools(12_000, tenants=on), 1, 6000, on)
    assert told(found) == (["large"], [0])
    assert found is not None
    assert found.weight == Weight((), 2.0)


def test_a_cheap_one_that_does_not_help_stays() -> None:
    on = [tenant("tiny", 0.1, d0=100), tenant("large", 5.0, d0=6000)]
    assert told(choose_victims(pools(6100, tenants=on), 1, 6000, on)) == (["large"], [0])


def test_the_devices_and_who_goes_are_chosen_together() -> None:
    on = [tenant("dear", 9.0, d0=9000), tenant("cheap", 1.0, d1=5000), tenant("mild", 2.0, d2=9000)]
    node = pools(10_000, 6000, 10_000, tenants=on)
    assert told(choose_victims(node, 1, 5500, on)) == (["cheap"], [1])
    assert told(choose_victims(node, 1, 7000, on)) == (["mild"], [2]), "the cheap one's device is too small"
    wide = pools(10_000, 6000, 10_000, 4000, tenants=on)
    assert told(choose_victims(wide, 1, 7000, on)) == (["cheap"], [1, 3]), "half on each of two: a lesser loss"
    assert told(choose_victims(node, 2, 12_000, on)) == (["cheap", "mild"], [1, 2])


def test_one_victim_can_make_room_on_several_devices() -> None:
    on = [tenant("both", 3.0, d0=8000, d1=8000), tenant("left", 2.0, d0=2000), tenant("right", 2.0, d1=2000)]
    assert told(choose_victims(pools(10_000, 10_000, tenants=on), 2, 12_000, on)) == (["both"], [0, 1])


def test_as_few_devices_as_the_lightest_set_allows() -> None:
    on = [tenant("x", 1.0, d0=8000, d1=8000)]
    assert told(choose_victims(pools(10_000, 10_000, tenants=on), 1, 9000, on)) == (["x"], [0])


def test_the_emptiest_devices_are_taken_once_they_have_gone() -> None:
    on = [tenant("x", 1.0, d0=8000)]
    assert told(choose_victims(pools(10_000, 4000, 3000, tenants=on), 2, 7500, on)) == (["x"], [0, 1])


def test_a_device_that_could_never_hold_the_share_is_not_cleared() -> None:
    on = [tenant("here", 1.0, d0=4000), tenant("there", 5.0, d1=9000)]
    assert told(choose_victims(pools(5000, 10_000, tenants=on), 1, 6000, on)) == (["there"], [1])
    assert choose_victims(pools(5000, 10_000, tenants=on), 2, 12_000, on) is None
    assert told(choose_victims(pools(8000, 10_000, tenants=on), 1, 4000, on, 9000)) == (["there"], [1]), "nor a low one"


def test_what_strangers_hold_nobody_gives_back() -> None:
    on = [tenant("x", 1.0, d0=4000)]
    assert choose_victims(pools(10_000, tenants=on, strangers=6000), 1, 5000, on) is None
    assert told(choose_victims(pools(10_000, tenants=on, strangers=6000), 1, 4000, on)) == (["x"], [0])


def test_devices_of_several_kinds_are_never_taken_together() -> None:
    on = [tenant("x", 1.0, d0=9000), tenant("y", 1.0, d1=9000)]
    mixed = pools(10_000, 10_000, tenants=on, kinds=("cuda", "rocm"))
    assert choose_victims(mixed, 1, 16_000, on) is None
    assert told(choose_victims(mixed, 1, 9000, on)) == (["x"], [0])


@pytest.mark.parametrize("count", [EXACT_MOST, EXACT_MOST + 1, 40], ids=["exact", "one more", "many"])
def test_of_many_small_ones_only_as_many_go_as_it_takes(count: int) -> None:
    on = [tenant(f"t{at:02}", 1.0 + at / 100, d0=1000) for at in range(count)]
    assert told(choose_victims(pools(count * 1000, tenants=on), 1, 3000, on)) == (["t00", "t01", "t02"], [0])
    larger = [*on, tenant("large", 1.5, d0=3000)]
    keys, _ = told(choose_victims(pools(count * 1000 + 3000, tenants=larger), 1, 3000, larger))
    assert keys == (["large"] if len(larger) <= EXACT_MOST else keys)


def test_of_too_many_to_weigh_every_set_nobody_goes_who_could_stay() -> None:
    on = [*[tenant(f"t{at:02}", 0.01 * at, d0=500) for at in range(12)], tenant("large", 9.0, d0=9000)]
    keys, _ = told(choose_victims(pools(15_000, tenants=on), 1, 9000, on))
    assert keys == ["large"]
    assert choose_victims(pools(15_000, tenants=on, strangers=10), 1, 15_000, on) is None


def test_of_many_on_two_kinds_of_devices_the_lesser_loss_is_taken() -> None:
    here = [tenant(f"h{at:02}", 1.0 + at, d0=1000) for at in range(12)]
    there = [tenant(f"t{at:02}", 0.5 + at, d1=1000) for at in range(12)]
    for on, gone in (([*here, *there], "t00"), ([*there, *here], "t00")):
        mixed = pools(12_000, 12_000, tenants=on, kinds=("cuda", "rocm"))
        assert told(choose_victims(mixed, 1, 1000, on))[0] == [gone]
    kinds = pools(12_000, 12_000, tenants=[*here, *there], kinds=("cuda", "rocm"))
    assert told(choose_victims(kinds, 1, 2000, [*here, *there]))[0] == ["t00", "t01"], "a loss of 2 s against one of 3"


def test_ranks_weigh_before_the_price() -> None:
    assert Weight((5,), 0.1) > Weight((1, 1), 99.0)
    assert Weight((5, 5), 0.1) > Weight((5, 1), 99.0)
    assert Weight((5, 1), 0.1) > Weight((5,), 99.0)
    assert Weight((1,), 2.0).plus(tenant("x", 1.0, ranks=(5,))) == Weight((5, 1), 3.0)
    on = [
        tenant("high", 0.1, ranks=(5,), d0=8000),
        tenant("a", 3.0, ranks=(1,), d0=4000),
        tenant("b", 3.0, ranks=(1,), d0=4000),
    ]
    assert told(choose_victims(pools(16_000, tenants=on), 1, 8000, on)) == (["a", "b"], [0])
