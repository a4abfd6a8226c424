"""Gateways that share the limits of keys through one store, on one heap of (time, event), around their own machines.

Seeded: the same seed is the same run. Reports and answers are lost, late and overtaken; gateways die and come back by
another name; their clocks start anywhere and go too fast or too slow; the store is silent for a while. After every
request ``QuotaReferee`` looks; after ``CALM_S`` nothing goes wrong any more, and everything must be given back. What a
gateway does without the store is left out: its keys are refused then, as with ``keys_fail_closed``.
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


class SimulatedGateway:
    """One process: what it holds, and who waits for its store."""

    def __init__(self, world: "QuotaSimulation", name: str, limits: KeyLimits, rng: Random, drift: float) -> None:
        self.name = name
        self.is_up = True
        self._world = world
        self._offset_s = rng.uniform(0, 1e6)
        self._rate = 1 + rng.uniform(-drift, drift)
        self.holding = Holding("key", limits, name, partial(next, count(1)))
        self._waiting: list[tuple[Asked, float, Callable[[Admission | Denial | None], None]]] = []
        self._sent = 0

    def now_s(self) -> float:
        """Return what its clock shows."""
        return self._offset_s + self._world.time.at_s * self._rate

    def ask_for(self, asked: Asked, done: Callable[[Admission | Denial | None], None]) -> None:
        """A request is here."""
        now_s = self.now_s()
        outcome = self.holding.take(asked, now_s)
        if outcome is None:
            self._waiting.append((asked, now_s + WAIT_S, done))
            self._tell()
        else:
            done(outcome)
            if isinstance(outcome, Admission) and self.holding.wants_to_ask(now_s):
                self._tell()

    def sweep(self) -> None:
        """Half a second has passed."""
        if not self.is_up:
            return
        self.look()
        self.holding.roll()
        late, now_s = [one for one in self._waiting if one[1] <= self.now_s()], self.now_s()
        self._waiting = [one for one in self._waiting if one[1] > now_s]
        for _, _, done in late:
            done(None)
        if self.holding.is_due(now_s):
            self._tell()

    def look(self) -> None:
        """Tell the referee of a lease that has ended."""
        if self.now_s() >= self.holding.places_end_s:
            self._world.referee.lapse(self.holding)

    def _tell(self) -> None:
        if self.holding.is_asking:
            return
        report = self.holding.report([one[0] for one in self._waiting], self.now_s())
        self._sent += 1
        self._world.send(self, report, self._sent)
        self._world.time.later(DEADLINE_S, "", partial(self._give_up, self._sent))

    def _give_up(self, number: int) -> None:
        if self.is_up and self._sent == number and self.holding.is_asking:
            self.holding.failed(self.now_s())
            waiting, self._waiting = self._waiting, []
            for _, _, done in waiting:
                done(None)

    def hear(self, number: int, answer: QuotaAnswer | None) -> None:
        """An answer is here; one that is not waited for any more is dropped."""
        if not self.is_up or number != self._sent or not self.holding.is_asking:
            return
        self.look()
        self.holding.answered(answer, self.now_s())
        waiting, self._waiting = self._waiting, []
        for asked, until_s, done in waiting:
            outcome = self.holding.take(asked, self.now_s())
            if outcome is None:
                self._waiting.append((asked, until_s, done))
            else:
                done(outcome)
        if self._waiting or self.holding.wants_to_ask(self.now_s()):
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
        self._numbers = count()
        self._silent_until_s = 0.0
        self._reports = self._deaths = self._refused = self._forgotten = 0
        self._gateways = [self._new_gateway() for _ in range(gateways)]

    def run(self) -> QuotaOutcome:
        """Play until everything is over; raise SimulationFailure when a rule is broken."""
        for _ in range(self._requests):
            self.time.later(self.rng.uniform(0, ARRIVALS_END_S), "arrival", self._arrive)
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

    def _came_of(self, gateway: SimulatedGateway, outcome: Admission | Denial | None) -> None:
        if outcome is None:
            self._refused += 1
        elif isinstance(outcome, Denial):
            self.referee.deny()
        else:
            seen = self.referee.admit(gateway.holding, outcome)
            self._seek_place(gateway, outcome)
            length_s = self.rng.choice((0.5, 5.0, 40.0)) * self.rng.random()
            self.time.later(length_s, "end", partial(self._end, gateway, outcome, seen))

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

    def _end(self, gateway: SimulatedGateway, admission: Admission, seen: Seen) -> None:
        if not gateway.is_up:
            return
        used: int | None = int(seen.most * self.rng.random())
        if self._happens(self.trouble.excess):
            used = seen.most + self.rng.randint(1, 300)
        elif self._happens(0.1):
            used = None
        admission.settle(used)
        self.referee.end(seen, used)

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
