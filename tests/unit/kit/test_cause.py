"""What is done for a request is known to be done for it, by whatever task, and by nobody else's."""

import asyncio

import pytest

from cortex.kit.cause import NOTHING, Cause, cause_of_now, valid_request_id, work_for, working_for
from cortex.kit.trace_context import TraceContext

CAUSE = Cause("req-1", TraceContext(1, 2, True, b"a=1"))


def test_another_daemon_is_told_the_request_and_the_span() -> None:
    assert CAUSE.headers() == {
        "x-request-id": "req-1",
        "traceparent": f"00-{1:032x}-{2:016x}-01",
        "tracestate": "a=1",
    }
    assert NOTHING.headers() == {}


def test_a_line_names_a_span_only_where_it_is_recorded() -> None:
    assert CAUSE.fields() == {"request_id": "req-1", "trace_id": f"{1:032x}", "span_id": f"{2:016x}"}
    assert Cause("req-1", TraceContext(1, 2, False)).fields() == {"request_id": "req-1"}
    assert NOTHING.fields() == {}


def test_tasks_work_for_what_they_were_started_for() -> None:
    async def play() -> list[Cause]:
        async def look() -> Cause:
            await asyncio.sleep(0)
            return cause_of_now()

        async def change() -> Cause:
            work_for(NOTHING)
            return cause_of_now()

        with working_for(CAUSE):
            started, changed = asyncio.ensure_future(look()), asyncio.ensure_future(change())
        return [await started, await changed, cause_of_now()]

    assert asyncio.run(play()) == [CAUSE, NOTHING, NOTHING]


@pytest.mark.parametrize("value", [None, b"", b"a b", b"a\nb", b"\xff", b"x" * 129])
def test_an_id_that_cannot_be_logged_as_it_is_is_none(value: bytes | None) -> None:
    assert valid_request_id(value) is None


def test_any_other_id_is_kept() -> None:
    assert valid_request_id(b"x" * 128) == b"x" * 128
