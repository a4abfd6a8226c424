"""A piece of work is one span with its parts, however many tasks do it, and ends once."""

import asyncio

import pytest
from tests.unit.kit.test_tracer import Kept, a_tracer

from cortex.contract.error import UpstreamBroken
from cortex.kit.cause import NOTHING, Cause, cause_of_now, working_for
from cortex.kit.trace_context import TraceContext
from cortex.kit.work import begin_work, leave_work, phase, take_work
from cortex.testing.virtual_clock import VirtualClock

PARENT = TraceContext(7, 8, True)


async def in_task(work) -> object:
    """Do something in a task of its own, as everything that traces work does."""
    return await asyncio.ensure_future(work)


def test_work_goes_below_what_it_is_done_for_and_has_its_parts() -> None:
    kept, clock = Kept(), VirtualClock()
    tracer = a_tracer(kept, clock=clock)

    async def part() -> None:
        with phase("inner"):
            clock.advance(1)

    async def load() -> None:
        with working_for(Cause("req-1", PARENT)):
            work = begin_work(tracer, "load m", "client", {"a": 1})
            assert cause_of_now() == Cause("req-1", work.context)
            clock.advance(1)
            with phase("prepare"):
                clock.advance(2)
            await asyncio.ensure_future(part())
            work.end(attributes={"b": 2})
            work.end("never")

    asyncio.run(in_task(load()))
    prepare, inner, whole = kept.spans()
    assert (whole.name, whole.kind, whole.parent, whole.error) == ("load m", "client", PARENT, "")
    assert whole.attributes == {"a": 1, "b": 2}
    assert [span.parent for span in (prepare, inner)] == [whole.context] * 2
    begin_s = whole.start_s
    assert [(span.start_s - begin_s, span.end_s - begin_s) for span in (prepare, inner, whole)] == [
        (1, 3), (3, 4), (0, 4),
    ]  # fmt: skip


def test_a_part_that_fails_says_how() -> None:
    kept = Kept()

    async def load() -> None:
        begin_work(a_tracer(kept), "load", "server", {})
        with pytest.raises(UpstreamBroken), phase("one"):
            raise UpstreamBroken
        with pytest.raises(KeyError), phase("two"):
            raise KeyError

    asyncio.run(in_task(load()))
    assert [(span.name, span.error) for span in kept.spans()] == [("one", "upstream_broken"), ("two", "KeyError")]


def test_where_nobody_traces_a_part_is_nothing() -> None:
    async def load() -> None:
        with phase("prepare"):
            assert take_work() is None

    asyncio.run(in_task(load()))


def test_what_is_not_recorded_is_not_told() -> None:
    kept = Kept()

    async def load() -> None:
        with working_for(Cause("", TraceContext(7, 8, False))):
            work = begin_work(a_tracer(kept), "load", "server", {})
            with phase("prepare"):
                pass
            work.end()

    asyncio.run(in_task(load()))
    assert kept.sources == []


def test_work_can_be_handed_on_and_left() -> None:
    async def load() -> None:
        work = begin_work(a_tracer(Kept()), "load", "server", {})
        assert not work.is_handed_on
        assert take_work() is work
        assert work.is_handed_on
        leave_work()
        assert take_work() is None
        assert cause_of_now() is NOTHING

    asyncio.run(in_task(load()))
