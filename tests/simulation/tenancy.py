"""One node as a seeded simulation: loads that evict, drains, requests, operators, strangers, crashes, slow gateways.

It drives the very objects by which the neuron decides (``residency/``: the books, tickets, evictions, drains, life
cycle, protection); engines, gateways and time are drawn. ``tenancy_referee.py`` looks at it after every step.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cortex.contract.instance import InstanceStatus, Victim
from cortex.residency.drain import Drain, DrainKind, Look
from cortex.residency.eviction import Admitted, Refusal, Scene, Tenant, Wish, admit, ask_again_s, draw
from cortex.residency.fit import DeviceRoom, Infeasible, held_on, room_mb
from cortex.residency.lifecycle import LifecycleEvent, Refused, transition
from cortex.residency.protection import protected_left_s
from cortex.residency.reservation import ReservationBook
from cortex.residency.ticket import ABSENCE_S, LATE_S, TicketBook

HEADROOM_MB = 50
TOTAL_MB = 1000
GRACE_S = 2.0
DRAIN_S = 20.0
MAX_WAIT_S = 30.0
LONGEST_REQUEST_S = 12.0
LONGEST_LOAD_S = 6.0
LOOK_S = 0.1


class Guest:
    """One model on the node."""

    def __init__(self, key: str, need_mb: int, devices: tuple[int, ...], min_residency_s: float) -> None:
        self.key = key
        self.need_mb = need_mb
        self.devices = devices
        self.min_residency_s = min_residency_s
        self.status: InstanceStatus = "unloaded"
        self.generation = 0
        self.loaded_s = 0.0
        self.load_s = 0.0
        self.is_pinned = False
        self.has_engine = False
        self.requests: set[int] = set()
        self.is_acknowledged = self.has_been_let_go = False
        self.drain: Draining | None = None

    def move(self, event: LifecycleEvent) -> None:
        after = transition(self.status, event)
        assert not isinstance(after, Refused), f"{self.key}: {event} in {self.status}"
        self.status = after

    def protected_s(self, now_s: float) -> float:
        if self.status not in ("loaded", "draining"):
            return 0.0
        return protected_left_s(self.loaded_s, self.min_residency_s, self.load_s, now_s)

    def tenant(self, now_s: float) -> Tenant:
        return Tenant(
            generation=self.generation,
            status=self.status,
            is_pinned=self.is_pinned,
            protected_s=self.protected_s(now_s),
            in_flight=len(self.requests),
        )


class Draining:
    """One drain under way, for a load or for an operator."""

    def __init__(
        self, drain: Drain, guests: list[Guest], begin_s: float, wish: Wish | None, *, is_forced: bool = False
    ) -> None:
        self.drain = drain
        self.guests = guests
        self.begin_s = begin_s
        self.wish = wish
        self.is_forced = is_forced


class Demand:
    """A load that somebody wants, and asks for until it is there or they have lost patience."""

    def __init__(self, guest: Guest, since_s: float, patience_s: float) -> None:
        self.guest = guest
        self.since_s = since_s
        self.until_s = since_s + patience_s
        self.first_refusal_s: float | None = None
        """Since when it is refused for what comes to an end."""


class Place(NamedTuple):
    """Where a load stands in the queue, as whoever asks for it must believe."""

    wish: Wish
    since_s: float
    until_s: float
    late_s: float
    """From then on it holds up nobody until it asks again."""


class Tenancy:
    """The node. ``watch`` is told of what cannot be seen from the state alone."""

    def __init__(self, seed: int, *, devices: int = 2, models: int = 7, span_s: float = 300.0) -> None:
        self.dice = random.Random(seed)
        self.now_s = 0.0
        self.span_s = span_s
        self._between_requests_s = self.dice.choice((0.25, 1.5, 5.0))
        self.book = ReservationBook(HEADROOM_MB)
        self.tickets = TicketBook(MAX_WAIT_S)
        self.strangers_mb = [0] * devices
        self.guests = {f"m{index}": self._guest(f"m{index}", devices) for index in range(models)}
        self.demands: dict[str, Demand] = {}
        self.queue: dict[str, Place] = {}
        self.drains: list[Draining] = []
        self.evictions: list[tuple[Guest, Wish]] = []
        self.cuts: list[tuple[Guest, str]] = []
        self.admissions: list[tuple[Wish, Admitted, tuple[DeviceRoom, ...], float]] = []
        self.served: list[Demand] = []
        self.loads = self.evicted = self.due = 0
        self.is_resting = False
        self._generation = 0
        self._pictures: list[dict[str, Tenant]] = [{}]
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ids = itertools.count()
        for life in (self._want, self._ask_something, self._operate, self._strangers_move, self._crash, self._pin):
            self.after(self.dice.random(), life)

    def after(self, delay_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_s + delay_s, next(self._order), happen))

    def run(self, look: Callable[[], None]) -> None:
        """Let everything happen that was drawn, and call ``look`` after every step; then come to rest."""
        while self.now_s < self.span_s:
            self._step(look)
        self.is_resting = True
        for _ in range(20_000):
            if not self._due:
                return
            self._step(look)
        raise AssertionError("it does not come to rest")

    def rooms(self) -> tuple[DeviceRoom, ...]:
        return tuple(
            DeviceRoom(index=index, total_mb=TOTAL_MB, strangers_mb=mb) for index, mb in enumerate(self.strangers_mb)
        )

    def tenants(self) -> dict[str, Tenant]:
        return {key: guest.tenant(self.now_s) for key, guest in self.guests.items() if guest.generation}

    def _step(self, look: Callable[[], None]) -> None:
        self.now_s, _, happen = heapq.heappop(self._due)
        happen()
        self._pictures = [*self._pictures[-200:], self.tenants()]
        look()

    def _guest(self, key: str, devices: int) -> Guest:
        count = 1 if self.dice.random() < 0.7 else devices
        chosen = tuple(sorted(self.dice.sample(range(devices), count)))
        need_mb = self.dice.choice((150, 300, 450, 700)) * count
        return Guest(key, need_mb, chosen, self.dice.choice((0, 0, 4)))

    def _again(self, mean_s: float, life: Callable[[], None]) -> None:
        if not self.is_resting:
            self.after(self.dice.expovariate(1 / mean_s), life)

    # What people and programs do.

    def _want(self) -> None:
        guest = self.dice.choice(list(self.guests.values()))
        if guest.key not in self.demands and guest.status in ("unloaded", "failed"):
            patience_s = self.dice.choice((5.0, 300.0, 300.0))
            self.demands[guest.key] = demand = Demand(guest, self.now_s, patience_s)
            self._ask(demand)
        self._again(1.5, self._want)

    def _ask_something(self) -> None:
        """Send a request to whoever a gateway believes to be loaded, until it has heard of a drain."""
        serving = [guest for guest in self.guests.values() if guest.status == "loaded"]
        late = [guest for guest in self.guests.values() if guest.status == "draining" and not guest.is_acknowledged]
        if serving or late:
            guest = self.dice.choice(serving + late)
            request = next(self._ids)
            guest.requests.add(request)
            self.after(self.dice.uniform(0.05, LONGEST_REQUEST_S), lambda: guest.requests.discard(request))
        self._again(self._between_requests_s, self._ask_something)

    def _operate(self) -> None:
        guest = self.dice.choice(list(self.guests.values()))
        if guest.status == "loaded":
            is_forced = self.dice.random() < 0.5
            drain = Drain("maintenance", self.now_s + DRAIN_S, is_forced=is_forced)
            self._drain(Draining(drain, [guest], self.now_s, None, is_forced=is_forced))
        self._again(20, self._operate)

    def _pin(self) -> None:
        guest = self.dice.choice(list(self.guests.values()))
        guest.is_pinned = not guest.is_pinned and self.dice.random() < 0.3
        self._again(5, self._pin)

    def _strangers_move(self) -> None:
        """Have strangers take what nobody was promised, or give back."""
        index = self.dice.randrange(len(self.strangers_mb))
        room = room_mb(self.rooms()[index], self.book.residents, self.book.reservations, HEADROOM_MB)
        free_mb = max(0, min(room, 150 - self.strangers_mb[index]))
        self.strangers_mb[index] = (
            0 if self.dice.random() < 0.5 else self.strangers_mb[index] + self.dice.randint(0, free_mb)
        )
        self._again(3, self._strangers_move)

    def _crash(self) -> None:
        running = [guest for guest in self.guests.values() if guest.has_engine]
        if running:
            guest = self.dice.choice(running)
            if guest.status in ("loading", "loaded"):
                guest.move("engine_lost")
                self._end(guest)
            elif guest.status == "draining":
                self._release(guest)
                guest.move("engine_lost")
                self._end(guest)
        self._again(25, self._crash)

    # What the neuron does.

    def _ask(self, demand: Demand) -> None:
        guest = demand.guest
        if guest.status in ("loading", "loaded") or self.now_s > demand.until_s:
            self._settle(demand)
        elif guest.status not in ("unloaded", "failed") or self._has_memory(guest.key):
            self.after(0.5, lambda: self._ask(demand))
        else:
            self._load(demand)

    def _load(self, demand: Demand) -> None:
        guest = demand.guest
        wish = Wish(key=guest.key, need_mb=guest.need_mb, devices=guest.devices, victims=self._plan(guest))
        rooms = self.rooms()
        verdict = admit(wish, Scene(self.book, self.tickets, rooms, self.tenants()), self.now_s)
        if isinstance(verdict, Refusal):
            self._wait(demand, wish, verdict)
            return
        held = self.queue.get(wish.key)
        since_s = self.now_s if held is None or held.until_s < self.now_s else held.since_s
        self.admissions.append((wish, verdict, rooms, since_s))
        if not verdict.victims:
            self._begin(guest)
            self._start(guest)
            self._settle(demand)
            return
        kind: DrainKind = "due" if verdict.is_due else "eviction"
        limit_s = DRAIN_S if verdict.is_due else GRACE_S
        victims = [self.guests[key] for key in verdict.victims]
        if verdict.is_due:
            self.due += 1
            self._begin(guest)
            self.tickets.close(guest.key)
            self._settle(demand)
        self._drain(Draining(Drain(kind, self.now_s + limit_s), victims, self.now_s, wish))

    def _wait(self, demand: Demand, wish: Wish, refusal: Refusal) -> None:
        if refusal.code == "no_room":
            demand.first_refusal_s = None
        if refusal.retry_in_s is not None:
            held = self.queue.get(wish.key)
            since_s = self.now_s if held is None or held.until_s < self.now_s else held.since_s
            retry_s = self.now_s + refusal.retry_in_s
            self.queue[wish.key] = Place(wish, since_s, retry_s + ABSENCE_S, retry_s + LATE_S)
            if demand.first_refusal_s is None and refusal.code != "no_room":
                demand.first_refusal_s = self.now_s
        retry_in_s = 1.0 if refusal.retry_in_s is None else refusal.retry_in_s
        self.after(retry_in_s + self.dice.uniform(0, 0.5), lambda: self._ask(demand))

    def _plan(self, guest: Guest) -> tuple[Victim, ...]:
        """Choose victims as a gateway does, by a picture that may be a little old."""
        picture = self.dice.choice((self._pictures[-1], self.dice.choice(self._pictures)))
        wanting = isinstance(self.book.judge(guest.need_mb, guest.devices, self.rooms()), Infeasible)
        victims: list[str] = []
        there = [
            resident.key
            for resident in self.book.residents
            if any(held_on(resident.shares, device) for device in guest.devices)
        ]
        for key in sorted(there, key=lambda key: len(self.guests[key].requests)):
            tenant = picture.get(key)
            if wanting and tenant is not None and tenant.status == "loaded" and not tenant.is_pinned:
                victims.append(key)
                if self._would_fit(guest, victims) and self.dice.random() < 0.9:
                    break
        return tuple(Victim(model_id=key, generation=picture[key].generation) for key in victims)

    def _would_fit(self, guest: Guest, without: Iterable[str]) -> bool:
        verdict = self.book.judge(guest.need_mb, guest.devices, self.rooms(), without=tuple(without))
        return not isinstance(verdict, Infeasible)

    def _begin(self, guest: Guest) -> None:
        self._generation += 1
        guest.generation = self._generation
        guest.move("load_requested")
        self.loads += 1

    def _start(self, guest: Guest) -> None:
        self.book.commit(guest.key)
        guest.has_engine, guest.requests, guest.is_acknowledged = True, set(), False
        generation, begin_s = guest.generation, self.now_s

        def ready() -> None:
            if guest.generation == generation and guest.status == "loading":
                guest.move("engine_ready")
                guest.loaded_s, guest.load_s = self.now_s, self.now_s - begin_s

        self.after(self.dice.uniform(0.2, LONGEST_LOAD_S), ready)

    def _settle(self, demand: Demand) -> None:
        if demand.guest.status in ("loading", "loaded"):
            self.served.append(demand)
            self.queue.pop(demand.guest.key, None)
        self.demands.pop(demand.guest.key, None)

    def _has_memory(self, key: str) -> bool:
        return any(entry.key == key for entry in (*self.book.reservations, *self.book.residents))

    def _is_pending(self, key: str) -> bool:
        return any(draining.wish is not None and draining.wish.key == key for draining in self.drains)

    def _drain(self, draining: Draining) -> None:
        for guest in draining.guests:
            if guest.drain is not None:  # an operator's word is stronger than an eviction
                self._release(guest)
            guest.drain = draining
            if guest.status == "loaded":
                guest.move("unload_requested")
            guest.is_acknowledged = False
            self.after(self.dice.uniform(0, 1.2 * GRACE_S), lambda guest=guest: self._acknowledge(guest))
        self.drains.append(draining)
        self._look(draining)

    def _acknowledge(self, guest: Guest) -> None:
        guest.is_acknowledged = guest.status != "loaded"

    def _release(self, guest: Guest) -> None:
        if guest.drain is not None:
            guest.drain.guests.remove(guest)
            guest.drain = None

    def _look(self, draining: Draining) -> None:
        verdict = "drained"
        if draining.guests:
            looks = [Look(in_flight=len(g.requests), is_acknowledged=g.is_acknowledged) for g in draining.guests]
            verdict = draining.drain.judge(looks, self.now_s)
        if verdict != "wait" and draining.wish is not None and any(guest.is_pinned for guest in draining.guests):
            verdict = "given_up"
        if verdict == "wait":
            self.after(LOOK_S, lambda: self._look(draining))
            return
        self.drains.remove(draining)
        if verdict == "given_up":
            self._stay(draining)
        else:
            self._go(draining)

    def _go(self, draining: Draining) -> None:
        for guest in draining.guests:
            guest.drain = None
            if draining.wish is not None:
                self.evictions.append((guest, draining.wish))
                self.evicted += 1
            guest.has_been_let_go = guest.is_acknowledged
            if guest.requests:
                self.cuts.append((guest, "forced" if draining.is_forced else "not forced"))
            guest.move("drained")
            self._end(guest)
        if draining.wish is not None:
            wanted = self.guests[draining.wish.key]
            if draining.drain.kind == "eviction":
                self._begin(wanted)
                self.tickets.close(wanted.key)
                self._settle(self.demands[wanted.key])
            self._start_if_cleared(wanted)

    def _stay(self, draining: Draining) -> None:
        for guest in draining.guests:
            guest.drain = None
            guest.move("drain_given_up")
            guest.is_acknowledged = False
        wish = draining.wish
        if wish is None:
            return
        self.book.release(wish.key)
        if draining.drain.kind == "due":
            self.guests[wish.key].move("engine_lost")
            return
        retry_in_s = ask_again_s(self.tickets.due_in_s(wish.key, wish.devices, self.now_s))
        draw(wish, self.tickets, retry_in_s, self.now_s)
        stayed = Refusal(code="busy", reason="victims_stayed", retry_in_s=retry_in_s)
        self._wait(self.demands[wish.key], wish, stayed)

    def _end(self, guest: Guest) -> None:
        """Have an engine end; its memory is seen to be free a while later."""
        guest.has_engine, guest.requests = False, set()
        generation = guest.generation

        def gone() -> None:
            self.book.release(guest.key)
            if guest.generation == generation and guest.status == "unloading":
                guest.move("engine_gone")
            for wanted in self.guests.values():
                self._start_if_cleared(wanted)

        self.after(self.dice.uniform(0.1, 2), gone)

    def _start_if_cleared(self, wanted: Guest) -> None:
        promise = next((entry for entry in self.book.reservations if entry.key == wanted.key), None)
        if wanted.status != "loading" or promise is None or promise.awaits or self._is_pending(wanted.key):
            return
        if isinstance(self.book.judge_again(wanted.key, self.rooms()), Infeasible):
            self.book.release(wanted.key)
            wanted.move("engine_lost")
        else:
            self._start(wanted)
