"""Gateways that share the instances of one neuron, on one heap of (time, event), around its own book and shell.

Seeded: the same seed is the same run. Messages are lost, late, doubled and overtaken; gateways die, hang, come back and
leave; the neuron hangs and is restarted over its engines; engines crash and are slow to notice that somebody has gone.
After every step the rules of ``LeaseReferee`` are checked; after ``calm_s`` nothing goes wrong any more, and everything
must come to rest.
"""

from collections.abc import Callable
from functools import partial
from random import Random

import msgspec

from cortex.contract.event import NodeChange
from cortex.contract.lease import LeaseAnswer, LeasePost
from cortex.neuron.refusal import DoubleGateway, Stale
from cortex.testing.lease_referee import LeaseReferee
from cortex.testing.leased_node import LeasedNode, SentRequest
from cortex.testing.leasing_gateway import Hold, LeasingGateway
from cortex.testing.node_fate import NodeFate
from cortex.testing.timeline import Timeline

CALM_S = 90.0
ARRIVALS_END_S = 100.0
REST_S = 150.0
LEAVE_END_S = 185.0
POLL_S = 3.0
ANSWER_WAIT_S = 4.0
SAMPLE_S = 2.0
LOOK_S = 0.1
FATE_S = 3.0


class LeaseTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes wrong: chances between 0 and 1, drawn per occasion."""

    lost: float = 0.1
    doubled: float = 0.1
    longest_delay_s: float = 1.0
    fate: float = 0.5
    """Of something befalling the node or a gateway, every few seconds."""
    cancelled: float = 0.3


class LeaseOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounted to; ``trace`` is equal for equal seeds."""

    seed: int
    steps: int
    sent: int
    drained: int
    given_up: int
    shared: int
    """Changes under which slots moved."""
    restarts: int
    orphans: int
    debris: int
    trace: int


