"""An eviction has happened when its victim is seen to be gone, not when it was asked for."""

import pytest
from tests.unit.fleet.builder import a_report

from cortex.contract.instance import InstanceReport, Victim
from cortex.fleet.proposal import LATE_S, Proposals
from cortex.fleet.view import NodeView


def proposed(*victims: str) -> Proposals:
    proposals = Proposals()
    proposals.propose("a", [Victim(model_id=name, generation=2) for name in victims], by="m", caller="me")
    return proposals


def gone(proposals: Proposals, *reports: InstanceReport, now_s: float = 0.0) -> list[tuple[str, str, str]]:
    node = NodeView(name="a", models=reports)
    return [(one.victim, one.by, one.caller) for one in proposals.seen(node, now_s)]


@pytest.mark.parametrize(
    ("report", "has_gone"),
    [
        pytest.param(a_report("x", "loaded", generation=2), False, id="loaded"),
        pytest.param(a_report("x", "draining", generation=2), False, id="draining"),
        pytest.param(a_report("x", "unloading", generation=2), False, id="unloading"),
        pytest.param(a_report("x", "failed", generation=2), False, id="crashed"),
        pytest.param(a_report("x", "unloaded", generation=2), True, id="unloaded"),
        pytest.param(a_report("x", "loading", generation=3), True, id="another generation"),
        pytest.param(a_report("y", "loaded", generation=2), True, id="not there"),
    ],
)
def test_a_victim_has_gone_when_its_generation_is_over(report: InstanceReport, has_gone: bool) -> None:
    proposals = proposed("x")
    assert gone(proposals, report) == ([("x", "m", "me")] if has_gone else [])


def test_every_eviction_is_told_once() -> None:
    proposals = proposed("x", "y")
    assert gone(proposals, a_report("y", generation=2)) == [("x", "m", "me")]
    assert gone(proposals) == [("y", "m", "me")]
    assert gone(proposals) == []


def test_who_was_asked_for_in_vain_and_leaves_later_was_not_evicted() -> None:
    proposals = proposed("x")
    proposals.withdraw("a", "other")
    proposals.withdraw("a", "m")
    assert gone(proposals) == []


def test_who_asked_last_has_evicted_it() -> None:
    proposals = proposed("x")
    proposals.propose("a", [Victim(model_id="x", generation=2)], by="n", caller="you")
    proposals.withdraw("a", "m")
    assert gone(proposals) == [("x", "n", "you")]


def test_news_of_who_has_gone_may_come_a_little_later_than_the_end_of_the_load() -> None:
    proposals = proposed("x", "y")
    proposals.close("a", "m", 100.0)
    still_there = [a_report(name, generation=2) for name in "xy"]
    assert gone(proposals, *still_there, now_s=100.0) == []
    assert gone(proposals, still_there[1], now_s=100.0 + LATE_S - 1) == [("x", "m", "me")]
    assert gone(proposals, still_there[1], now_s=100.0 + LATE_S) == []
    assert gone(proposals, now_s=200.0) == [], "the node did not need it to go"
