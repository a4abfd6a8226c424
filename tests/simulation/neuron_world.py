"""The neuron's own objects under a hundred callers at once: engines, gateways, strangers and time are drawn.

Supervisor, lives, books, tickets, sampler and state directory are the real ones; engines are played by ``WorldEngine``,
which looks at the rules whenever it is told to stop. Everything else is checked between any two turns of the loop.
"""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from typing import Any

from tests.unit.neuron.fake_node import CRASH, FakeEngine, FakeHarness, FakeNode, FakeProbe

from cortex.contract.error import CortexError
from cortex.contract.instance import LoadRequest, PinRequest, UnloadRequest, Victim
from cortex.contract.node import RestartRequest
from cortex.neuron.adoption import find_engines
from cortex.neuron.harness.interface import Activity, EngineExit, Launch
from cortex.neuron.instance import Instance
from cortex.neuron.state_dir import Record
from cortex.neuron.turnover import Limits
from cortex.residency.fit import even_share_mb, held_on
from cortex.testing.virtual_clock import VirtualClock

TOTAL_MB = 1000
HEADROOM_MB = 50
DEVICES = 2
LIMITS = Limits(drain_s=10, grace_s=2, max_wait_s=20)
STRANGER = 1
NEEDS_MB = (150, 300, 450, 700)
STEP_S = 0.1
TURNS = 4
"""Turns of the loop between two steps of the clock."""
ALLOWED = frozenset(
    ("no_room", "busy", "held", "stale", "model_not_found", "loaded_differently", "shutting_down", "not_loaded")
)
"""What a caller may be told."""
DISK = "the state directory cannot be written"


class Foul(AssertionError):
    """A rule is broken."""


def must(is_so: bool, words: str) -> None:
    if not is_so:
        raise Foul(words)


class WorldEngine(FakeEngine):
    """An engine whose memory is taken and given back, and that is never stopped against the rules."""

    def __init__(self, world: "World", launch: Launch, pid: int) -> None:
        super().__init__(pid)
        self.world = world
        self.launch = launch
        self.key = launch.request.model_id
        count = len(launch.devices)
        self.share_mb = even_share_mb(launch.prepared.need_mb, count)
        world.take(self)

    async def stop(self, grace_s: float) -> bool:
        if self.end.done():
            return True
        self.world.is_told_to_stop(self)
        return await super().stop(grace_s)

    def crash(self, how: EngineExit = CRASH) -> None:
        if not self.end.done():
            self.activity_now = Activity(in_flight=0, work=0)
            self.world.give_back(self)
        super().crash(how)

    def requests(self) -> int:
        return self.activity_now.in_flight if self.activity_now is not None else 0

    def count(self, change: int) -> None:
        if not self.end.done():
            self.activity_now = Activity(in_flight=self.requests() + change, work=self.world.clock.now_s())


class WorldHarness(FakeHarness):
    """Starts engines that serve after a while, or do not."""

    world: "World"

    async def start(self, launch: Launch) -> FakeEngine | EngineExit:
        self.launches.append(launch)
        await self.world.clock.sleep(self.world.dice.uniform(0, 0.5))
        if self.world.dice.random() < 0.05:
            return CRASH
        engine = WorldEngine(self.world, launch, (1 << 23) + len(self.engines))
        self.engines.append(engine)
        self.world.spawn(self._come_up(engine))
        return engine

    async def recover(self, record: Record, log: Path) -> FakeEngine | None:
        engine = await super().recover(record, log)
        return None if engine is None or engine.end.done() else engine

    async def _come_up(self, engine: FakeEngine) -> None:
        await self.world.clock.sleep(self.world.dice.uniform(0.1, 3))
        if self.world.dice.random() < 0.1:
            engine.crash()
        else:
            engine.serves.set()


