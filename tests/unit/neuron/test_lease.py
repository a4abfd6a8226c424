"""The book follows the instances, what it changes is told once and numbered, posts are answered with what is new."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.neuron.fake_node import LEASE_TTL_S, MODEL, FakeNode, a_node

from cortex.contract.instance import UnloadRequest
from cortex.contract.lease import HealthSample, Lease, LeaseAnswer, LeasePost
from cortex.contract.node import DeviceReading
from cortex.neuron.event_feed import EventFeed
from cortex.neuron.harness.interface import Activity
from cortex.neuron.held_file import NOBODY, HeldFile
from cortex.neuron.lease import ASK_INTERVAL_S, LeaseDesk, Leases, longest_ttl_s, sampled, serving_now
from cortex.neuron.refusal import Stale, TooManyGateways
from cortex.neuron.state_dir import StateDir
from cortex.residency.lease_book import LeaseBook

SAMPLE = HealthSample(age_s=1.0)


class Desk:
    """A desk over a node with one loaded model; it counts the posts of every gateway."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.feed = EventFeed(node.events, node.supervisor.reports, node.supervisor.health, node.leases.slots)
        self.desk = LeaseDesk(node.leases, node.events, self.feed, node.supervisor.reports, lambda: SAMPLE)
        self.seqs: dict[str, int] = {}

    @property
    def event(self) -> int:
        return self.node.events.event

    @property
    def generation(self) -> int:
        launch = self.node.instances[MODEL].launch
        assert launch is not None
        return launch.generation

    def post(self, gateway: str = "a", in_flight: int = 0, waiting: int = 0, **more: object) -> LeaseAnswer:
        """Let a gateway report that has seen everything, unless the test says otherwise."""
        self.seqs[gateway] = self.seqs.get(gateway, 0) + 1
        lease = Lease(model_id=MODEL, generation=self.generation, in_flight=in_flight, waiting=waiting)
        fields = {"start_id": "start-1", "seen_event": self.event, "seq": self.seqs[gateway], "leases": (lease,)}
        return self.desk.answer(LeasePost(gateway_id=gateway, **{**fields, **more}))  # type: ignore[arg-type]

    def slots(self, gateway: str) -> int:
        return next(grant.slots for grant in self.node.leases.slots_of(gateway, -1))


def at_desk(tmp_path: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_node(tmp_path) as node:
            desk = Desk(node)
            await node.load(parallel=4)
            await scenario(desk)

    asyncio.run(run())


def test_where_nothing_has_changed_the_answer_is_tiny(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post()
        for _ in range(3):
            desk.node.clock.advance(LEASE_TTL_S / 2)
            desk.post()
        event = desk.event
        answer = desk.post()
        assert (answer.event, answer.start_id, answer.snapshot) == (event, "start-1", False)
        assert set(msgspec.to_builtins(answer)) == {"start_id", "event", "ttl_s", "cancel_settle_s", "health"}
        assert len(msgspec.json.encode(answer)) < 150

    at_desk(tmp_path, scenario)


def test_the_answer_holds_what_has_changed_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        first = desk.post()
        await desk.node.load("lab/other")
        answer = desk.post(seen_event=first.event)
        assert [(report.id, report.status) for report in answer.models] == [("lab/other", "loaded")]
        assert (answer.snapshot, answer.gone, answer.slots) == (False, (), ())

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"start_id": "another"}, id="of another process"),
        pytest.param({"start_id": ""}, id="of none"),
        pytest.param({"seen_event": 10**9}, id="what has not been yet"),
        pytest.param({"seen_event": 0}, id="what is not kept"),
    ],
)
def test_who_has_seen_nothing_of_it_gets_everything(tmp_path: Path, seen: dict[str, object]) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post()
        answer = desk.post(**seen)
        assert answer.snapshot
        assert [report.id for report in answer.models] == [MODEL]
        assert [harness.name for harness in answer.harnesses] == ["fake"]
        assert [(grant.model_id, grant.generation, grant.slots) for grant in answer.slots] == [(MODEL, 1, 4)]

    at_desk(tmp_path, scenario)


