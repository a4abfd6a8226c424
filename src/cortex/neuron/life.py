"""Leads one instance through one life: start, ready, serve, drain, stop, memory free. One task per life.

It performs what ``residency/lifecycle.py`` allows and decides nothing about room. Whatever happens, the memory is
given back exactly once, and only after the engine is gone and a sample has been taken. It is the only writer of its
instance while it runs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, NamedTuple

from cortex.contract.error import CortexError, ShuttingDown
from cortex.contract.instance import InstanceError, UnloadReason
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner
from cortex.kit.work import phase, take_work
from cortex.neuron.admission import Admission
from cortex.neuron.clearing import Clearing, Outcome
from cortex.neuron.departure import QUIET_POLL_S, Departure
from cortex.neuron.first_of import first_of
from cortex.neuron.harness.interface import Engine, EngineExit, Harness, Launch
from cortex.neuron.holder import Holders, NoHolders
from cortex.neuron.instance import SILENT_AFTER_S, Instance
from cortex.neuron.memory_return import MemoryReturn, of_model, of_process
from cortex.neuron.process.log_tail import size_bytes, tail
from cortex.neuron.refusal import Busy
from cortex.neuron.sampler import Sampler
from cortex.neuron.state_dir import Handle, Record, StateDir
from cortex.neuron.trace import coming_up
from cortex.residency.drain import Drain, Look
from cortex.residency.lifecycle import LifecycleEvent
from cortex.residency.load_deadline import LoadDeadline

log = logging.getLogger(__name__)

PORT_TRIES = 8
"""Engines that find their port taken are started again on the next one so often."""
STOP_GRACE_S = 10.0
"""Between SIGTERM and SIGKILL; llama.cpp's own router grants its children as much."""
PROGRESS_POLL_S = 2.0
"""Between two looks whether a load gets on."""
MEMORY_WAIT_S = 10.0
"""How long a GPU driver may take to free the memory of a process that is gone."""


class LifeSupport(NamedTuple):
    """What every life needs of the neuron."""

    admission: Admission
    sampler: Sampler
    state: StateDir
    clock: Clock
    changed: Callable[[], None]
    """Called after every change of an instance."""
    event: Callable[[], int]
    """The number of the newest change."""
    load_timeout_s: float
    start_id: str
    """This neuron process."""
    unloaded: Callable[[str, bool], None] = lambda _harness, _is_memory_back: None
    """Called with the harness's name after every unload of an engine, and whether the memory came back."""
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
    holders: Holders = NoHolders()


