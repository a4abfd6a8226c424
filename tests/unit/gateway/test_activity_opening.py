"""What is known of requests is wired: what is recorded here is shown there."""

import asyncio
from random import Random

from tests.unit.gateway.data.test_metric import a_record

from cortex.contract.activity import ActivityQuery
from cortex.contract.history import HistoryQuery
from cortex.gateway.activity_opening import GatewayActivity
from cortex.gateway.control.assembly import build_control
from cortex.gateway.settings import GatewaySettings
from cortex.kit.task import TaskOwner
from cortex.testing.virtual_clock import VirtualClock


def test_a_request_that_is_over_is_shown_and_counted_and_a_cold_one_knows_why() -> None:
    async def scene() -> None:
        clock, tasks = VirtualClock(), TaskOwner()
        control = build_control(
            GatewaySettings(), (), clock=clock, tasks=tasks, rng=Random(1), gateway_id="g", sleep=clock.sleep
        )
        activity = GatewayActivity(control, clock, tuple)
        control.dispatcher.decisions.note("placement", "it fits", now_s=1.0, model="org/m", node="beast")
        for recorder in activity.recorders:
            recorder.record(a_record(cold_start=True))
        (seen,) = activity.insight.activity(ActivityQuery()).finished
        assert seen.why is not None
        assert seen.why.reason == "it fits"
        activity.start(tasks)
        clock.advance(10.0)
        activity.historian.look()
        told = activity.insight.history(HistoryQuery(metric="requests_per_s"))
        assert told.series[0].values[-1] == 0.1
        activity.close()
        await tasks.stop()

    asyncio.run(scene())
