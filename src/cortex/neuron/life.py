"""Leads one instance through one life: start, ready, serve, drain, stop, memory free. One task per life.

It performs what ``residency/lifecycle.py`` allows and decides nothing about room. Whatever happens, the memory is
given back exactly once, and only after the engine is gone and a sample has been taken.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cortex.contract.instance import InstanceError
from cortex.kit.clock import Clock
from cortex.kit.task import TaskOwner
from cortex.neuron.admission import Admission
from cortex.neuron.first_of import first_of
from cortex.neuron.harness.interface import Engine, EngineExit, Harness, Launch
from cortex.neuron.instance import Instance
from cortex.neuron.process.log_tail import tail
from cortex.neuron.refusal import Busy
from cortex.neuron.sampler import Sampler
from cortex.neuron.state_dir import Handle, Record, StateDir

log = logging.getLogger(__name__)

PORT_TRIES = 8
"""Engines that find their port taken are started again on the next one so often."""
STOP_GRACE_S = 10.0
"""Between SIGTERM and SIGKILL; llama.cpp's own router grants its children as much."""
QUIET_POLLS = 2
"""Looks in a row that must find nothing in flight: a request may be on its way when the drain begins."""
QUIET_POLL_S = 0.1
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
    unloaded: Callable[[str, bool], None]
    """Called with the harness's name after every unload, and whether the memory came back."""
    load_timeout_s: float