def test_a_model_in_use_is_told_by_its_engines_count_until_it_has_been_idle_for_a_lease(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.node.harness.engines[0].activity_now = Activity(in_flight=2, work=7)
        await desk.node.supervisor.look()
        assert [(use.model_id, use.in_flight, use.age_s) for use in desk.post().in_use] == [(MODEL, 2, 0.0)]
        desk.node.harness.engines[0].activity_now = Activity(in_flight=0, work=7)
        await desk.node.supervisor.look()
        desk.node.clock.advance(LEASE_TTL_S)
        assert [(use.in_flight, use.idle_s, use.age_s) for use in desk.post().in_use] == [(0, LEASE_TTL_S, LEASE_TTL_S)]
        desk.node.clock.advance(1)
        assert desk.post().in_use == ()

    at_desk(tmp_path, scenario)


def test_slots_that_move_are_one_change_which_the_stream_tells_as_well(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a")
        before = desk.event
        desk.post("b", waiting=1)
        assert desk.event == before + 1
        change = desk.feed.since(before)
        assert change is not None
        assert (change.models, change.event) == ((), before + 1)
        told = desk.feed._kept[-1].slots
        assert [(one.gateway_id, one.slots) for one in told] == [("a", 3), ("b", 0)]
        answer = desk.post("a", seen_event=before)
        assert ([grant.slots for grant in answer.slots], desk.slots("b")) == ([3], 0)
        assert (desk.post("a").slots, desk.slots("b")) == ((), 1)

    at_desk(tmp_path, scenario)


def test_the_stream_tells_that_a_lease_which_has_ended_has_no_slots(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a")
        desk.node.clock.advance(LEASE_TTL_S)
        await desk.node.load("lab/other")
        told = [one for change in desk.feed._kept for one in change.slots]
        assert [(one.gateway_id, one.slots) for one in told] == [("a", 4), ("a", 0)]

    at_desk(tmp_path, scenario)


def test_a_post_that_comes_too_late_is_stale_and_names_the_newest(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post(seq=7)
        event = desk.event
        with pytest.raises(Stale) as refusal:
            desk.post(in_flight=3, seq=7)
        assert refusal.value.details == {"seq": 7}
        assert (desk.event, desk.node.leases.in_flight(MODEL, desk.generation, desk.node.clock.now_s())) == (event, 0)

    at_desk(tmp_path, scenario)


def test_an_unload_that_begins_is_seen_by_the_book_at_the_change_that_tells_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a", in_flight=1)
        before, leases = desk.event, desk.node.leases
        desk.node.harness.engines[0].activity_now = Activity(in_flight=1, work=1)
        await desk.node.supervisor.unload(UnloadRequest(model_id=MODEL, wait=False))
        now_s = desk.node.clock.now_s()
        desk.post("a", in_flight=1, seen_event=before)
        assert not leases.has_all_acknowledged(MODEL, desk.generation, now_s)
        desk.post("a", in_flight=1, seen_event=before + 1)
        assert leases.has_all_acknowledged(MODEL, desk.generation, now_s)
        assert leases.in_flight(MODEL, desk.generation, now_s) == 1

    at_desk(tmp_path, scenario)


def test_who_holds_a_model_is_told_its_slots_at_once(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a", leases=())
        desk.post("b", leases=())
        before = desk.event
        assert desk.node.leases.hold("a", MODEL) == 4
        assert desk.event == before + 1
        assert desk.node.leases.hold("a", MODEL) == 4
        assert desk.event == before + 1
        assert desk.node.leases.hold("b", MODEL) == 0
        assert desk.node.leases.hold("b", "lab/unknown") is None

    at_desk(tmp_path, scenario)


def test_gateways_without_number_are_refused_in_the_end(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(256):
            desk.node.leases.hold(f"g{number}", MODEL)
        with pytest.raises(TooManyGateways):
            desk.node.leases.hold("one more", MODEL)
        with pytest.raises(TooManyGateways):
            desk.post("one more")
        assert len(desk.node.leases.book.holders(MODEL)) == 256

    at_desk(tmp_path, scenario)


def test_an_engine_is_asked_when_somebody_waits_for_what_it_may_be_done_with(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        node, engine = desk.node, desk.node.harness.engines[0]
        running = asyncio.create_task(node.leases.run(node.supervisor.look, node.clock.sleep))
        engine.activity_now = Activity(in_flight=4, work=1)
        desk.post("a", in_flight=4)
        desk.post("b", waiting=4)
        desk.post("a", in_flight=4)
        engine.activity_now = Activity(in_flight=2, work=2)
        desk.post("a", in_flight=2)
        assert (desk.slots("a"), desk.slots("b")) == (2, 0)
        await desk.node.let_pass(lambda: desk.slots("b") > 0)
        assert (desk.slots("a"), desk.slots("b")) == (2, 2)
        running.cancel()

    at_desk(tmp_path, scenario)


def test_a_round_of_questions_that_fails_is_not_the_last(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        asked = 0

        async def ask() -> None:
            nonlocal asked
            asked += 1
            raise ValueError("a defect")

        node = desk.node
        running = asyncio.create_task(node.leases.run(ask, node.clock.sleep))
        desk.post("a", in_flight=4)
        desk.post("b", waiting=4)
        desk.post("a", in_flight=2)
        await node.clock.until_asleep()
        assert asked == 1
        node.leases.sampled()
        node.clock.advance(ASK_INTERVAL_S)
        await node.clock.until_asleep()
        assert asked == 2
        running.cancel()

    at_desk(tmp_path, scenario)


def test_time_alone_moves_slots_of_who_fell_silent(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a")
        desk.node.clock.advance(LEASE_TTL_S / 2)
        desk.post("b", waiting=2)
        desk.node.clock.advance(LEASE_TTL_S / 2)
        before = desk.event
        await desk.node.supervisor.look()
        desk.node.leases.sampled()
        assert (desk.slots("b"), desk.event) == (4, before + 1)

    at_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    ("written", "longest_s"),
    [
        pytest.param(None, 40.0, id="nothing written yet"),
        pytest.param(b"90.0", 90.0, id="longer before"),
        pytest.param(b"5", 40.0, id="shorter before"),
        pytest.param(b"?", 40.0, id="nonsense"),
        pytest.param(b"inf", 40.0, id="no number to wait for"),
        pytest.param(b"nan", 40.0, id="no number at all"),
    ],
)
def test_the_longest_lease_of_this_and_the_last_process_is_waited_for(
    tmp_path: Path, written: bytes | None, longest_s: float
) -> None:
    state = StateDir(tmp_path / "state")
    try:
        if written is not None:
            state.write_file("lease_ttl_s", written)
        assert longest_ttl_s(state, 40.0) == longest_s
        assert longest_ttl_s(state, 40.0) == 40.0
    finally:
        state.close()


def test_what_is_held_is_written_down_before_its_gateway_learns_of_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        node = desk.node
        leases = Leases(
            LeaseBook(ttl_s=LEASE_TTL_S, cancel_settle_s=10, known_from_s=0),
            node.events,
            node.clock,
            lambda: serving_now(node.instances, lambda _: NOBODY),
            held=HeldFile(node.state),
        )
        assert not HeldFile(node.state).held_before(desk.generation)
        leases.hold("a", MODEL)
        assert HeldFile(node.state).held_before(desk.generation) == {"a"}
        leases.post(LeasePost(gateway_id="a", seq=1, leaving=True))
        assert not HeldFile(node.state).held_before(desk.generation), "who has left in order is not waited for"

    at_desk(tmp_path, scenario)


def test_a_sampled_device_is_what_the_health_has_without_what_is_null() -> None:
    reading = DeviceReading(index=0, vram_used_mb=5, temp_c=40.0)
    device = sampled((reading,))[0]
    assert msgspec.json.encode(device) == b'{"index":0,"vram_used_mb":5,"temp_c":40.0}'
    assert msgspec.json.decode(msgspec.json.encode(device), type=DeviceReading) == reading


def test_a_snapshot_has_the_slots_that_the_changes_before_it_told(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.post("a")
        told = desk.feed.whole()
        assert [(change.gateway_id, change.slots) for change in told.slots] == [("a", 4)]
        desk.node.clock.advance(LEASE_TTL_S)
        assert desk.node.leases.in_flight(MODEL, desk.generation, desk.node.clock.now_s()) == 0, "the lease has ended"
        assert (desk.feed.whole().event, desk.feed.whole().slots) == (told.event, told.slots), "which nobody was told"
        desk.node.leases.tick()
        assert desk.feed.whole().event == told.event + 1
        assert desk.feed.whole().slots == ()
        (change,) = desk.feed.after(told.event)
        assert [(ended.gateway_id, ended.slots) for ended in change.slots] == [("a", 0)]

    at_desk(tmp_path, scenario)
