"""Which news of a node is heard."""

import msgspec
from tests.unit.fleet.builder import a_discovery, a_health, a_report, take_sample

from cortex.fleet.desk import LIVES_REMEMBERED
from cortex.fleet.event import NodeSampled
from cortex.fleet.roster import Roster


def a_sample(
    asked_s: float, *, start_id: str = "one", event: int = 1, model: str = "m", node: str = "a"
) -> NodeSampled:
    return NodeSampled(
        node=node, health=a_health(), models=(a_report(model),), asked_s=asked_s, start_id=start_id, event=event
    )


def test_node_is_unknown_then_healthy_then_lost_with_its_last_models_kept() -> None:
    roster = Roster(["a"])
    assert not roster.all_tried()
    assert roster.nodes["a"].start_id == ""
    assert take_sample(roster, a_sample(1.0))
    assert roster.all_tried()
    assert roster.any_healthy()
    roster.lose("a", "timed out")
    assert not roster.any_healthy()
    assert roster.nodes["a"].why == "timed out"
    assert roster.is_listed("m")
    assert take_sample(roster, a_sample(2.0))
    assert roster.nodes["a"].why == ""


def test_sample_that_was_asked_for_earlier_is_dropped() -> None:
    roster = Roster(["a"])
    take_sample(roster, a_sample(2.0, event=1))
    assert not take_sample(roster, a_sample(1.0, event=9, model="old"))
    assert roster.is_listed("m")


def test_sample_of_an_earlier_event_is_dropped_and_of_the_same_taken() -> None:
    roster = Roster(["a"])
    take_sample(roster, a_sample(1.0, event=5))
    assert not take_sample(roster, a_sample(2.0, event=4))
    assert take_sample(roster, a_sample(2.0, event=5))


def test_new_life_counts_its_events_anew_and_the_old_one_is_not_heard_again() -> None:
    roster = Roster(["a"])
    take_sample(roster, a_sample(1.0, start_id="one", event=500))
    assert take_sample(roster, a_sample(2.0, start_id="two", event=1))
    assert roster.nodes["a"].start_id == "two"
    assert not take_sample(roster, a_sample(3.0, start_id="one", event=501))


def test_only_so_many_lives_are_remembered() -> None:
    roster = Roster(["a"])
    for life in range(LIVES_REMEMBERED + 3):
        take_sample(roster, a_sample(float(life), start_id=f"life {life}"))
    assert take_sample(roster, a_sample(99.0, start_id="life 0"))
    assert not take_sample(roster, a_sample(99.0, start_id=f"life {LIVES_REMEMBERED + 1}"))


def test_model_is_listed_as_long_as_any_node_lists_it() -> None:
    roster = Roster(["a", "b"])
    take_sample(roster, a_sample(1.0))
    take_sample(roster, a_sample(1.0, node="b"))
    take_sample(roster, a_sample(2.0, model="other"))
    assert roster.is_listed("m")
    take_sample(roster, a_sample(2.0, node="b", model="other"))
    assert not roster.is_listed("m")


def test_node_that_is_being_asked_what_it_is_made_of_has_not_been_tried_yet() -> None:
    roster = Roster(["a"])
    assert roster.desks["a"].asks_discovery(1.0)
    take_sample(roster, a_sample(1.0))
    assert not roster.all_tried()
    roster.discover("a", a_discovery(), 1.0)
    assert roster.all_tried()


def test_spans_are_moments_of_this_gateways_clock() -> None:
    roster = Roster(["a"])
    worked, idle = a_report("worked", idle_s=4.0, protected_s=10.0), a_report("idle")
    take_sample(roster, NodeSampled(node="a", health=a_health(), models=(worked, idle), asked_s=100.0))
    assert roster.nodes["a"].worked_s == {"worked": 96.0}
    assert roster.nodes["a"].safe_until_s == {"worked": 110.0}


def test_neuron_without_versions_is_heard_in_the_order_of_the_questions() -> None:
    roster = Roster(["a"])
    assert take_sample(roster, a_sample(1.0, start_id="", event=0))
    assert take_sample(roster, a_sample(2.0, start_id="", event=0))
    assert not take_sample(roster, a_sample(1.5, start_id="", event=0))


def test_news_of_a_node_that_nobody_configured_is_dropped() -> None:
    roster = Roster(["a"])
    roster.lose("b", "x")
    roster.discover("b", a_discovery())
    assert list(roster.nodes) == ["a"]


def test_discovery_is_put_on_record() -> None:
    roster = Roster(["a"])
    roster.discover("a", a_discovery((1000,)))
    assert roster.nodes["a"].discovery == a_discovery((1000,))
    assert not roster.nodes["a"].is_healthy


def test_report_of_one_model_is_on_record_before_the_next_sample_and_others_stay() -> None:
    roster = Roster(["a"])
    take_sample(roster, a_sample(1.0, model="other"))
    roster.put_report("a", a_report("m", status="loading"))
    roster.put_report("a", a_report("m", status="loaded"))
    assert {report.id: report.status for report in roster.nodes["a"].models} == {"other": "loaded", "m": "loaded"}
    roster.put_report("nowhere", a_report("m"))
    assert set(roster.nodes) == {"a"}


def test_a_neuron_that_is_too_many_versions_apart_is_in_trouble_until_it_is_upgraded() -> None:
    roster = Roster(["a"], version="0.5.1")
    for theirs, apart, troubles in (
        ("0.3.0", 2, 1),
        ("0.4.9", 1, 0),
        ("0.6.0", 1, 0),
        ("1.0.0", 1000, 1),
        ("", None, 0),
    ):
        roster.discover("a", msgspec.structs.replace(a_discovery(), neuron_version=theirs))
        view = roster.nodes["a"]
        assert (view.version_skew, len(view.troubles)) == (apart, troubles), theirs


def test_troubles_of_different_kinds_stand_beside_each_other() -> None:
    roster = Roster(["a"], version="0.5.1")
    roster.trouble("a", "another gateway goes by the gateway_id 'g'")
    roster.discover("a", msgspec.structs.replace(a_discovery(), neuron_version="0.2.0"))
    roster.trouble("a", "another gateway goes by the gateway_id 'h'")
    doubled, skewed = roster.nodes["a"].troubles
    assert "'h'" in doubled
    assert "0.2.0" in skewed
