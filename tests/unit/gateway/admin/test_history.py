"""What is looked at and when, and how it is asked for."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from tests.unit.fleet.builder import a_health, a_node, a_report
from tests.unit.gateway.admin.fake_insight import FakeTraffic
from tests.unit.gateway.admin.scene import FakeFleet, a_model, a_view

from cortex.contract.error import CortexError, MalformedRequest, ModelNotFound, NodeNotFound
from cortex.contract.history import History, HistoryQuery
from cortex.contract.node import DeviceReading, Health
from cortex.fleet.view import FleetView
from cortex.gateway.admin.history import LOOK_S, Historian
from cortex.gateway.ports import Tally

READ = Health(
    uptime_secs=1.0,
    devices=(DeviceReading(index=0, vram_used_mb=700, power_w=80.5), DeviceReading(index=1, vram_used_mb=300)),
)


class Scene:
    def __init__(self) -> None:
        self.fleet = FakeFleet()
        self.traffic = FakeTraffic()
        self.clock = self.fleet.clock
        self.historian = Historian(self.fleet, self.traffic, self.clock, sleep=self.clock.sleep)

    def step(self, **tallies: Tally) -> None:
        self.traffic.next = tallies
        self.clock.advance(LOOK_S)
        self.historian.look()

    def told(self, **keys: object) -> History:
        return self.historian.tell(HistoryQuery(**keys))  # type: ignore[arg-type]

    def tail(self, metric: str, count: int = 1, **keys: object) -> list[tuple[float | None, ...]]:
        return [series.values[-count:] for series in self.told(metric=metric, **keys).series]


@pytest.fixture
def it() -> Scene:
    return Scene()


def test_the_whole_gateway_is_the_sum_of_all_models_and_of_what_named_none(it: Scene) -> None:
    it.step(**{"org/big": Tally(requests=20), "": Tally(requests=10)})
    assert it.tail("requests_per_s") == [(3.0,)]
    assert it.tail("requests_per_s", model="big") == [(2.0,)]
    by_model = it.told(metric="requests_per_s", by="model").series
    assert [series.model for series in by_model] == ["org/big"]


def test_requests_that_run_and_wait_are_those_of_the_picture(it: Scene) -> None:
    it.step()
    assert it.tail("in_flight,waiting") == [(2.0,), (1.0,)]
    it.fleet.now = a_view(models=[a_model(waiting=0, replicas=())])
    it.step()
    assert it.tail("in_flight,waiting", 2) == [(2.0, 0.0), (1.0, 0.0)]
    assert it.tail("in_flight", 2, by="model") == [(2.0, 0.0)]


@pytest.mark.parametrize(
    ("change", "used"),
    [
        (lambda node: msgspec.structs.replace(node, health=READ), 1000.0),
        (lambda node: msgspec.structs.replace(node, health=READ, is_healthy=False), None),
        (lambda node: msgspec.structs.replace(node, health=a_health()), None),
        (lambda node: msgspec.structs.replace(node, discovery=None), None),
    ],
    ids=["healthy", "unhealthy", "no reading", "not discovered"],
)
def test_a_nodes_memory_is_that_of_its_gpus_while_it_answers(
    it: Scene, change: Callable[[object], object], used: float | None
) -> None:
    it.fleet.now = a_view([change(a_node("beast", (32_000, 32_000)))], [])  # type: ignore[list-item]
    it.step()
    assert it.tail("vram_used_mb", node="beast") == [(used,)]


def test_a_nodes_power_is_that_of_the_devices_that_tell_it(it: Scene) -> None:
    node = a_node("beast", (32_000, 32_000))
    changes: list[dict[str, object]] = [
        {"health": READ},
        {"health": READ, "is_healthy": False},
        {"health": a_health()},
        {"health": None},
    ]
    for change in changes:
        it.fleet.now = a_view([msgspec.structs.replace(node, **change)], [])
        it.step()
    assert it.tail("power_w", 4, node="beast") == [(80.5, None, None, None)]


def test_of_a_node_with_a_gpu_its_ram_does_not_count_and_of_one_without_it_does(it: Scene) -> None:
    nodes = [
        msgspec.structs.replace(
            a_node(name, (1000, 64_000)),
            health=READ,
            discovery=msgspec.structs.replace(
                a_node(name, (1000, 64_000)).discovery,
                devices=tuple(
                    msgspec.structs.replace(device, kind=kind)
                    for device, kind in zip(a_node("x", (1000, 64_000)).discovery.devices, kinds, strict=True)  # type: ignore[union-attr]
                ),
            ),
        )
        for name, kinds in (("mixed", ("cuda", "cpu")), ("plain", ("cpu", "cpu")))
    ]
    it.fleet.now = a_view(nodes, [])
    it.step()
    assert it.tail("vram_used_mb", node="mixed") == [(700.0,)]
    assert it.tail("vram_used_mb", node="plain") == [(1000.0,)]
    assert [series.node for series in it.told(by="node", metric="vram_used_mb").series] == ["mixed", "plain"]


def test_series_say_when_they_begin_and_how_long_a_step_is(it: Scene) -> None:
    it.step()
    hour, day = it.told(), it.told(span="24h")
    assert (hour.step_s, day.step_s) == (10.0, 300.0)
    assert {len(series.values) for series in hour.series} == {360}
    assert hour.start_epoch_s + 360 * 10 == it.clock.epoch_s()
    assert day.series == ()  # its first step is not over
    for _ in range(30):
        it.step(**{"org/big": Tally(requests=30)})
    assert {len(series.values) for series in it.told(span="24h").series} == {288}
    assert it.tail("requests_per_s", 2, span="24h")[0][1] == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"metric": "request_per_s"}, MalformedRequest, "did you mean 'requests_per_s'"),
        ({"by": "node", "model": "big"}, MalformedRequest, "Ask for one model, or for one node"),
        ({"model": "big", "node": "beast"}, MalformedRequest, "Ask for one model, or for one node"),
        ({"model": "bgi"}, ModelNotFound, "did you mean"),
        ({"node": "baest"}, NodeNotFound, "did you mean 'beast'"),
    ],
)
def test_what_cannot_be_answered_is_said(
    it: Scene, keys: dict[str, object], error: type[CortexError], words: str
) -> None:
    with pytest.raises(error, match=words):
        it.told(**keys)


def test_it_looks_at_the_end_of_every_step_and_a_defect_does_not_end_that(
    it: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        it.clock.advance(3.0)
        running = asyncio.get_running_loop().create_task(it.historian.run())
        it.traffic.next = {"org/big": Tally(requests=7)}
        await it.clock.step(7.0)
        assert it.tail("requests_per_s") == [(0.7,)]
        it.fleet.now = None  # type: ignore[assignment]
        await it.clock.step(10.0)
        it.fleet.now = a_view(models=[a_model("org/big", loading_on=None)], nodes=[a_node(models=[a_report()])])
        it.traffic.next = {"org/big": Tally(requests=20)}
        await it.clock.step(10.0)
        assert it.tail("requests_per_s") == [(1.0,)]
        running.cancel()

    asyncio.run(scene())
    assert "looking at the fleet for its history" in caplog.text


def test_a_loop_that_wakes_up_early_leaves_no_step_out(it: Scene) -> None:
    class SlowFleet(FakeFleet):
        def view(self) -> FleetView:
            it.clock.advance(0.002)  # a look takes its time: the step is over after one that came too early
            return super().view()

    slept: list[float] = []

    async def early(delay_s: float) -> None:
        slept.append(delay_s)
        if len(slept) > 8:
            raise asyncio.CancelledError
        it.clock.advance(delay_s - 0.001 if delay_s > 1 else delay_s)

    historian = Historian(SlowFleet(), it.traffic, it.clock, sleep=early)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(historian.run())
    (series,) = historian.tell(HistoryQuery(metric="requests_per_s")).series
    assert series.values[-3:] == (0.0, 0.0, 0.0)
