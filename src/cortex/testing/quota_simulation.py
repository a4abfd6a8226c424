"""Gateways that share the limits of keys through one store, on one heap of (time, event), around their own machines.

Seeded: the same seed is the same run. Reports and answers are lost, late and overtaken; gateways die and come back by
another name; their clocks start anywhere and go too fast or too slow; the store is silent for a while. After every
request ``QuotaReferee`` looks; after ``CALM_S`` nothing goes wrong any more, and everything must be given back. What a
gateway does without the store is left out: its keys are refused then, as with ``keys_fail_closed``. ``callers``: behind
a balancer that goes from gateway to gateway, each of them one request after the other, for as long as others arrive.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import msgspec

from cortex.contract.key import KeyLimits
from cortex.fleet.quota import LEASE_S, QuotaAnswer, QuotaReport
from cortex.fleet.quota_book import QuotaBook, settle
from cortex.fleet.quota_holding import IDLE_ALONE_S, Admission, Asked, Denial, Holding
from cortex.testing.quota_referee import QuotaReferee, Seen
from cortex.testing.timeline import Timeline

CALM_S = 200.0
ARRIVALS_END_S = 230.0
END_S = ARRIVALS_END_S + 40 + IDLE_ALONE_S + 2 * LEASE_S
DEADLINE_S = 2.0
WAIT_S = 5.0
HOPE_S = 2.0
HOPE_AGAIN_S = 0.2
SWEEP_S = 0.5
FATE_S = 9.0
MIDNIGHT_S = 1_767_225_600.0
"""2026-01-01: a minute, a day, a month and a year begin at once."""


class QuotaTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes wrong: chances between 0 and 1, drawn per occasion."""

    lost: float = 0.05
    late: float = 0.05
    """Of a message: later than its sender waits."""
    death: float = 0.25
    """Of some gateway, every few seconds."""
    silence: float = 0.1
    """Of the store, every few seconds, for a while."""
    excess: float = 0.05
    """Of an answer that takes more than was reserved for it."""
    drift: float = 5e-4


class QuotaOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounted to; ``trace`` is equal for equal seeds."""

    seed: int
    admitted: int
    denied: int
    refused: int
    """For the store was silent."""
    reports: int
    deaths: int
    forgotten: int
    lost_tokens: int
    trace: int


class Hopeful(msgspec.Struct, frozen=True, eq=False):
    """A request that waits for the store, or for what others may give back."""

    asked: Asked
    hopes_until_s: float
    until_s: float
    done: Callable[[Admission | Denial | None], None]


class SimulatedGateway:
    """One process: what it holds, and who waits for its store."""

    def __init__(self, world: "QuotaSimulation", name: str, limits: KeyLimits, rng: Random, drift: float) -> None:
        self.name = name
        self.is_up = True
        self._world = world
        self._offset_s = rng.uniform(0, 1e6)
        self._rate = 1 + rng.uniform(-drift, drift)
        self.holding = Holding("key", limits, name, partial(next, count(1)), world.store_now_s)
        self._waiting: list[Hopeful] = []
        self._is_hoping = False
        self._sent = 0

    def now_s(self) -> float:
        """Return what its clock shows."""
        return self._offset_s + self._world.time.at_s * self._rate

    def ask_for(self, asked: Asked, done: Callable[[Admission | Denial | None], None]) -> None:
        """A request is here."""
        if self._is_hoping:
            self._serve()
        now_s = self.now_s()
        one = Hopeful(asked, now_s + HOPE_S, now_s + WAIT_S, done)
        outcome = self.holding.take(asked, now_s)
        if outcome is None or self._may_hope(one, outcome, self._waiting):
            self._waiting.append(one)
            self._tell()
        else:
            done(outcome)
            if isinstance(outcome, Admission) and self.holding.wants_to_ask(now_s):
                self._tell()

    def _may_hope(self, one: "Hopeful", outcome: Admission | Denial, before: "list[Hopeful]") -> bool:
        if not isinstance(outcome, Denial) or self.now_s() >= one.hopes_until_s:
            return False
        return self.holding.may_hope(outcome, [other.asked for other in before])

    def sweep(self) -> None:
        """Half a second has passed."""
        if not self.is_up:
            return
        self.look()
        self.holding.roll()
        late, now_s = [one for one in self._waiting if one.until_s <= self.now_s()], self.now_s()
        self._waiting = [one for one in self._waiting if one.until_s > now_s]
        for one in late:
            one.done(None)
        if self.holding.is_due(now_s):
            self._tell()

    def look(self) -> None:
        """Tell the referee of a lease that has ended."""
        if self.now_s() >= self.holding.places_end_s:
            self._world.referee.lapse(self.holding)

    def _tell(self) -> None:
        if self.holding.is_asking:
            return
        report = self.holding.report([one.asked for one in self._waiting], self.now_s())
        self._sent += 1
        self._world.send(self, report, self._sent)
        self._world.time.later(DEADLINE_S, "", partial(self._give_up, self._sent))

    def _give_up(self, number: int) -> None:
        if self.is_up and self._sent == number and self.holding.is_asking:
            self.holding.failed(self.now_s())
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.done(None)

    def hear(self, number: int, answer: QuotaAnswer | None) -> None:
        """An answer is here; one that is not waited for any more is dropped."""
        if not self.is_up or number != self._sent or not self.holding.is_asking:
            return
        self.look()
        self.holding.answered(answer, self.now_s())
        self._serve()

    def _serve(self) -> None:
        waiting, self._waiting = self._waiting, []
        is_to_ask = False
        for one in waiting:
            outcome = self.holding.take(one.asked, self.now_s())
            if outcome is None or self._may_hope(one, outcome, self._waiting):
                self._waiting.append(one)
                is_to_ask |= outcome is None
            else:
                one.done(outcome)
        if is_to_ask or self.holding.wants_to_ask(self.now_s()):
            self._tell()
        elif self._waiting and not self._is_hoping:
            self._is_hoping = True
            self._world.time.later(HOPE_AGAIN_S, "", self._hope_again)

    def _hope_again(self) -> None:
        self._is_hoping = False
        if self.is_up:
            self._serve()
            if self._waiting:
                self._tell()


class QuotaSimulation:
    """One run."""

    def __init__(
        self,
        seed: int,
        *,
        trouble: QuotaTrouble | None = None,
        gateways: int = 3,
        requests: int = 800,
        limits: KeyLimits | None = None,
        callers: int = 0,
    ) -> None:
        self._seed = seed
        self.rng = rng = Random(seed)
        self.trouble = trouble or QuotaTrouble()
        self.time = Timeline()
        self._limits = limits or KeyLimits(
            requests_per_min=rng.choice((20, 90, 300)),
            tokens_per_min=rng.choice((4000, 30_000, 200_000)),
            tokens_per_day=rng.choice((20_000, 300_000)),
            cold_starts_per_day=rng.choice((2, 12)),
            concurrent_requests=rng.choice((3, 8, 20)),
        )
        # The midnight of a year's end falls into the run.
        self._epoch_s = MIDNIGHT_S - rng.uniform(30, ARRIVALS_END_S)
        self.book = QuotaBook()
        self.referee = QuotaReferee(self._limits, self.store_now_s)
        self._requests = requests
        self._callers = callers
        self._asking: dict[int, Asked] = {}
        """Which callers wait for an answer."""
        self._turns = count()
        self._numbers = count()
        self._silent_until_s = 0.0
        self._reports = self._deaths = self._refused = self._forgotten = 0
        self._gateways = [self._new_gateway() for _ in range(gateways)]

    def run(self) -> QuotaOutcome:
        """Play until everything is over; raise SimulationFailure when a rule is broken."""
        for _ in range(self._requests):
            self.time.later(self.rng.uniform(0, ARRIVALS_END_S), "arrival", self._arrive)
        for caller in range(self._callers):
            self.time.later(self.rng.random(), "caller", partial(self._call, caller))
        self.time.repeat(SWEEP_S, self._sweep)
        self.time.repeat(FATE_S, self._meet_fate, "fate")
        while self.time.has_more(END_S):
            self.time.step()
        self.referee.check_rest(self.book, [gateway.holding for gateway in self._gateways])
        return QuotaOutcome(
            seed=self._seed,
            admitted=self.referee.admitted,
            denied=self.referee.denied,
            refused=self._refused,
            reports=self._reports,
            deaths=self._deaths,
            forgotten=self._forgotten,
            lost_tokens=self.referee.lost_tokens,
            trace=self.time.trace,
        )

    def store_now_s(self) -> float:
        """Return what the store's clock shows."""
        return self._epoch_s + self.time.at_s

    def _happens(self, chance: float) -> bool:
        return self.time.at_s < CALM_S and self.rng.random() < chance

    def _new_gateway(self) -> SimulatedGateway:
        return SimulatedGateway(self, f"g{next(self._numbers)}", self._limits, self.rng, self.trouble.drift)

    # Messages

    def _delay_s(self) -> float:
        return self.rng.uniform(1.0, 5.0) if self._happens(self.trouble.late) else self.rng.uniform(0.001, 0.05)

    def send(self, gateway: SimulatedGateway, report: QuotaReport, number: int) -> None:
        """Carry a report to the store, or lose it."""
        if not self._happens(self.trouble.lost):
            self.time.later(self._delay_s(), f"report of {gateway.name}", partial(self._take, gateway, report, number))

    def _take(self, gateway: SimulatedGateway, report: QuotaReport, number: int) -> None:
        if self.time.at_s < self._silent_until_s:
            return
        self._reports += 1
        self.book = msgspec.json.decode(msgspec.json.encode(self.book), type=QuotaBook)
        now_s = self.store_now_s()
        self.referee.before(self.book, report, now_s)
        answer = settle(self.book, report, now_s)
        if answer is not None:
            self.referee.after(self.book, report, answer)
            self._forgotten += answer.is_forgotten
        if not self._happens(self.trouble.lost):
            self.time.later(self._delay_s(), f"answer to {gateway.name}", partial(gateway.hear, number, answer))

    # Requests

    def _arrive(self) -> None:
        gateway = self.rng.choice(self._gateways)
        asked = Asked(self.rng.randint(1, 400), self.rng.choice((None, 50, 500)))
        gateway.ask_for(asked, partial(self._came_of, gateway))

    def _call(self, caller: int) -> None:
        """The balancer takes a caller's next request to the next gateway."""
        if self.time.at_s >= ARRIVALS_END_S:
            return
        gateway = self._gateways[next(self._turns) % len(self._gateways)]
        self._asking[caller] = asked = Asked(self.rng.randint(1, 400), self.rng.choice((50, 500)))
        gateway.ask_for(asked, partial(self._came_of_call, gateway, caller))

    def _came_of_call(self, gateway: SimulatedGateway, caller: int, outcome: Admission | Denial | None) -> None:
        del self._asking[caller]
        if isinstance(outcome, Denial):
            self.referee.deny(outcome, self._asking.values())
            self._call_again(caller)
        elif outcome is not None:
            self._serve(gateway, outcome, partial(self._call_again, caller))
        else:
            self._refused += 1

    def _call_again(self, caller: int) -> None:
        self.time.later(self.rng.choice((0.02, 0.7, 3.0)) * self.rng.random(), "caller", partial(self._call, caller))

    def _came_of(self, gateway: SimulatedGateway, outcome: Admission | Denial | None) -> None:
        if outcome is None:
            self._refused += 1
        elif isinstance(outcome, Denial):
            self.referee.deny(outcome)
        else:
            self._serve(gateway, outcome, None)

    def _serve(self, gateway: SimulatedGateway, outcome: Admission, then: Callable[[], None] | None) -> None:
        seen = self.referee.admit(gateway.holding, outcome)
        self._seek_place(gateway, outcome)
        length_s = self.rng.choice((0.5, 5.0, 40.0) if then is None else (0.05, 1.0, 4.0)) * self.rng.random()
        self.time.later(length_s, "end", partial(self._end, gateway, outcome, seen, then))

    def _seek_place(self, gateway: SimulatedGateway, admission: Admission) -> None:
        """Let a request have a place, for which its model may have to be loaded."""
        may_load, at_s = admission.no_load_s(gateway.now_s()) is None, self.store_now_s()

        def place() -> None:
            if gateway.is_up and not admission.is_over:
                if may_load and self.rng.random() < 0.5:
                    admission.loading()
                    self.referee.load(at_s)
                admission.placed()

        self.time.later(self.rng.choice((0.001, 3.0)) * self.rng.random(), "place", place)

    def _end(
        self, gateway: SimulatedGateway, admission: Admission, seen: Seen, then: Callable[[], None] | None
    ) -> None:
        if not gateway.is_up:
            return
        used: int | None = int(seen.most * self.rng.random())
        if self._happens(self.trouble.excess):
            used = seen.most + self.rng.randint(1, 300)
        elif self._happens(0.1):
            used = None
        admission.settle(used)
        self.referee.end(seen, used)
        if then is not None:
            then()

    # What goes wrong

    def _sweep(self) -> None:
        for gateway in self._gateways:
            gateway.sweep()

    def _meet_fate(self) -> None:
        if self._happens(self.trouble.death):
            place = self.rng.randrange(len(self._gateways))
            self._gateways[place].is_up = False
            self.referee.die(self._gateways[place].holding)
            self._gateways[place] = self._new_gateway()
            self._deaths += 1
        if self._happens(self.trouble.silence):
            self._silent_until_s = self.time.at_s + self.rng.uniform(1, 25)
