"""Figures over time as plots and as tables, from the same series."""

import asyncio
import json
from typing import get_args

import msgspec
import pytest
from tests.unit.gateway.admin.dashboard.stage import Browser, call_of, desk_of
from tests.unit.gateway.admin.scene import FakeFleet, a_health, a_view

from cortex.contract.error import ModelNotFound
from cortex.contract.history import HistoryMetric
from cortex.gateway.admin.dashboard.history_page import (
    PLANS,
    WORDS,
    amount,
    look_at_history,
    read_history,
    read_plots,
    table_of,
)
from cortex.gateway.admin.history import LOOK_S
from cortex.gateway.ports import Tally

THIN = "\u202f"


TOLD = [plan for plan in PLANS if not plan.is_left_out]
"""Those that there is something for where no device tells its power."""


def measured(steps: int = 2, power_w: float | None = None) -> FakeFleet:
    fleet = FakeFleet()
    beast, benjy = fleet.now.nodes
    health = a_health((1, 1))
    readings = tuple(msgspec.structs.replace(reading, power_w=power_w) for reading in health.devices)
    fleet.now = a_view(
        [msgspec.structs.replace(beast, health=msgspec.structs.replace(health, devices=readings)), benjy]
    )
    for _ in range(steps):
        fleet.seen.traffic.next = {"org/big": Tally(requests=20, completion_tokens=500)}
        fleet.clock.advance(LOOK_S)
        fleet.seen.historian.look()
    return fleet


def test_before_anything_was_measured_there_is_nothing() -> None:
    assert asyncio.run(look_at_history(desk_of(FakeFleet()), {}))["plots"] == []
    assert "Nothing was measured yet" in Browser(fleet=FakeFleet()).get("history").body.decode()


def test_every_figure_has_its_plot_and_its_word() -> None:
    assert {metric for plan in PLANS for metric in plan.metrics} == set(get_args(HistoryMetric)) == set(WORDS)


def test_the_whole_gateway_has_its_plots_and_those_by_model_and_by_node() -> None:
    _, plots = read_plots(desk_of(measured()), "1h", "")
    assert [plot.name for plot in plots] == [plan.name for plan in TOLD]
    by_name = {plot.name: plot for plot in plots}
    assert [line.label for line in by_name["requests"].lines] == ["requests", "errors"]
    assert [line.label for line in by_name["models"].lines] == ["org/big"]
    assert [line.label for line in by_name["memory"].lines] == ["beast", "benjy"]
    assert by_name["requests"].lines[0].values[-2:] == (2.0, 2.0)


def test_power_has_its_plot_where_devices_tell_it() -> None:
    _, plots = read_plots(desk_of(measured(power_w=80.0)), "1h", "")
    assert [plot.name for plot in plots] == [plan.name for plan in PLANS]
    (line,) = plots[-1].lines
    assert (plots[-1].unit, line.label, line.values[-1]) == ("w", "beast", 160.0)


def test_one_model_has_its_own_and_an_alias_will_do() -> None:
    _, plots = read_plots(desk_of(measured()), "1h", "big")
    assert {plot.name for plot in plots} == {"requests", "tokens", "running", "first", "cold"}
    with pytest.raises(ModelNotFound):
        read_plots(desk_of(measured()), "1h", "bgi")


def test_the_series_come_as_json_for_the_script() -> None:
    response = asyncio.run(read_history(desk_of(measured()), call_of({"span": "1h"}))).response
    assert response is not None
    told = json.loads(bytes(response.body))
    assert (told["step_s"], len(told["plots"])) == (10.0, len(TOLD))
    tokens = next(plot for plot in told["plots"] if plot["name"] == "tokens")
    assert (tokens["unit"], tokens["lines"][0]["label"], tokens["lines"][0]["values"][-1]) == ("per_s", "generated", 50)
    assert {len(line["values"]) for plot in told["plots"] for line in plot["lines"]} == {360}


def test_the_table_has_the_means_of_the_last_parts_the_newest_first() -> None:
    history, plots = read_plots(desk_of(measured(40)), "1h", "")
    rows = table_of(plots[0], history).rows
    assert [values for _, values in rows] == [("2", "0"), ("2", "0")]
    assert rows[0][0] - rows[1][0] == 300.0


def test_a_span_that_is_not_offered_is_the_last_hour() -> None:
    assert asyncio.run(look_at_history(desk_of(FakeFleet()), {"span": "1y"}))["span"] == "1h"


def test_amounts_have_their_units_and_what_nobody_knows_is_a_dash() -> None:
    shown = [amount(1536, "mb"), amount(0.25, "s"), amount(12.3456, "per_s"), amount(80.4, "w"), amount(None, "s")]
    assert shown == [f"1.5{THIN}GiB", f"250{THIN}ms", "12.3", f"80{THIN}W", "–"]


def test_the_page_has_a_place_for_each_plot_and_a_table_beside_it() -> None:
    told = Browser(fleet=measured()).get("history", "span=1h&model=").body.decode()
    assert told.count('class="plot"') == told.count("As a table") == len(TOLD)
    assert 'data-source="/dashboard/history/data?span=1h"' in told