class World:
    """One node and all that is around it."""

    def __init__(self, seed: int, folder: Path, models: int = 8) -> None:
        self.dice = random.Random(seed)
        self.harness = WorldHarness()
        self.harness.world = self
        self.node = FakeNode(folder, FakeProbe((TOTAL_MB,) * DEVICES), (self.harness,))
        self.loading: dict[str, int] = {}
        self.operated: dict[str, int] = {}
        self.forced: dict[str, int] = {}
        self.outcomes: dict[str, int] = {}
        self.evictions = 0
        self.is_over = self.is_starting = self.is_disk_full = False
        self._requests_per_s = self.dice.choice((0.1, 0.4, 2))
        self._specs = {f"m{index}": self._spec() for index in range(models)}
        self._generations: dict[str, int] = {}
        self._statuses: dict[str, str] = {}
        self._pinned_s: dict[str, float] = {}
        self._event = 0
        self._untaken = asyncio.Event()
        self._untaken.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fouls: list[Foul] = []

    @property
    def clock(self) -> VirtualClock:
        return self.node.clock

    async def run(self, callers: int, actions: int) -> None:
        """Let so many callers act so often each, in the middle of which the neuron is restarted; then come to rest."""
        await self.open()
        self.node.events.watch(self._note)
        for life in (self._gateways, self._strangers, self._accidents, self._looks, self._disk):
            self.spawn(life())
        acting = [self.spawn(self._caller(actions)) for _ in range(callers)]
        await self.until(lambda: sum(task.done() for task in acting) >= callers // 2)
        await self.restart()
        await self.until(lambda: all(task.done() for task in acting))
        self.is_over = True
        await self.until(lambda: not self._tasks)
        await self._rest()

    async def open(self) -> None:
        self._fill_disk()
        await self.node.open(limits=LIMITS, headroom_mb=HEADROOM_MB)

    async def restart(self) -> None:
        """Stop the neuron and start the next one; every engine runs on, and none but those is gone on with."""
        running = {engine.handle.pid for engine in self._running()}
        self.is_starting, node = True, self.node
        stopping = asyncio.create_task(node.supervisor.stop(keep_engines=True))
        await self.until(stopping.done)
        await stopping
        must(
            running <= {engine.handle.pid for engine in self._running()} | self._crashed(), "a restart ended an engine"
        )
        node.instances.clear()
        self._statuses.clear()
        self.operated.clear()
        self.forced.clear()
        await self.open()
        written_down = {record.handle.pid for record in node.state.records()}
        for engine in self._running():
            if engine.handle.pid not in written_down:  # found by its nonce in ``/proc``, where there is one, and ended
                engine.crash()
        running = {engine.handle.pid for engine in self._running()}
        self.is_disk_full = self.dice.random() < 0.5
        adopting = asyncio.create_task(self._adopt())
        await self.until(adopting.done)
        await adopting
        must(running <= {e.handle.pid for e in self._running()} | self._crashed(), "an engine is ended as it is found")
        adopted = {i.engine.handle.pid for i in node.instances.values() if i.engine is not None}
        running = {engine.handle.pid for engine in self._running()}
        self.is_starting = False
        must(running <= adopted <= running | self._crashed(), "not exactly those that run were adopted")

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until something is so, and look at the rules at every turn."""
        limit_s = self.clock.now_s() + 2000
        while not is_so():
            for _ in range(TURNS):
                await asyncio.sleep(0)
                self.look()
            if self.clock.sleepers() and not self.node.sampler.is_at_work():
                self.clock.advance(STEP_S)
            must(self.clock.now_s() < limit_s, f"it does not come to an end: {self._statuses}")

    async def close(self) -> None:
        """End whatever is left of a run that was broken off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.node.supervisor.stop(keep_engines=True)
        self.node.sampler.close()
        self.node.state.close()

    def spawn(self, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(life)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(foul := task.exception(), Foul):
            self._fouls.append(foul)

    # What engines tell of themselves.

    def take(self, engine: WorldEngine) -> None:
        """Note that an engine's process has its memory from now on."""
        must(not any(e.key == engine.key for e in self._running() if e is not engine), f"{engine.key} runs twice")
        for device in engine.launch.devices:
            self._use(device.index, engine.handle.pid, engine.share_mb)

    def give_back(self, engine: WorldEngine) -> None:
        """Have the memory of a process that is gone come back a while later."""

        async def come_back() -> None:
            await self.clock.sleep(self.dice.uniform(0, 1))
            for device in engine.launch.devices:
                self._use(device.index, engine.handle.pid, 0)

        self.spawn(come_back())

    def is_told_to_stop(self, engine: WorldEngine) -> None:
        """Check that an engine may be stopped: by force, by an operator when idle, or for a load by the rules."""
        instance = self.node.instances[engine.key]
        try:
            if instance.loaded_s is None or engine.key in self.forced:
                return  # it was still loading, or was cut with full intent
            must(not engine.requests(), f"{engine.key} is stopped with {engine.requests()} requests in it")
            must(engine.key not in self.node.holders.deaf, f"{engine.key} is stopped before a gateway has let go")
            if engine.key not in self.operated:
                self.evictions += 1
                self._check_eviction(instance)
        except Foul as foul:
            self._fouls.append(foul)

    def _check_eviction(self, instance: Instance) -> None:
        pinned_s = self._pinned_s.get(instance.model_id, self.clock.now_s())
        is_late = self.clock.now_s() - pinned_s <= 2 * STEP_S
        must(is_late, f"{instance.model_id} is evicted though it is pinned")
        assert instance.launch is not None
        assert instance.loaded_s is not None
        stays_s = max(instance.launch.request.min_residency_s or 0, 2 * (instance.load_s or 0))
        left_s = instance.loaded_s + stays_s - self.clock.now_s()
        must(left_s <= 0, f"{instance.model_id} is evicted {left_s:.2f} s too early")

    # What is around the neuron.

    async def _caller(self, actions: int) -> None:
        for _ in range(actions):
            await self.clock.sleep(self.dice.uniform(0, 90))
            while self.is_starting:  # the API answers 503 then
                await self.clock.sleep(1)
            key = self.dice.choice(list(self._specs))
            act = self.dice.choices((self._load, self._unload, self._pin, self._restart_harness), (20, 4, 2, 0.1))[0]
            try:
                await (self._impatient(act(key)) if act == self._load and self.dice.random() < 0.1 else act(key))
                code = act.__name__.strip("_")
            except CortexError as error:
                code = error.code
                must(code in ALLOWED or DISK in error.message, f"a caller is told {code}: {error.message}")
            self.outcomes[code] = self.outcomes.get(code, 0) + 1

    async def _impatient(self, act: Coroutine[Any, Any, None]) -> None:
        """Leave before it is over, perhaps."""
        acting = asyncio.create_task(act)
        await self.clock.sleep(self.dice.uniform(0, 2 * LIMITS.grace_s))
        acting.cancel()
        with suppress(asyncio.CancelledError):
            await acting

    async def _load(self, key: str) -> None:
        """Ask for a load, and again as one is told to, a few times."""
        for left in reversed(range(4)):
            if self.is_starting:
                return
            await self._untaken.wait()
            request = LoadRequest(model_id=key, harness="fake", evict=self._victims(key), **self._specs[key])
            try:
                with marked(self.loading, key):
                    await self.node.supervisor.load(request)
                return
            except CortexError as error:
                if not left or "retry_in_s" not in error.details or self.is_starting:
                    raise
                await self.clock.sleep(float(str(error.details["retry_in_s"])))

    def _victims(self, key: str) -> tuple[Victim, ...]:
        """Choose a few that are on the same devices, as somebody does who does not look too closely."""
        devices = set(self._specs[key]["devices"])
        there = [r for r in self.node.supervisor.reports() if r.id != key and devices & set(r.devices)]
        chosen = [r for r in there if (r.status == "loaded" and not r.pinned) or self.dice.random() < 0.05]
        return tuple(Victim(model_id=r.id, generation=r.generation) for r in chosen)

    async def _unload(self, key: str) -> None:
        force = self.dice.random() < 0.5
        with marked(self.operated, key), marked(self.forced, key if force else ""):
            await self.node.supervisor.unload(UnloadRequest(model_id=key, force=force))

    async def _pin(self, key: str) -> None:
        pinned = self.dice.choice((True, None, None))
        self.node.supervisor.pin(PinRequest(model_id=key, pinned=pinned))
        self._pinned_s.pop(key, None)
        if pinned:
            self._pinned_s[key] = self.clock.now_s()

    async def _restart_harness(self, _: str) -> None:
        with marked(self.operated, *self._specs):
            await self.node.supervisor.restart("fake", RestartRequest())

    async def _gateways(self) -> None:
        """Send requests to whoever is believed to serve, until a gateway has heard of a drain."""
        while not self.is_over:
            await self.clock.sleep(self.dice.expovariate(self._requests_per_s))
            serving = [e for e in self._running() if e.key in self.node.holders.deaf or self._status(e) == "loaded"]
            if serving:
                self.spawn(self._request(self.dice.choice(serving)))

    async def _request(self, engine: WorldEngine) -> None:
        engine.count(1)
        await self.clock.sleep(self.dice.uniform(0.1, 5))
        engine.count(-1)

    async def _strangers(self) -> None:
        """Have strangers take what nobody was promised, and give it back."""
        while not self.is_over:
            await self.clock.sleep(self.dice.uniform(1, 5))
            if self.loading or self.is_starting:
                continue
            self._untaken.clear()  # what is taken between a sample and an admission is nobody's fault
            index = self.dice.randrange(DEVICES)
            used_mb = self.node.probe.uses.get(index, {}).get(STRANGER, 0)
            free_mb = TOTAL_MB - HEADROOM_MB - self._booked_mb(index) - self._lingering_mb(index) - used_mb
            more_mb = self.dice.randint(0, max(0, min(free_mb, 100 - used_mb)))
            self._use(index, STRANGER, 0 if self.dice.random() < 0.5 else used_mb + more_mb)
            await self.node.sampler.refresh()
            self._untaken.set()

    def _fill_disk(self) -> None:
        """Have what is written down fail as long as the disk is full."""
        state = self.node.state

        def failing(write: Callable[..., Any]) -> Callable[..., Any]:
            def write_or_fail(*what: Any) -> Any:
                if self.is_disk_full:
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
                return write(*what)

            return write_or_fail

        for name in ("next_generation", "write_record", "write_file"):
            setattr(state, name, failing(getattr(type(state), name).__get__(state)))

    async def _disk(self) -> None:
        while not self.is_over:
            await self.clock.sleep(self.dice.uniform(1, 10) if self.is_disk_full else self.dice.uniform(10, 60))
            self.is_disk_full = not self.is_disk_full
        self.is_disk_full = False

    async def _accidents(self) -> None:
        while not self.is_over:
            await self.clock.sleep(self.dice.expovariate(1 / 15))
            if running := self._running():
                self.dice.choice(running).crash()

    async def _looks(self) -> None:
        """Sample as the neuron does."""
        while not self.is_over:
            await self.clock.sleep(5)
            await self.node.sampler.refresh()
            self.node.supervisor.sampled()

    async def _adopt(self) -> None:
        await self.node.supervisor.adopt(await find_engines(self.node.state, self.node.harnesses))

    # The rules.

    def look(self) -> None:
        """Check what must be so at any moment."""
        if self._fouls:
            raise self._fouls[0]
        for device in range(DEVICES):
            strangers_mb = self.node.probe.uses.get(device, {}).get(STRANGER, 0)
            over_mb = strangers_mb + self._booked_mb(device) - (TOTAL_MB - HEADROOM_MB)
            must(over_mb <= 0, f"the books of device {device} are {over_mb} MiB over")
            used_mb = sum(self.node.probe.uses.get(device, {}).values())
            must(used_mb <= TOTAL_MB - HEADROOM_MB, f"device {device} has {used_mb} MiB in use")

    def _note(self) -> None:
        """Take in a change. What is wrong is told to the callers of the next look: this is called by the neuron."""
        try:
            self._take_in()
        except Foul as foul:
            self._fouls.append(foul)

    def _take_in(self) -> None:
        """Have gateways hear of drains a while later, and see that nothing goes back."""
        must(self.node.events.event > self._event, "events go back")
        self._event = self.node.events.event
        for report in self.node.supervisor.reports():
            if report.generation:  # 0: it has not been loaded since the neuron started
                must(
                    report.generation >= self._generations.get(report.id, 0), f"{report} goes back {self._generations}"
                )
                self._generations[report.id] = report.generation
            before, self._statuses[report.id] = self._statuses.get(report.id), report.status
            if report.status == "draining" and before != "draining":
                self.node.holders.deaf.add(report.id)
                self.spawn(self._acknowledge(report.id))
            elif report.status != "draining":
                self.node.holders.deaf.discard(report.id)

    async def _acknowledge(self, key: str) -> None:
        await self.clock.sleep(self.dice.uniform(0, 1.2 * LIMITS.grace_s))
        self.node.holders.deaf.discard(key)

    async def _rest(self) -> None:
        """Unload all, and find nothing left."""
        self._use(0, STRANGER, 0)
        self._use(1, STRANGER, 0)
        for key in list(self.node.instances):
            unloading = self.spawn(self._unload(key))
            await self.until(unloading.done)
        await self.until(lambda: not self._tasks and not self._running())
        must(self.node.booked() == ([], []), f"memory is left: {self.node.booked()}")
        must(self.node.state.records() == (), "records are left")
        must(not any(self.node.probe.uses[index].get(STRANGER) for index in range(DEVICES)), "strangers are left")

    def _booked_mb(self, device: int) -> int:
        """Count by hand what the books have given away of a device."""
        book = self.node.admission.book
        held = {entry.key: held_on(entry.shares, device) for entry in book.residents}
        promises = [(held_on(entry.shares, device), entry.awaits) for entry in book.reservations]
        awaited = {key for _, awaits in promises for key in awaits}
        return sum(mb for key, mb in held.items() if key not in awaited) + sum(
            max(mb, sum(held.get(key, 0) for key in awaits)) for mb, awaits in promises
        )

    def _lingering_mb(self, device: int) -> int:
        """Return what is in use of a device by processes that the books know nothing of any more."""
        known = {i.engine.handle.pid for i in self.node.instances.values() if i.engine is not None}
        uses = self.node.probe.uses.get(device, {})
        return sum(mb for pid, mb in uses.items() if pid != STRANGER and pid not in known)

    def _use(self, device: int, pid: int, mb: int) -> None:
        """Change what a process holds; the sampler's thread may be reading, so nothing is changed in place."""
        uses = {other: held for other, held in self.node.probe.uses.get(device, {}).items() if other != pid}
        self.node.probe.uses = {**self.node.probe.uses, device: {**uses, pid: mb} if mb else uses}

    def _running(self) -> list[WorldEngine]:
        return [engine for engine in self.harness.engines if isinstance(engine, WorldEngine) and not engine.end.done()]

    def _crashed(self) -> set[int]:
        return {engine.handle.pid for engine in self.harness.engines if engine.end.done() and not engine.stops}

    def _status(self, engine: WorldEngine) -> str:
        return self._statuses.get(engine.key, "")

    def _spec(self) -> dict[str, object]:
        count = 1 if self.dice.random() < 0.7 else DEVICES
        return {
            "vram_mb": self.dice.choice(NEEDS_MB) * count,
            "devices": tuple(sorted(self.dice.sample(range(DEVICES), count))),
            "min_residency_s": self.dice.choice((None, None, 4.0)),
        }


@contextmanager
def marked(counts: dict[str, int], *keys: str) -> Iterator[None]:
    """Count keys for the time of a block; an empty key is none."""
    wanted = [key for key in keys if key]
    for key in wanted:
        counts[key] = counts.get(key, 0) + 1
    try:
        yield
    finally:
        for key in wanted:
            if counts.get(key, 0) > 1:
                counts[key] -= 1
            else:
                counts.pop(key, None)
