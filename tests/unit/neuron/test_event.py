"""The number of the newest change."""

from cortex.neuron.event import EventCounter


def test_it_only_grows_and_keeps_its_start() -> None:
    events = EventCounter("life")
    first = events.event
    events.bump()
    events.bump()
    assert (events.start_id, events.event) == ("life", first + 2)
