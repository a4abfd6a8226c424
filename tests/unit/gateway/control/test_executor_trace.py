"""A load in spans: below the request that it is for, and above what the neuron does."""

from tests.unit.gateway.control.test_executor import LOAD, Desk, at_desk
from tests.unit.kit.test_tracer import Kept, a_tracer

from cortex.fleet.event import LoadFailed, LoadSucceeded
from cortex.kit.cause import NOTHING, Cause, cause_of_now, working_for
from cortex.kit.trace_context import TraceContext
from cortex.testing.fake_neuron import Refused


def test_a_load_is_told_in_a_span_below_its_request_and_the_neuron_knows_it() -> None:
    async def run(desk: Desk) -> None:
        desk.executor._tracer = a_tracer(kept := Kept(), clock=desk.clock)
        causes: list[Cause] = []
        with working_for(Cause("req-1", TraceContext(7, 8, True))):
            desk.executor.carry_out(LOAD, lambda event: (causes.append(cause_of_now()), desk.events.put_nowait(event)))
        assert isinstance(await desk.outcome(), LoadSucceeded)
        (span,) = kept.spans()
        assert (span.name, span.kind, span.error) == ("load org/m", "client", "")
        assert span.parent == TraceContext(7, 8, True)
        assert desk.neuron.heard
        for headers in desk.neuron.heard:
            assert headers["traceparent"] == span.context.traceparent.decode()
            assert headers["x-request-id"] == "req-1"
        assert causes == [NOTHING], "what follows from it is for others"

    at_desk(run)


def test_a_load_that_fails_says_so_in_its_span() -> None:
    async def run(desk: Desk) -> None:
        desk.executor._tracer = a_tracer(kept := Kept(), clock=desk.clock)
        desk.neuron.load_refusals.append(Refused(409, "no_room", "no"))
        desk.begin()
        assert isinstance(await desk.outcome(), LoadFailed)
        (span,) = kept.spans()
        assert (span.error, span.parent) == ("no_room", None)

    at_desk(run)