class LeaseSimulation:
    """One run."""

    def __init__(
        self, seed: int, *, trouble: LeaseTrouble | None = None, gateways: int = 3, models: int = 2, requests: int = 150
    ) -> None:
        self._seed = seed
        self._rng = Random(seed)
        self._trouble = trouble or LeaseTrouble()
        self._time = Timeline()
        self._later = self._time.later
        self._referee = LeaseReferee(self._time.last)
        self._models = [f"m{number}" for number in range(models)]
        self._sent = self._shared = 0
        self._requests = requests
        self._gateways = [LeasingGateway(f"g{number}") for number in range(gateways)]
        self._streams: dict[str, float] = {}
        """Who listens, and when the last message so far reaches it."""
        self._node = LeasedNode(self._time, self._changed)
        self._fate = NodeFate(self._node, self._time, self._rng, self._referee, CALM_S)

    def run(self) -> LeaseOutcome:
        """Play until everything is over; raise SimulationFailure when a rule is broken."""
        for model in self._models:
            self._fate.load(model)
        for gateway in self._gateways:
            self._later(self._rng.uniform(0, 1), f"start {gateway.name}", partial(self._begin, gateway))
        for _ in range(self._requests):
            self._later(self._rng.uniform(1, ARRIVALS_END_S), "arrival", self._arrive)
        self._time.repeat(SAMPLE_S, self._fate.sample)
        self._time.repeat(LOOK_S, self._fate.look)
        self._time.repeat(FATE_S, self._meet_fate, "fate")
        self._later(CALM_S, "calm", self._calm_down)
        self._later(REST_S, "rest", lambda: self._referee.check_rest(self._node, self._gateways))
        for gateway in self._gateways:
            self._later(REST_S + self._rng.uniform(0.1, 2), f"end {gateway.name}", partial(self._leave_or_die, gateway))
        while self._time.has_more(LEAVE_END_S):
            self._time.step()
            self._referee.compare(self._node, self._gateways, self._now_s)
        self._referee.check_end(self._node, self._now_s)
        return LeaseOutcome(
            seed=self._seed,
            steps=self._time.steps,
            sent=self._sent,
            drained=self._fate.drained,
            given_up=self._fate.given_up,
            shared=self._shared,
            restarts=self._fate.restarts,
            orphans=self._referee.orphans,
            debris=self._referee.debris,
            trace=self._time.trace,
        )

    @property
    def _now_s(self) -> float:
        return self._time.at_s

    @property
    def _is_calm(self) -> bool:
        return self._now_s >= CALM_S

    def _happens(self, chance: float) -> bool:
        return not self._is_calm and self._rng.random() < chance

    def _delay_s(self) -> float:
        return self._rng.uniform(
            0.001, 0.1 if self._is_calm or self._rng.random() < 0.7 else self._trouble.longest_delay_s
        )

    # Messages

    def _to_node(self, what: str, act: Callable[[], None]) -> None:
        """Carry a message to the neuron, or lose it, or carry it twice; one that hangs takes it in later."""

        def arrive() -> None:
            if self._now_s < self._node.waits_until_s:
                self._later(self._node.waits_until_s - self._now_s, what, arrive)
            elif self._node.is_up:
                act()

        if not self._happens(self._trouble.lost):
            self._later(self._delay_s(), what, arrive)
        if self._happens(self._trouble.doubled):
            self._later(self._delay_s(), f"{what}, again", arrive)

    def _to_gateway(
        self, gateway: LeasingGateway, what: str, act: Callable[[], None], *, delay_s: float | None = None
    ) -> None:
        """Carry a message to this process of a gateway, if it is still there when it comes."""
        process = gateway.process

        def arrive() -> None:
            if not gateway.is_alive or gateway.process != process:
                return
            if self._now_s < gateway.waits_until_s:
                self._later(gateway.waits_until_s - self._now_s, what, arrive)
            else:
                act()
                self._pump(gateway)

        self._later(self._delay_s() if delay_s is None else delay_s, what, arrive)

    # Gateways

    def _begin(self, gateway: LeasingGateway) -> None:
        self._to_gateway(gateway, f"{gateway.name} polls", partial(self._poll, gateway), delay_s=0.01)
        self._to_gateway(gateway, f"{gateway.name} listens", partial(self._listen, gateway), delay_s=0.02)

    def _poll(self, gateway: LeasingGateway) -> None:
        self._post(gateway)
        next_s = POLL_S * self._rng.uniform(0.9, 1.1)
        self._to_gateway(gateway, f"{gateway.name} polls", partial(self._poll, gateway), delay_s=next_s)

    def _post(self, gateway: LeasingGateway) -> None:
        """Report, or do so when the report under way is over."""
        post, sent_s = gateway.post(self._now_s), self._now_s
        if post is None:
            return
        settled: list[None] = []

        def over(outcome: LeaseAnswer | Stale | DoubleGateway | None) -> None:
            if settled:
                return
            settled.append(None)
            self._answered(gateway, outcome, post, sent_s)

        cancelled = self._cancelled_by(gateway)
        self._to_node(
            f"post {post.seq} of {gateway.name}",
            partial(self._take_post, gateway, gateway.process, post, cancelled, over),
        )
        self._to_gateway(gateway, f"no answer for {gateway.name}", lambda: over(None), delay_s=ANSWER_WAIT_S)

    def _take_post(
        self,
        gateway: LeasingGateway,
        process: int,
        post: LeasePost,
        cancelled: list[SentRequest],
        over: Callable[[LeaseAnswer | Stale | DoubleGateway | None], None],
    ) -> None:
        outcome: LeaseAnswer | Stale | DoubleGateway
        seen = self._node.leases.seen_by(post)
        cut = self._referee.cut(gateway.name, process, self._node)
        try:
            outcome = self._node.desk.answer(post)
        except (Stale, DoubleGateway) as refusal:
            outcome = refusal
        else:
            self._referee.heard(gateway.name, self._now_s)
            self._referee.reported(gateway, process, seen, self._node)
            for request in (*cancelled, *cut):
                request.reported_s = self._now_s if request.reported_s is None else request.reported_s
            if self._node.leases.book.is_contended():
                self._later(self._rng.uniform(0.01, 0.3), "engines are asked", self._fate.sample)
        if not self._happens(self._trouble.lost) and gateway.process == process:
            self._to_gateway(gateway, f"answer to post {post.seq} of {gateway.name}", lambda: over(outcome))

    def _cancelled_by(self, gateway: LeasingGateway) -> list[SentRequest]:
        """Return the cancelled requests that a report of now includes; one that leaves takes its leases with it."""
        held = set() if gateway.is_leaving else {(model, hold.generation) for model, hold in gateway.holds.items()}
        who = (gateway.name, gateway.process)
        return [
            request
            for request in self._referee.open
            if request.is_cancelled
            and (request.gateway, request.process) == who
            and (request.model, request.generation) in held
        ]

    def _answered(
        self,
        gateway: LeasingGateway,
        outcome: LeaseAnswer | Stale | DoubleGateway | None,
        post: LeasePost,
        sent_s: float,
    ) -> None:
        if outcome is None:
            gateway.take_silence(self._now_s)
        elif isinstance(outcome, Stale):
            newest = outcome.details["seq"]
            assert isinstance(newest, int)
            gateway.take_refusal(newest, self._now_s)
        elif isinstance(outcome, DoubleGateway):
            self._referee.check(False, f"{gateway.name} is taken for two")
        else:
            gateway.take_answer(outcome, post, sent_s, self._now_s)
            self._referee.answered(gateway, self._node)
            if post.leaving:
                gateway.is_alive = False
        self._post_if_wanted(gateway)

    def _post_if_wanted(self, gateway: LeasingGateway) -> None:
        if gateway.desk.wants_post:
            self._post(gateway)

    def _listen(self, gateway: LeasingGateway) -> None:
        """Open the event stream, from what was seen last."""
        since = (gateway.start_id, gateway.event)
        self._to_node(f"{gateway.name} opens its stream", partial(self._open_stream, gateway, since))
        self._to_gateway(gateway, f"stream of {gateway.name}?", partial(self._listen_again, gateway), delay_s=5.0)

    def _listen_again(self, gateway: LeasingGateway) -> None:
        if gateway.name not in self._streams:
            self._listen(gateway)
        else:
            self._to_gateway(gateway, f"stream of {gateway.name}?", partial(self._listen_again, gateway), delay_s=2.0)

    def _open_stream(self, gateway: LeasingGateway, since: tuple[str, int]) -> None:
        feed, events = self._node.feed, self._node.events
        self._streams[gateway.name] = self._now_s
        if since[0] == events.start_id and feed.since(since[1]) is not None:
            for change in feed.after(since[1]):
                self._stream(gateway, change, is_whole=False)
        else:
            self._stream(gateway, feed.whole(), is_whole=True)

    def _changed(self) -> None:
        """Tell the newest change to everybody who listens, in order."""
        changes = self._node.feed.after(self._node.events.event - 1)
        self._shared += bool(changes[-1].slots)
        for gateway in self._gateways:
            if gateway.name in self._streams:
                self._stream(gateway, changes[-1], is_whole=False)

    def _stream(self, gateway: LeasingGateway, change: NodeChange, *, is_whole: bool) -> None:
        if self._happens(self._trouble.lost / 3):
            self._streams.pop(gateway.name, None)
        if gateway.name not in self._streams:
            return
        at_s = max(self._streams[gateway.name], self._now_s + self._delay_s())
        self._streams[gateway.name] = at_s
        self._to_gateway(
            gateway, f"{gateway.name} hears of {change.event}", partial(self._hear, gateway, change, is_whole),
            delay_s=at_s - self._now_s,
        )  # fmt: skip

    def _hear(self, gateway: LeasingGateway, change: NodeChange, is_whole: bool) -> None:
        gateway.take_change(change, self._now_s, is_whole=is_whole)
        self._post_if_wanted(gateway)

    # Requests

    def _arrive(self) -> None:
        gateway = self._rng.choice(self._gateways)
        if gateway.is_alive and not gateway.is_leaving and self._now_s >= gateway.waits_until_s:
            model = self._rng.choice(self._models)
            gateway.waiting.setdefault(model, []).append(self._now_s)
            self._pump(gateway)
            if gateway.waiting.get(model):
                self._post(gateway)

    def _pump(self, gateway: LeasingGateway) -> None:
        """Send what may be sent, and find out where that is."""
        for model, queue in gateway.waiting.items():
            if queue and gateway.needs_endpoint(model) and not gateway.is_asking:
                self._ask_endpoint(gateway, model)
            while queue and (hold := gateway.may_send(model, self._now_s)) is not None:
                queue.pop(0)
                self._send(gateway, model, hold)

    def _ask_endpoint(self, gateway: LeasingGateway, model: str) -> None:
        gateway.is_asking = True
        asked_s = self._now_s

        def over(generation: int, slots: int) -> None:
            gateway.is_asking = False
            gateway.take_endpoint(model, generation, slots, asked_s)
            self._post_if_wanted(gateway)

        def ask() -> None:
            node, instance = self._node, self._node.instances.get(model)
            if instance is not None and instance.status == "loaded":
                self._referee.heard(gateway.name, self._now_s)
                slots = node.leases.hold(gateway.name, model) or 0
                told = partial(over, instance.engine.generation, slots)
                self._to_gateway(gateway, f"endpoint of {model} for {gateway.name}", told)

        def give_up() -> None:
            gateway.is_asking = False

        self._to_node(f"{gateway.name} asks where {model} is", ask)
        self._to_gateway(gateway, f"{gateway.name} asks no more", give_up, delay_s=ANSWER_WAIT_S)

    def _send(self, gateway: LeasingGateway, model: str, hold: Hold) -> None:
        self._sent += 1
        request = SentRequest(self._sent, gateway.name, gateway.process, model, hold.generation)
        request.is_orphan = gateway.is_on_its_own(model, self._now_s)
        if not hold.active:
            self._post(gateway)
        hold.active.add(request)
        self._referee.sent(request, self._node)
        self._later(
            self._rng.uniform(0.001, 0.3), f"request of {gateway.name} to {model}", partial(self._enter, request)
        )
        finish = partial(self._finish, gateway, hold, request)
        if self._happens(self._trouble.cancelled):
            self._to_gateway(
                gateway, f"{gateway.name} cancels", partial(self._cancel, gateway, hold, request),
                delay_s=self._rng.uniform(0.05, 3),
            )  # fmt: skip
        request_s = self._rng.uniform(0.4, 6)
        self._later(request_s, f"request of {gateway.name} ends", partial(self._end, gateway, request, finish))

    def _enter(self, request: SentRequest) -> None:
        instance = self._node.instances.get(request.model)
        if request.is_over:
            return
        if instance is not None and instance.engine.generation == request.generation and instance.engine.is_running:
            instance.engine.requests.add(request)
            return
        was_forced = request.generation in self._fate.forced
        self._referee.arrived_too_late(request, was_forced)
        request.is_over = True

    def _end(self, gateway: LeasingGateway, request: SentRequest, finish: Callable[[], None]) -> None:
        """Let the engine be done with a request that was not cancelled, or have been."""
        if not request.is_cancelled:
            self._forget(request)
            if (gateway.name, gateway.process) == (request.gateway, request.process):
                self._to_gateway(gateway, f"{gateway.name} has its answer", finish)

    def _finish(self, gateway: LeasingGateway, hold: Hold, request: SentRequest) -> None:
        if request in hold.active:
            was_full = hold.occupied(self._now_s) >= gateway.slots_of(request.model)
            hold.active.discard(request)
            report = gateway.models.get(request.model)
            if was_full or (report is not None and report.status == "draining"):
                self._post(gateway)

    def _cancel(self, gateway: LeasingGateway, hold: Hold, request: SentRequest) -> None:
        if request in hold.active and not request.is_over:
            request.is_cancelled = True
            hold.cancel(request, self._now_s)
            self._post(gateway)
            lag_s = self._rng.uniform(0.3, 3) if self._rng.random() < 0.8 else self._rng.uniform(3, 9)
            self._later(lag_s, "the engine notices", partial(self._forget, request))

    def _forget(self, request: SentRequest) -> None:
        request.is_over = True
        instance = self._node.instances.get(request.model)
        if instance is not None and instance.engine.generation == request.generation:
            instance.engine.requests.discard(request)

    # Fate

    def _meet_fate(self) -> None:
        if not self._happens(self._trouble.fate):
            return
        gateway = self._rng.choice(self._gateways)
        fate = self._rng.choice(
            ["die", "die", "suspend", "leave", "evict", "evict", "maintain", "crash", "restart", "hang", "silence"]
        )
        self._time.note(f"fate: {fate} {gateway.name}")
        if fate == "die" and gateway.is_alive:
            self._die(gateway)
            absence_s = self._rng.uniform(0.05, self._rng.choice([1.0, 25.0]))
            self._later(absence_s, f"{gateway.name} comes back", partial(self._come_back, gateway))
        elif fate == "suspend":
            gateway.waits_until_s = self._now_s + self._rng.uniform(0.5, 25)
        elif fate == "leave" and gateway.is_alive and not gateway.is_leaving:
            self._leave(gateway)
            self._later(self._rng.uniform(8, 20), f"{gateway.name} comes back", partial(self._come_back, gateway))
        elif fate == "silence":
            self._streams.pop(gateway.name, None)
        else:
            self._fate.meet(fate)
            if not self._node.is_up:
                self._streams.clear()

    def _die(self, gateway: LeasingGateway) -> None:
        """Kill a gateway: its connections close, and its engines notice sooner or later."""
        gateway.is_alive = False
        self._streams.pop(gateway.name, None)
        for hold in gateway.holds.values():
            for request in hold.in_order():
                self._later(self._rng.uniform(0.1, 4), "the engine notices", partial(self._forget, request))

    def _leave(self, gateway: LeasingGateway) -> None:
        """End in good order: cut what still runs, tell the neuron, and go when it has heard."""
        gateway.is_leaving = True
        gateway.waiting.clear()
        for hold in gateway.holds.values():
            for request in hold.in_order():
                self._cancel(gateway, hold, request)
        self._post(gateway)

    def _come_back(self, gateway: LeasingGateway) -> None:
        if gateway.is_alive and gateway.is_leaving:
            self._die(gateway)
        if not gateway.is_alive:
            gateway.start()
            self._begin(gateway)

    def _calm_down(self) -> None:
        """Mend everything that is broken."""
        self._fate.calm_down()
        for gateway in self._gateways:
            gateway.waits_until_s = min(gateway.waits_until_s, self._now_s)
            self._come_back(gateway)

    def _leave_or_die(self, gateway: LeasingGateway) -> None:
        self._leave(gateway) if self._rng.random() < 0.5 else self._die(gateway)
