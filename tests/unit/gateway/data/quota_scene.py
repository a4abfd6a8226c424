"""A limiter whose store, tasks and clock are moved by hand; what is counted, the real book counts."""

from collections.abc import Coroutine, Generator
from itertools import count
from typing import Any, Literal

from tests.unit.gateway.data.hand_loop import START_S, FakeLoop

from cortex.contract.error import StoreUnavailable
from cortex.contract.key import Key, KeyLimits
from cortex.fleet.quota import QuotaAnswer, QuotaReport
from cortex.fleet.quota_book import QuotaBook, settle, use_now
from cortex.gateway.data.limiter import Limiter

EPOCH_S = 1_800_000_000.0  # a minute begins


class Pause:
    """Something that is awaited until the test goes on."""

    def __await__(self) -> Generator[None]:
        yield


class HandTasks:
    """Stands for ``TaskOwner``: a task runs at once, as far as it comes."""

    def __init__(self) -> None:
        self.paused: list[Coroutine[Any, Any, Any]] = []

    def start(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            coro.send(None)
        except StopIteration:
            return
        self.paused.append(coro)

    def go_on(self) -> None:
        """Let those that wait go on."""
        paused, self.paused = self.paused, []
        for coro in paused:
            self.start(coro, "")


class Store:
    """Implements ``ports.Quota``."""

    def __init__(self, loop: FakeLoop) -> None:
        self.mood: Literal["up", "down", "slow", "broken"] = "up"
        self.books: dict[str, QuotaBook] = {}
        self.reports: list[QuotaReport] = []
        self._loop = loop

    @property
    def now_s(self) -> float:
        return EPOCH_S + self._loop.time() - START_S

    async def settle(self, report: QuotaReport) -> QuotaAnswer | None:
        self.reports.append(report)
        if self.mood == "slow":
            await Pause()
        if self.mood == "down":
            raise StoreUnavailable("gone")
        if self.mood == "broken":
            raise ZeroDivisionError
        return settle(self.books.setdefault(report.key_id, QuotaBook()), report, self.now_s)

    def used(self, key: Key) -> dict[str, tuple[int, int]]:
        book = self.books.get(key.id, QuotaBook())
        return {use.limit: (use.used, use.held) for use in use_now(book, key.limits, self.now_s)}


class QuotaScene:
    """A limiter."""

    def __init__(self, *, fails_closed: bool = False) -> None:
        self.loop = FakeLoop()
        self.store = Store(self.loop)
        self.tasks = HandTasks()
        self._ids = count(1)
        self._fails_closed = fails_closed
        self.limiter = self.gateway("g")

    def gateway(self, holder: str) -> Limiter:
        """Return the limiter of a gateway on the same store."""
        return Limiter(
            self.loop,  # type: ignore[arg-type]
            self.store,
            self.tasks,  # type: ignore[arg-type]
            now_s=self.loop.time,
            epoch_s=lambda: self.store.now_s,
            holder=holder,
            fails_closed=self._fails_closed,
        )

    def key(self, **limits: int) -> Key:
        number = next(self._ids)
        return Key(id=f"key_{number}", name="alice", shown="ctx-12", limits=KeyLimits(**limits))

    def metric(self, name: str) -> float:
        samples = [sample for family in self.limiter.collect() for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)
