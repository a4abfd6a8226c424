"""What all calls share: time, ids, records, and an end for all of them."""

import logging
from typing import Any

import pytest
from tests.unit.gateway.data.rig import EPOCH_S, START_S, Rig, rig, whole
from tests.unit.gateway.data.test_metric import a_record

from cortex.gateway.data.plane import CallLimit


class Watcher:
    """A running call that only looks at the clock; may be broken, may leave."""

    def __init__(self, it: Rig, *, is_broken: bool = False) -> None:
        self.swept: list[float] = []
        self.shuts = 0
        self._running = it.plane.running
        self._is_broken = is_broken
        self._running.add(self)

    def sweep(self, now_s: float) -> None:
        self.swept.append(now_s - START_S)
        if self._is_broken:
            raise ZeroDivisionError

    def shut(self) -> None:
        self.shuts += 1
        self._running.discard(self)

    def look(self) -> Any:
        raise AssertionError("nobody looks here")


def test_running_calls_are_told_the_time_at_every_sweep() -> None:
    with rig(sweep_s=0.5) as it:
        watcher = Watcher(it)
        it.loop.advance(1.6)
        assert watcher.swept == [0.5, 1.0, 1.5]
        watcher.shut()
        it.loop.advance(10)
        assert len(watcher.swept) == 3


def test_a_call_that_fails_in_the_sweep_does_not_stop_time(caplog: pytest.LogCaptureFixture) -> None:
    with rig(sweep_s=0.5) as it:
        watchers = [Watcher(it, is_broken=number == 1) for number in range(3)]
        with caplog.at_level(logging.ERROR, "cortex.gateway.data.plane"):
            it.loop.advance(1)
        assert [watcher.swept for watcher in watchers] == [[0.5, 1.0]] * 3
        assert "ZeroDivisionError" in caplog.text
        for watcher in watchers:
            watcher.shut()


def test_idle_connections_to_engines_are_closed_in_time() -> None:
    with rig() as it:
        it.leases.next(it.place())
        it.post(b'{"model":"m"}')
        engine = it.upstream.accept()
        engine.say(whole(b"{}"))
        it.loop.advance(50)
        assert not engine.transport.is_closed
        it.loop.advance(20)
        assert engine.transport.is_closed


def test_stopping_ends_every_call_and_every_idle_connection_and_the_sweep() -> None:
    with rig() as it:
        it.leases.next(it.place())
        it.post(b'{"model":"m"}')
        engine = it.upstream.accept()
        engine.say(whole(b"{}"))
        watchers = [Watcher(it) for _ in range(3)]
        it.plane.stop()
        assert [watcher.shuts for watcher in watchers] == [1, 1, 1]
        assert it.plane.running == set()
        assert engine.transport.is_closed
        assert it.loop.live() == []


def test_everybody_who_counts_is_told_of_a_request() -> None:
    with rig() as it:
        it.plane.record(a_record())
        assert it.records == [a_record()]


def test_ids_are_never_the_same() -> None:
    with rig() as it:
        ids = {it.plane.new_request_id() for _ in range(1000)}
        assert len(ids) == 1000
        assert all(one.startswith(b"req-") for one in ids)


def test_a_moment_of_the_loop_is_a_time_of_day() -> None:
    with rig() as it:
        it.loop.advance(100)
        assert it.plane.epoch_s(START_S + 40) == EPOCH_S + 40


def test_requests_have_no_limit_on_the_whole_and_the_defaults_of_the_contract() -> None:
    limit = CallLimit()
    assert (limit.first_token_timeout_s, limit.stall_timeout_s, limit.heartbeat_after_s) == (600, 300, 10)
    assert limit.max_body_bytes == 64 << 20
