"""The life of an instance: the lawful ways, and that every other step is refused."""

from typing import get_args

import pytest

from cortex.contract.instance import InstanceStatus
from cortex.residency.lifecycle import TRANSITIONS, LifecycleEvent, Refused, transition

STATES, EVENTS = get_args(InstanceStatus), get_args(LifecycleEvent)


def walk(*events, start="unloaded"):
    path = [start]
    for event in events:
        path.append(transition(path[-1], event))
    return path[1:]


def test_a_whole_life():
    events = ("load_requested", "engine_ready", "unload_requested", "drained", "engine_gone")
    assert walk(*events) == ["loading", "loaded", "draining", "unloading", "unloaded"]


def test_a_drain_that_is_given_up_leads_back_to_loaded():
    assert walk("unload_requested", "drain_given_up", start="loaded") == ["draining", "loaded"]


@pytest.mark.parametrize("status", ["loading", "loaded"])
def test_an_engine_that_is_lost_while_wanted_has_failed(status):
    assert transition(status, "engine_lost") == "failed"


def test_an_engine_that_is_lost_while_draining_is_merely_gone_early():
    assert walk("engine_lost", "engine_gone", start="draining") == ["unloading", "unloaded"]


def test_a_load_can_be_called_off():
    assert walk("unload_requested", "engine_gone", start="loading") == ["unloading", "unloaded"]


def test_an_engine_that_does_not_go_has_failed_until_it_is_gone():
    assert walk("engine_stuck", "engine_gone", start="unloading") == ["failed", "failed"]


def test_a_failed_instance_can_be_loaded_anew_or_forgotten():
    assert transition("failed", "load_requested") == "loading"
    assert transition("failed", "unload_requested") == "unloaded"


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_whatever_is_not_in_the_table_is_refused_as_a_value(status, event):
    expected = TRANSITIONS[status].get(event, Refused(status, event))
    assert transition(status, event) == expected


def test_every_state_can_be_reached_and_left():
    reached = {after for steps in TRANSITIONS.values() for after in steps.values()}
    assert set(TRANSITIONS) == set(STATES) == reached


def test_every_event_leads_somewhere():
    assert {event for steps in TRANSITIONS.values() for event in steps} == set(EVENTS)
