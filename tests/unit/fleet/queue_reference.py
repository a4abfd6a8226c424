"""The fair queue again, as slow and as plain as its description: what the real one is compared with."""

from collections.abc import Callable

from cortex.fleet.queueing import LEAST_TOKENS, QueueBound, Waiting
from cortex.fleet.replica import Replica


class SlowQueue:
    """Keeps every waiter in one list, every caller for ever, and looks at all of them for everything."""

    def __init__(self) -> None:
        self.waiters: list[Waiting] = []
        self.start: dict[str, float] = {}
        self.turn: dict[str, int] = {}
        self.now = 0.0
        self.turns = 0

    def values(self) -> list[Waiting]:
        return sorted(self.waiters, key=lambda waiting: (waiting.since_s, waiting.ticket))

    def of(self, caller: str) -> list[Waiting]:
        return [waiting for waiting in self.values() if waiting.caller == caller]

    def put_behind(self, caller: str) -> None:
        self.turns += 1
        self.turn[caller] = self.turns

    def add(self, waiting: Waiting) -> None:
        if not self.of(waiting.caller):
            self.start[waiting.caller] = max(self.start.get(waiting.caller, 0.0), self.now)
            self.put_behind(waiting.caller)
        self.waiters.append(waiting)

    def remove(self, ticket: int) -> Waiting | None:
        for waiting in self.waiters:
            if waiting.ticket == ticket:
                self.waiters.remove(waiting)
                return waiting
        return None

    def refusal_for(self, waiting: Waiting, bound: QueueBound) -> str | None:
        if waiting.caller and len(self.of(waiting.caller)) >= bound.max_waiting_per_caller:
            return "caller_full"
        return "full" if len(self.waiters) >= bound.max_waiting else None

    def overdue(self, now_s: float, bound_s: float) -> list[Waiting]:
        return [
            waiting
            for waiting in self.values()
            if now_s - waiting.since_s >= (bound_s if waiting.patience_s is None else waiting.patience_s)
        ]

    def serve(self, pick: Callable[[Waiting], Replica | None], grants: int) -> list[tuple[int, Replica]]:
        """Give out at most so many."""
        served: list[tuple[int, Replica]] = []
        while len(served) < grants:
            found = self.next(pick)
            if found is None:
                break
            waiting, replica = found
            callers = {waiter.caller for waiter in self.waiters}
            tokens = max(waiting.tokens, LEAST_TOKENS)
            self.now = max(self.now, self.start[waiting.caller]) + tokens / len(callers)
            self.start[waiting.caller] += tokens
            self.put_behind(waiting.caller)
            self.remove(waiting.ticket)
            replica.in_flight += 1
            served.append((waiting.ticket, replica))
        return served

    def next(self, pick: Callable[[Waiting], Replica | None]) -> tuple[Waiting, Replica] | None:
        callers = {waiter.caller for waiter in self.waiters}
        for caller in sorted(callers, key=lambda name: (self.start[name], self.turn[name])):
            for waiting in self.of(caller):
                replica = pick(waiting)
                if replica is not None:
                    return waiting, replica
        return None
