"""Things happen in the order of their times, and equal schedules leave equal traces."""

from cortex.testing.timeline import REMEMBERED, Timeline


def test_things_happen_in_the_order_of_their_times_and_equal_ones_as_they_came() -> None:
    timeline, seen = Timeline(), []
    for delay_s, name in ((2.0, "late"), (1.0, "first"), (1.0, "second")):
        timeline.later(delay_s, name, lambda name=name: seen.append((name, timeline.now_s())))  # type: ignore[misc]
    while timeline.has_more(1.5):
        timeline.step()
    assert seen == [("first", 1.0), ("second", 1.0)]
    timeline.step()
    assert (seen[-1], timeline.steps, timeline.epoch_s()) == (("late", 2.0), 3, 2.0)


def test_what_repeats_goes_on() -> None:
    timeline, seen = Timeline(), []
    timeline.repeat(3.0, lambda: seen.append(timeline.at_s))
    while timeline.has_more(10.0):
        timeline.step()
    assert seen == [3.0, 6.0, 9.0]


def test_what_is_to_happen_is_as_far_off_as_before_when_time_is_skipped() -> None:
    timeline, seen = Timeline(), []
    timeline.repeat(3.0, lambda: seen.append(timeline.at_s))
    timeline.step()
    timeline.skip(100.0)
    while timeline.has_more(110.0):
        timeline.step()
    assert seen == [3.0, 106.0, 109.0]


def test_equal_schedules_leave_equal_traces_and_only_the_last_steps() -> None:
    def played(name: str) -> Timeline:
        timeline = Timeline()
        for second in range(2 * REMEMBERED):
            timeline.later(second, name, lambda: None)
            timeline.later(second, "", lambda: None)
        while timeline.has_more(1e9):
            timeline.step()
        return timeline

    assert played("a").trace == played("a").trace != played("b").trace
    assert played("a").last == [f"{second:8.3f} a" for second in range(REMEMBERED, 2 * REMEMBERED)]
