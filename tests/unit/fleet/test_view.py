"""Pictures of nodes."""

from math import inf

import msgspec
from tests.unit.fleet.builder import a_node, a_report

from cortex.fleet.view import Coldest


def test_report_of_a_model_is_found_by_its_id() -> None:
    node = a_node(models=[a_report("m"), a_report("n")])
    report = node.report_of("n")
    assert report is not None
    assert report.id == "n"
    assert node.report_of("x") is None


def test_spans_go_on_from_when_they_were_told_where_that_is_known() -> None:
    report = a_report("x", idle_s=10.0, protected_s=60.0)
    node = a_node(models=[report])
    assert (node.idle_s(report, 500.0), node.protected_s(report, 500.0)) == (10.0, 60.0)
    node = msgspec.structs.replace(node, worked_s={"x": 430.0}, safe_until_s={"x": 520.0})
    assert (node.idle_s(report, 500.0), node.protected_s(report, 500.0)) == (70.0, 20.0)
    assert (node.idle_s(report, 400.0), node.protected_s(report, 600.0)) == (0.0, 0.0)


def test_bounds_on_victims_are_over_those_that_could_go() -> None:
    assert a_node(models=[a_report("x", devices=(0,), in_flight=1)]).coldest is None
    models = [
        a_report("x", devices=(0,), load_s=9.0),
        a_report("y", devices=(0,), idle_s=30.0),
        a_report("busy", devices=(0,), in_flight=1, load_s=1.0),
    ]
    node = msgspec.structs.replace(
        a_node(models=models), worked_s={"x": 430.0, "busy": 1.0}, safe_until_s={"x": 520.0, "y": 600.0}
    )
    assert node.coldest == Coldest(worked_s=430.0, idle_s=30.0, safe_until_s=520.0, load_s=9.0)
    lone = a_node(models=[a_report("z", devices=(0,))])
    assert lone.coldest == Coldest(worked_s=inf, idle_s=0.0, safe_until_s=0.0, load_s=inf)
