"""Time in which a replayed fleet is at rest is skipped, and nothing comes out otherwise for that."""

import pytest

from cortex.contract.profile import Profile
from cortex.fleet.dispatcher import Policy
from cortex.testing.replay_fleet import ReplayFleet, ReplayNode
from cortex.testing.replay_rest import REST_S, STEP_S, SteadyDice, to_skip_s
from cortex.testing.replay_run import Replay
from cortex.testing.replay_trace import Arrival

FLEET = ReplayFleet(nodes=(ReplayNode(name="a", devices_mb=(24_000,)),))
PROFILES = tuple(
    Profile(id=name, harness="llamacpp", vram_mb=vram_mb, idle_unload_s=idle_unload_s)
    for name, vram_mb, idle_unload_s in (("big", 20_000, None), ("small", 9_000, None), ("brief", 9_000, 400.0))
)
TRACE = (
    Arrival(at_s=0.0, model="small", duration_s=3.0),
    Arrival(at_s=1.0, model="brief", duration_s=350.0),
    Arrival(at_s=700.0, model="big", duration_s=2.0),
    Arrival(at_s=701.5, model="none", duration_s=1.0),
    Arrival(at_s=1234.5, model="brief", duration_s=1.0),
    Arrival(at_s=2500.25, model="brief", duration_s=1.0),
    Arrival(at_s=2501.0, model="small", duration_s=1.0),
)
"""Gaps of many lengths, a long request within one, an idle unload before the next one and one that has not come yet."""


KEPT = (Profile(id="kept", harness="llamacpp", vram_mb=15_000, min_replicas=1), *PROFILES)


def played(
    *,
    skips: bool,
    trace: tuple[Arrival, ...] = TRACE,
    strategy: str = "lru",
    profiles: tuple[Profile, ...] = PROFILES,
) -> Replay:
    return Replay(FLEET, profiles, trace, policy=Policy(strategy=strategy), skips=skips)  # type: ignore[arg-type]


def test_the_outcome_is_the_same_with_the_rest_and_without_it() -> None:
    whole, skipped = played(skips=False, strategy="cost"), played(skips=True, strategy="cost")
    expected = whole.run()
    assert skipped.run() == expected
    assert skipped._time.steps < 0.75 * whole._time.steps, "nothing was skipped"
    assert expected.idle_unloads == 1
    assert expected.evictions >= 1
    assert expected.cold_starts >= 4


def test_what_a_steward_keeps_is_there_when_it_is_asked_for_and_comes_back_during_a_rest() -> None:
    names = ((0.0, "kept"), (10.0, "big"), (3000.0, "kept"))
    trace = tuple(Arrival(at_s=at_s, model=model, duration_s=2.0) for at_s, model in names)
    whole, skipped = (played(skips=skips, trace=trace, profiles=KEPT) for skips in (False, True))
    expected = whole.run()
    assert (expected.served, expected.by_model, expected.loads) == (3, {"big": 1}, {"a": 3})
    assert skipped.run() == expected
    assert skipped._time.steps < 0.75 * whole._time.steps, "nothing was skipped"


def test_a_year_of_rest_takes_no_longer_than_an_hour() -> None:
    steps = []
    for gap_s in (3600.0, 365 * 86_400.0):
        trace = (TRACE[0], Arrival(at_s=gap_s, model="small", duration_s=1.0))
        replay = played(skips=True, trace=trace)
        assert replay.run().served == 2
        steps.append(replay._time.steps)
    assert steps[1] <= 1.2 * steps[0]


@pytest.mark.parametrize(("left_s", "skipped_s"), [(0.0, 0.0), (REST_S + STEP_S - 1, 0.0), (REST_S + 150.0, 120.0)])
def test_enough_of_a_rest_is_played_and_the_others_in_whole_steps(left_s: float, skipped_s: float) -> None:
    assert to_skip_s(left_s, REST_S) == skipped_s


def test_steady_dice_fall_in_the_middle() -> None:
    dice = SteadyDice(0)
    assert (dice.uniform(1.0, 3.0), dice.random(), dice.choice("abc") in "abc") == (2.0, 0.5, True)
