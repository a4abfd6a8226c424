"""What the first page shows of the fleet."""

import asyncio

import msgspec
from tests.unit.fleet.builder import a_node, a_report
from tests.unit.gateway.admin.dashboard.stage import desk_of
from tests.unit.gateway.admin.fake_insight import a_finished
from tests.unit.gateway.admin.scene import BEAST, BENJY, FakeFleet, a_model, a_view

from cortex.gateway.admin.dashboard.fleet_page import (
    NodeCard,
    Totals,
    fleet_picture,
    look_at_fleet,
    node_cards,
    speeds_of,
)


def cards(fleet: FakeFleet) -> tuple[NodeCard, ...]:
    return node_cards(fleet.view(), {})


def test_every_node_has_a_card_in_configured_order() -> None:
    assert [card.entry.name for card in cards(FakeFleet())] == ["beast", "benjy"]


def test_a_card_has_the_devices_and_what_holds_them() -> None:
    (beast, benjy) = cards(FakeFleet())
    assert [device.number for device in beast.devices] == [0, 1]
    assert [row.entry.model for row in beast.instances] == ["org/big"]
    assert [row.entry.status for row in benjy.instances] == ["failed"]


def test_what_was_unloaded_is_no_row() -> None:
    fleet = FakeFleet()
    fleet.now = a_view([a_node("beast", models=[a_report("org/gone", "unloaded")])], [])
    assert cards(fleet)[0].instances == ()


def test_instances_that_serve_stand_before_those_that_come_and_go() -> None:
    fleet = FakeFleet()
    reports = [a_report("a", "failed"), a_report("b", "loading"), a_report("d", "loaded"), a_report("c", "loaded")]
    fleet.now = a_view([a_node("beast", models=reports)], [])
    assert [row.entry.model for row in cards(fleet)[0].instances] == ["c", "d", "b", "a"]


def test_a_row_says_who_waits_and_that_nobody_answers() -> None:
    fleet = FakeFleet()
    report = msgspec.structs.replace(a_report("org/big", generation=3), waiting=7, silent_s=12.0)
    fleet.now = a_view([a_node("beast", models=[report])], [a_model()])
    (row,) = cards(fleet)[0].instances
    assert (row.waiting, row.is_silent) == (7, True)


def test_the_totals_count_what_can_be_used() -> None:
    fleet = FakeFleet()
    totals = fleet_picture(fleet.view(), fleet.queues(), {})["totals"]
    assert isinstance(totals, Totals)
    assert (totals.nodes, totals.healthy, totals.devices) == (2, 1, 2)  # benjy cannot be reached
    assert (totals.used_mb, totals.total_mb) == (23_000, 64_000)
    assert (totals.loaded, totals.in_flight, totals.waiting) == (1, 2, 1)


def test_the_page_is_filled_with_the_queues_too() -> None:
    fleet = FakeFleet()
    filling = asyncio.run(look_at_fleet(desk_of(fleet), {}))
    assert [queue.model for queue in filling["queues"]] == ["org/big"]
    assert BEAST.name in {card.entry.name for card in filling["nodes"]}
    assert BENJY.name in {card.entry.name for card in filling["nodes"]}


def test_a_card_is_equal_as_long_as_it_is_shown_alike() -> None:
    fleet = FakeFleet()

    def shown(idle_s: float, in_flight: int = 0) -> NodeCard:
        report = a_report("org/big", generation=3, idle_s=idle_s, in_flight=in_flight)
        fleet.now = a_view([a_node("beast", models=[report])], [a_model(replicas=())])
        return cards(fleet)[0]

    assert shown(61.0) == shown(119.0)
    assert shown(61.0) != shown(121.0)
    assert shown(3.0) == shown(9.9)
    assert shown(9.9) != shown(10.0)


def test_speeds_are_those_of_the_last_minute() -> None:
    over = [
        a_finished(ended_epoch_s=950.0, tokens_per_s=10.0),
        a_finished(ended_epoch_s=990.0, tokens_per_s=31.0),
        a_finished(ended_epoch_s=900.0, tokens_per_s=500.0),
        a_finished(ended_epoch_s=990.0, tokens_per_s=None),
        a_finished(ended_epoch_s=990.0, node="benjy", tokens_per_s=7.0),
    ]
    assert speeds_of(over, 1000.0) == {("org/big", "beast"): 20.5, ("org/big", "benjy"): 7.0}