class Life:
    """One life. ``run`` is its task; ``leave`` may be called at any moment until it has ended."""

    def __init__(self, instance: Instance, harness: Harness, launch: Launch, support: LifeSupport) -> None:
        self.instance = instance
        self.clearing: Clearing | None = None
        """Who goes for it first."""
        self._harness = harness
        self._launch = launch
        self._support = support
        self._owner = TaskOwner()
        self._leaving = asyncio.Event()
        self._departure: Departure | None = None
        self._is_departure_mine = False
        self._outcome: Outcome | None = None
        self._stuck: Busy | None = None
        self._is_new = True
        self._work = take_work()
        """The load, for whoever traces it."""
        self.decided = asyncio.Event()
        """Set once it is known whether the engine serves."""
        self.ended = asyncio.Event()

    async def run(self, found: Engine | None = None) -> None:
        """Live, with an engine ``found`` running or one that is started. Cancelled, it leaves the engine alone."""
        refusal: CortexError | None = None
        try:
            await self._live(found)
            await self._go_down()
        except asyncio.CancelledError:
            refusal = ShuttingDown("the neuron is stopping; its engines go on")
            if self.instance.engine is not None:
                self.instance.engine.let_go()
            raise
        except Exception as error:
            refusal = self._break_off(error)
        finally:
            if self._departure is not None:
                self._departure.release(self.instance.model_id)
            self.decided.set()
            self.ended.set()
            self._settle(refusal)
            self._support.changed()

    def leave(self, *, drain_s: float, force: bool, reason: UnloadReason = "request") -> Outcome:
        """Ask the instance to unload; the future tells how that ends. Whoever awaits it must shield it.

        Requests that still run after ``drain_s`` are cut with ``force``; without, the drain is given up. A second call
        joins the first, and with ``force`` shortens its time. An eviction under way has no say in it any more.
        """
        support = self._support
        until_s = support.clock.now_s() + drain_s
        if self._outcome is not None and self._is_departure_mine:
            assert self._departure is not None
            if force:
                self._departure.drain.force(until_s)
            return self._outcome
        if self._departure is not None:
            self._departure.release(self.instance.model_id)
        own = Departure(Drain("maintenance", until_s, is_forced=force), support.clock, support.sleep)
        return self._depart(own, reason, is_mine=True)

    def propose(self, departure: Departure, reason: UnloadReason) -> Outcome:
        """Drain the instance, which serves, for an eviction that is decided elsewhere; the future as of ``leave``."""
        return self._depart(departure, reason, is_mine=False)

    @property
    def is_stuck_in_server(self) -> bool:
        """Whether it was told in vain to leave a server that models share: it goes with the server alone."""
        engine = self.instance.engine
        return self._stuck is not None and engine is not None and engine.handle.is_shared

    def is_on(self, devices: Collection[int]) -> bool:
        """Tell whether it has memory on any of these devices."""
        return any(device.index in devices for device in self._launch.devices)

    async def look(self) -> None:
        """Ask the engine what it is doing, for the reports."""
        instance = self.instance
        if instance.status not in ("loaded", "draining") or instance.engine is None:
            return
        asked_s = self._support.clock.now_s()
        activity = await instance.engine.activity()
        was_silent, now_s = instance.is_silent, self._support.clock.now_s()
        instance.note(activity, asked_s, now_s)
        if instance.is_silent != was_silent:
            words = f"does not answer since {SILENT_AFTER_S:.0f} s" if instance.is_silent else "answers again"
            log.warning("%s: its engine %s", instance.model_id, words)
            self._support.changed()

    def _depart(self, departure: Departure, reason: UnloadReason, *, is_mine: bool) -> Outcome:
        departure.add(self.instance.model_id, self._seen)
        self.instance.unload_reason = reason
        self._departure, self._is_departure_mine = departure, is_mine
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            self._leaving.set()
            if self.instance.status in ("loading", "loaded"):
                self._move("unload_requested")
            if self._stuck is not None:
                self._outcome.set_result(self._stuck)
        return self._outcome

    async def _live(self, found: Engine | None) -> None:
        """Lead the instance until its engine is to go, or is gone."""
        try:
            with coming_up(self._work, self.instance):
                is_up = await self._come_up(found)
            if is_up:
                await self._serve()
        except Exception as error:
            self._break_off(error)

    async def _come_up(self, found: Engine | None) -> bool:
        """Start an engine and wait until it serves; False when the life is over before."""
        ended: EngineExit | None = None
        self._is_new = found is None
        if not await self._has_room():
            return False
        for _ in range(PORT_TRIES):
            started = found or await self._start()
            found = None
            if isinstance(started, EngineExit):
                ended = started
            elif started is not None:
                self._take_on(started)
                ended = await self._become_ready(started)
            if self._leaving.is_set():
                return False
            if ended is None:
                return True
            if not ended.is_port_taken:
                break
            log.info("%s: port taken, trying the next", self.instance.model_id)
        if ended is not None:
            self._fail(ended.error)
        return False

    async def _has_room(self) -> bool:
        """Wait for those to go who go for this load; False when they stay, or when it is called off."""
        if self.clearing is None:
            return True
        with phase("evict"):
            name, error = await first_of(self._owner, cleared=self.clearing.run(), leaving=self._leaving.wait())
        if name == "leaving" or self._leaving.is_set():
            return False
        if error is not None:
            self._fail(error)
        return error is None

    async def _start(self) -> Engine | EngineExit | None:
        """Start an engine; None when asked to leave before it ran. An engine that runs by then is never lost."""
        try:
            with phase("start engine"):
                name, started = await first_of(
                    self._owner, started=self._harness.start(self._launch), leaving=self._leaving.wait()
                )
        except CortexError as error:
            return EngineExit(error=InstanceError(code=error.code, message=error.message))
        return started if name == "started" else None

    async def _become_ready(self, engine: Engine) -> EngineExit | None:
        """Wait until the engine serves (None, also when asked to leave) or is gone."""
        begin_s = self._support.clock.now_s()
        with phase("ready"):
            name, value = await first_of(
                self._owner,
                exited=engine.exited(),
                leaving=self._leaving.wait(),
                ready=engine.ready(),
                late=self._until_late(engine, begin_s),
            )
        now_s = self._support.clock.now_s()
        if name == "late" and not self._leaving.is_set():
            message = f"not ready after {now_s - begin_s:.0f} s"
            return EngineExit(
                error=InstanceError(code="load_timeout", message=message, log_tail=tail(self._launch.log))
            )
        if name == "ready" and not self._leaving.is_set():
            self.instance.active_s = self.instance.loaded_s = now_s
            self.instance.load_s = now_s - begin_s if self._is_new else self.instance.load_s
            self._support.admission.settle(self.instance.model_id)
            self._move("engine_ready")
        return value if name == "exited" else None

    async def _until_late(self, engine: Engine, begin_s: float) -> None:
        """Return when a load has taken too long."""
        clock = self._support.clock
        deadline = LoadDeadline(self._launch.prepared.need_mb, self._support.load_timeout_s, begin_s)
        while left_s := deadline.left_s(clock.now_s()):
            await self._support.sleep(min(left_s, PROGRESS_POLL_S))
            held_mb = sum(self._support.admission.held_mb(engine.handle.holder_pid).values())
            deadline.note((held_mb, size_bytes(self._launch.log)), clock.now_s())

    async def _serve(self) -> None:
        """Watch a loaded engine until it is lost or has been drained."""
        engine = self.instance.engine
        assert engine is not None
        while True:
            name, value = await first_of(self._owner, exited=engine.exited(), leaving=self._leaving.wait())
            if name == "exited":
                if self.instance.status == "loaded":
                    self._fail(value.error)
                else:
                    self._move("engine_lost")
                return
            if await self._is_to_go(engine):
                return

    async def _is_to_go(self, engine: Engine) -> bool:
        """Wait until the drain is decided; False when it was given up."""
        while True:
            departure = self._departure
            assert departure is not None
            mine = departure.run if self._is_departure_mine else None
            name, goes = await first_of(
                self._owner, exited=engine.exited(), decided=mine() if mine else self._goes(departure)
            )
            if name == "exited":
                self._move("engine_lost")
                return True
            if goes:
                self._move("drained")
                return True
            if departure is self._departure:  # else somebody else has told it to leave meanwhile
                self._stay(departure.in_flight)
                return False

    async def _goes(self, departure: Departure) -> bool:
        return await departure.fate(self.instance.model_id) == "goes"

    async def _seen(self) -> Look:
        """Look at the instance for a drain: the engine's own count and the holders' word, whichever is more."""
        instance, support = self.instance, self._support
        counted: int | None = 0
        if self._harness.capabilities.reports_in_flight and instance.engine is not None:
            asked_s, activity = support.clock.now_s(), await instance.engine.activity()
            if activity is not None:
                instance.in_flight, instance.counted_s = activity.in_flight, asked_s
            counted = None if activity is None else activity.in_flight
        of = (instance.model_id, self._launch.generation, support.clock.now_s())
        held = support.holders.in_flight(*of)
        return Look(
            in_flight=(held or None) if counted is None else max(counted, held),
            is_acknowledged=support.holders.has_all_acknowledged(*of),
        )

    def _stay(self, in_flight: int | None) -> None:
        """Give up a drain: the instance goes on serving."""
        self._leaving.clear()
        self._departure = self.instance.unload_reason = None
        self._move("drain_given_up")
        counted = "an unknown number of" if in_flight is None else str(in_flight)
        words = f"{self.instance.model_id} still has {counted} requests running; `force` would cut them"
        self._settle(Busy(words, status="loaded", in_flight=in_flight))

    async def _go_down(self) -> None:
        """Stop the engine, wait until it and its memory are gone, and close the books."""
        engine = self.instance.engine
        is_back = True
        if engine is not None:
            expected = self._memory_to_come(engine.handle)
            if not await engine.stop(STOP_GRACE_S):
                self._be_stuck(engine)
            await engine.exited()
            is_back = await self._memory_is_back(expected)
        self._support.admission.release(self.instance.model_id)
        self.instance.engine, self.instance.in_flight = None, 0
        with contextlib.suppress(OSError):  # then the next neuron finds a record without an engine, and removes it
            self._support.state.remove_record(self._launch.generation)
        if self.instance.status == "unloading":
            if not is_back:
                words = "its engine is gone, and the devices still show its memory as taken"
                self.instance.error = InstanceError(code="memory_kept", message=words)
            self._move("engine_gone")
            if engine is not None:
                self._support.unloaded(self._harness.name, is_back)

    def _be_stuck(self, engine: Engine) -> None:
        """Tell of an engine that even SIGKILL did not end; its memory stays taken until it does."""
        pid = engine.handle.pid
        words = f"process {pid} does not end: it hangs in the kernel, perhaps in its driver"
        if engine.handle.is_shared:
            words = f"the server at {engine.handle.url} does not unload it: a restart of the harness would"
        self.instance.error = InstanceError(code="engine_stuck", message=words)
        log.error("%s: %s", self.instance.model_id, words)
        self._stuck = Busy(words, status="failed")
        if self.instance.status == "unloading":
            self._move("engine_stuck")
        else:
            self._support.changed()
        self._settle(self._stuck)

    def _memory_to_come(self, handle: Handle) -> MemoryReturn:
        """Return what will have to be seen of an engine that is about to be stopped."""
        admission, readings = self._support.admission, self._support.sampler.latest.readings
        declared_mb = admission.declared_mb(self.instance.model_id)
        if not handle.is_shared and not handle.memory_pid:
            return of_process(handle.pid, declared_mb, readings)
        pid = handle.holder_pid
        measured_mb = admission.measured_mb(self.instance.model_id)
        return of_model(pid, admission.held_mb(pid), measured_mb, declared_mb, readings)

    async def _memory_is_back(self, expected: MemoryReturn) -> bool:
        """Sample until the devices show what is expected; False when they show that it is not so for too long."""
        limit_s = self._support.clock.now_s() + MEMORY_WAIT_S
        is_back: bool | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MEMORY_WAIT_S):  # of a probe that hangs
                while self._support.clock.now_s() <= limit_s:
                    readings = (await self._support.sampler.refresh()).readings
                    was_back, is_back = is_back, expected.is_back(readings)
                    if is_back and (was_back or expected.is_less(readings)):
                        return True
                    await self._support.sleep(QUIET_POLL_S)
        if is_back:
            return True
        if is_back is None:
            log.warning("%s: no device tells whether its memory is free again", self.instance.model_id)
            return True
        log.warning("%s: memory of process %d is still taken", self.instance.model_id, expected.pid)
        return False

    def _take_on(self, engine: Engine) -> None:
        """Enter a running engine into the books; the record lets the next neuron find it."""
        book, key = self._support.admission.book, self.instance.model_id
        if any(reservation.key == key for reservation in book.reservations):
            self._support.admission.begin(key)
        self.instance.engine = engine
        try:
            self._support.state.write_record(self.record(engine.handle))
        except OSError as error:
            if self._is_new:
                raise
            # It runs and serves. The record by which it was found is still there.
            log.warning("%s: its record cannot be written anew: %s", key, error.strerror)
        self._support.changed()

    def record(self, handle: Handle) -> Record:
        """Return what another neuron process needs to go on with this life."""
        launch = self._launch
        return Record(
            model_id=self.instance.model_id,
            harness=self._harness.name,
            generation=launch.generation,
            nonce=launch.nonce,
            devices=tuple(device.index for device in launch.devices),
            device_uuids=tuple(device.uuid or "" for device in launch.devices),
            need_mb=launch.prepared.need_mb,
            is_estimate=launch.prepared.is_estimate,
            parallel=launch.prepared.parallel,
            context=launch.prepared.context,
            request=launch.request,
            handle=handle,
        )

    def _fail(self, error: InstanceError) -> None:
        self.instance.error = error
        log.warning("%s: %s", self.instance.model_id, error.message, extra={"generation": self._launch.generation})
        self._move("engine_lost")

    def _break_off(self, error: Exception) -> CortexError:
        """Note a defect of ours, or a disk that is full: the instance has failed, whatever its state was."""
        log.exception("%s: the supervision failed", self.instance.model_id)
        words = f"{type(error).__name__}: {error}"
        self.instance.status = "failed"
        self.instance.error = InstanceError(code="internal_error", message=words)
        self._support.changed()
        return CortexError(words)

    def _move(self, event: LifecycleEvent) -> None:
        before = self.instance.status
        self.instance.move(event)
        after = self.instance.status
        log.info("%s: %s -> %s", self.instance.model_id, before, after, extra={"generation": self._launch.generation})
        if after != "loading":
            self.decided.set()
        self._support.changed()

    def _settle(self, refusal: CortexError | None) -> None:
        """Tell those who asked to unload how it ended."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome.done():
            outcome.set_result(refusal)
