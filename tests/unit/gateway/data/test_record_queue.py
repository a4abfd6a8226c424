"""Records reach those who count together, soon, all of them, and before anybody reads."""

import logging

import pytest
from tests.unit.gateway.data.hand_loop import FakeLoop
from tests.unit.gateway.data.rig import Records
from tests.unit.gateway.data.test_metric import a_record

from cortex.gateway.data.record import RequestRecord
from cortex.gateway.data.record_queue import HELD_S, MAX_HELD, RecordQueue


class Broken:
    """Cannot take a thing."""

    def record(self, record: RequestRecord) -> None:
        raise ZeroDivisionError(record.request_id)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def queue(loop: FakeLoop) -> RecordQueue:
    return RecordQueue(loop)  # type: ignore[arg-type]


def test_a_record_reaches_everybody_within_a_moment(loop: FakeLoop, queue: RecordQueue) -> None:
    first, second, record = Records(), Records(), a_record()
    queue.feed((first, second))
    queue.record(record)
    assert first == []
    loop.advance(HELD_S)
    assert first == second == [record]
    assert loop.live() == []


def test_many_records_are_handed_over_at_once_in_their_order(loop: FakeLoop, queue: RecordQueue) -> None:
    taken = Records()
    queue.feed((taken,))
    records = [a_record(request_id=f"r{number}") for number in range(MAX_HELD + 1)]
    for record in records:
        queue.record(record)
    assert taken == records[:MAX_HELD]
    loop.advance(HELD_S)
    assert taken == records


def test_whoever_is_to_read_has_everything_handed_over_first(loop: FakeLoop, queue: RecordQueue) -> None:
    taken = Records()
    queue.feed((taken,))
    queue.record(a_record())
    queue.hand_over()
    assert len(taken) == 1
    assert loop.live() == [], "nothing is left to wait for"
    queue.hand_over()
    queue.record(a_record())
    loop.advance(HELD_S)
    assert len(taken) == 2


def test_a_defect_in_one_of_them_takes_nothing_from_the_others(
    loop: FakeLoop, queue: RecordQueue, caplog: pytest.LogCaptureFixture
) -> None:
    taken = Records()
    queue.feed((Broken(), taken))
    queue.record(a_record(request_id="r1"))
    queue.record(a_record(request_id="r2"))
    with caplog.at_level(logging.ERROR):
        queue.hand_over()
    assert [record.request_id for record in taken] == ["r1", "r2"]
    assert "Broken cannot take the record of r1" in caplog.text
