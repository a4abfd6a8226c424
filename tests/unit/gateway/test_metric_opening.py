"""A gateway's metrics, put together: everything is asked at every scrape, what others add included."""

import asyncio
from random import Random

from prometheus_client.core import Metric
from tests.unit.fleet.builder import a_profile
from tests.unit.gateway.data.hand_loop import FakeLoop
from tests.unit.gateway.data.test_metric import a_record

from cortex.gateway.control.assembly import build_control
from cortex.gateway.data.metric import gauge
from cortex.gateway.metric_opening import GatewayMetrics
from cortex.gateway.settings import GatewaySection, GatewaySettings, NeuronEntry
from cortex.kit.clock import SystemClock
from cortex.kit.task import TaskOwner


def scraped(turns: int = 0, **section: object) -> dict[str, Metric]:
    """Return the families of a gateway whose loop has turned so often, with a source of somebody else's."""

    async def run() -> dict[str, Metric]:
        loop, settings = FakeLoop(), GatewaySettings(
            gateway=GatewaySection(**section), neurons=(NeuronEntry(name="a", endpoint="http://127.0.0.1:9"),)
        )  # fmt: skip
        control = build_control(
            settings, [a_profile()], clock=SystemClock(), tasks=TaskOwner(), rng=Random(1), gateway_id="g"
        )
        metrics = GatewayMetrics(control, settings.gateway, loop.time, gateway_id="g")
        metrics.add(lambda: [gauge("cortex_x", "X.", (), [((), 3.0)])])
        metrics.requests.record(a_record())
        control.dispatcher.decisions.note("failure", "r", now_s=0.0, model="m", node="a", code="engine_killed")
        metrics.start(loop)  # type: ignore[arg-type]
        loop.advance(0.25 * turns)
        metrics.stop()
        assert loop.live() == [], "who stops leaves no timer"
        return {family.name: family for family in metrics.requests.collect()}

    return asyncio.run(run())


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_requests_decisions_the_fleet_and_others_are_in_one_scrape() -> None:
    found = scraped()
    assert values(found["cortex_requests"]) == {("org/m", "beast"): 1}
    assert values(found["cortex_load_failures"]) == {("m", "a", "engine_killed"): 1}
    assert values(found["cortex_node_healthy"]) == {("a",): 0}
    assert values(found["cortex_model_ready_replicas"]) == {("m",): 0}
    assert values(found["cortex_x"]) == {(): 3}


def test_who_waits_can_be_compared_with_how_many_may() -> None:
    found = scraped(max_waiting=70)
    assert values(found["cortex_queue_limit"]) == {(): 70}
    assert values(found["cortex_requests_waiting"]) == {(): 0}


def test_the_loop_is_looked_at_as_long_as_the_gateway_runs() -> None:
    (count,) = [
        sample for sample in scraped(8)["cortex_event_loop_lag_seconds"].samples if sample.name.endswith("_count")
    ]
    assert count.value == 8