class Life:
    """One life. ``run`` is its task; ``leave`` may be called at any moment."""

    def __init__(self, instance: Instance, harness: Harness, launch: Launch, support: LifeSupport) -> None:
        self._instance = instance
        self._harness = harness
        self._launch = launch
        self._support = support
        self._owner = TaskOwner()
        self._leaving = asyncio.Event()
        self._drain_s = 0.0
        self._is_forced = False
        self._outcome: asyncio.Future[None] | None = None
        self.ended = asyncio.Event()

    async def run(self, found: Engine | None = None) -> None:
        """Live, with an engine ``found`` running or one that is started. Cancelled, it leaves the engine alone."""
        try:
            if await self._come_up(found):
                await self._serve()
            await self._go_down()
        except asyncio.CancelledError:
            if self._instance.engine is not None:
                self._instance.engine.let_go()
            raise
        except Exception as error:
            log.exception("%s: the supervision failed", self._instance.model_id)
            await self._clean_up()
            self._instance.status = "failed"
            self._instance.error = InstanceError(code="internal_error", message=f"{type(error).__name__}: {error}")
        finally:
            self._support.changed()
            self.ended.set()
            self._settle(None)

    def leave(self, *, drain_s: float, force: bool) -> asyncio.Future[None]:
        """Ask the instance to unload; the future is done when it has, or fails with Busy when it stays.

        After ``drain_s`` running requests are cut with ``force``; without, the drain is given up. A second call joins.
        """
        self._is_forced |= force
        self._drain_s = drain_s
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
            self._leaving.set()
            if self._instance.status in ("loading", "loaded"):
                self._move("unload_requested")
        return self._outcome

    async def _come_up(self, found: Engine | None) -> bool:
        """Start an engine and wait until it serves; False when the life is over before."""
        engine, exit = found, None
        for _ in range(PORT_TRIES):
            if engine is None:
                name, started = await first_of(
                    self._owner, leaving=self._leaving.wait(), started=self._harness.start(self._launch)
                )
                if name == "leaving":
                    return False
                engine, exit = (None, started) if isinstance(started, EngineExit) else (started, None)
            if engine is not None:
                self._take_on(engine)
                exit = await self._become_ready(engine)
                if exit is None:
                    return not self._leaving.is_set()
            if exit is None or not exit.is_port_taken:
                break
            log.info("%s: port taken, trying the next", self._instance.model_id)
            engine = None
        if exit is not None and self._instance.status == "loading":
            self._fail(exit.error)
        return False

    async def _become_ready(self, engine: Engine) -> EngineExit | None:
        """Wait until the engine serves (None, also when asked to leave) or is gone."""
        try:
            async with asyncio.timeout(self._support.load_timeout_s):
                name, value = await first_of(
                    self._owner, exited=engine.exited(), leaving=self._leaving.wait(), ready=engine.ready()
                )
        except TimeoutError:
            await engine.stop(STOP_GRACE_S)
            message = f"not ready within {self._support.load_timeout_s:g} s"
            return EngineExit(
                error=InstanceError(code="load_timeout", message=message, log_tail=tail(self._launch.log))
            )
        if name == "ready":
            self._instance.active_s = self._support.clock.now_s()
            self._move("engine_ready")
        return value if name == "exited" else None

    async def _serve(self) -> None:
        """Watch a loaded engine until it is lost or has been drained."""
        engine = self._engine()
        while True:
            name, value = await first_of(self._owner, exited=engine.exited(), leaving=self._leaving.wait())
            if name == "leaving":
                if await self._drain(engine):
                    return
                continue
            if self._instance.status == "loaded":
                self._fail(value.error)
            else:
                self._move("engine_lost")
            return

    async def _drain(self, engine: Engine) -> bool:
        """Wait until nothing is in flight; False when the drain was given up."""
        begin_s, quiet = self._support.clock.now_s(), 0
        can_tell = self._harness.capabilities.reports_in_flight
        while can_tell and quiet < QUIET_POLLS:
            activity = await engine.activity()
            quiet = quiet + 1 if activity is not None and activity.in_flight == 0 else 0
            in_flight = activity.in_flight if activity else None
            if quiet < QUIET_POLLS and self._support.clock.now_s() - begin_s >= self._drain_s:
                if self._is_forced:
                    break
                self._stay(in_flight)
                return False
            name, _ = await first_of(self._owner, exited=engine.exited(), waited=asyncio.sleep(QUIET_POLL_S))
            if name == "exited":
                self._move("engine_lost")
                return True
        self._move("drained")
        return True

    def _stay(self, in_flight: int | None) -> None:
        self._leaving.clear()
        self._move("drain_given_up")
        counted = "an unknown number of" if in_flight is None else str(in_flight)
        words = f"{self._instance.model_id} still has {counted} requests running; `force` would cut them"
        self._settle(Busy(words, status="loaded", in_flight=in_flight))

    async def _go_down(self) -> None:
        """Stop the engine, wait until it and its memory are gone, and close the books."""
        engine = self._instance.engine
        if engine is not None and not await engine.stop(STOP_GRACE_S):
            await self._outlast(engine)
        is_back = await self._clean_up()
        if self._instance.status == "unloading":
            self._move("engine_gone")
            self._support.unloaded(self._harness.name, is_back)

    async def _outlast(self, engine: Engine) -> None:
        """Wait for an engine that even SIGKILL did not end; its memory stays taken."""
        pid = engine.handle.pid
        self._instance.error = InstanceError(
            code="engine_stuck", message=f"process {pid} does not end: it hangs in the kernel, perhaps in its driver"
        )
        if self._instance.status == "unloading":
            self._move("engine_stuck")
        log.error("%s: process %d does not end", self._instance.model_id, pid)
        self._settle(Busy(self._instance.error.message, status="failed"))
        await engine.exited()

    async def _clean_up(self) -> bool:
        """Give the memory back once it is seen free; tell whether it was."""
        is_back = await self._memory_is_back()
        self._support.admission.book.release(self._instance.model_id)
        self._support.state.remove_record(self._launch.generation)
        self._instance.engine = None
        self._instance.in_flight = 0
        return is_back

    async def _memory_is_back(self) -> bool:
        """Sample until no device knows the engine's process any more."""
        if self._instance.engine is None:
            return True
        pid = self._instance.engine.handle.pid
        limit_s = self._support.clock.now_s() + MEMORY_WAIT_S
        while True:
            snapshot = await self._support.sampler.refresh()
            if not any(pid in (reading.processes or ()) for reading in snapshot.readings):
                return True
            if self._support.clock.now_s() >= limit_s:
                log.warning("%s: memory of process %d is still taken", self._instance.model_id, pid)
                return False
            await asyncio.sleep(QUIET_POLL_S)

    def _take_on(self, engine: Engine) -> None:
        """Enter a running engine into the books; the record lets the next neuron find it."""
        if self._instance.engine is None and self._launch_is_reserved():
            self._support.admission.book.commit(self._instance.model_id)
        self._instance.engine = engine
        self._support.state.write_record(self.record(engine.handle))
        self._support.changed()

    def record(self, handle: Handle) -> Record:
        """Return what another neuron process needs to go on with this life."""
        launch = self._launch
        return Record(
            model_id=self._instance.model_id,
            harness=self._harness.name,
            generation=launch.generation,
            nonce=launch.nonce,
            devices=tuple(device.index for device in launch.devices),
            need_mb=launch.prepared.need_mb,
            is_estimate=launch.prepared.is_estimate,
            parallel=launch.prepared.parallel,
            request=launch.request,
            handle=handle,
        )

    def _launch_is_reserved(self) -> bool:
        return any(entry.key == self._instance.model_id for entry in self._support.admission.book.reservations)

    def _engine(self) -> Engine:
        assert self._instance.engine is not None
        return self._instance.engine

    def _fail(self, error: InstanceError) -> None:
        self._instance.error = error
        log.warning("%s: %s", self._instance.model_id, error.message, extra={"generation": self._launch.generation})
        self._move("engine_lost")

    def _move(self, event: "LifecycleEvent") -> None:
        before = self._instance.status
        self._instance.move(event)
        log.info(
            "%s: %s -> %s", self._instance.model_id, before, self._instance.status,
            extra={"generation": self._launch.generation},
        )
        self._support.changed()

    def _settle(self, refusal: Busy | None) -> None:
        """Tell those who asked to unload how it ended."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome.done():
            if refusal is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(refusal)
