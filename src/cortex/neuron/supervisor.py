"""Decides what is loaded on this node and leads it there: one task per instance, one load at a time per model.

A load is checked, admitted (``admission.py``), written down, and only then started; its life (``life.py``) does the
rest. No call waits for an engine to be ready; an unload that waits does so for the memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Literal
from weakref import WeakValueDictionary

from cortex.contract.error import ModelNotFound, ShuttingDown, UpstreamUnreachable
from cortex.contract.instance import (
    InstanceReport,
    LoadAnswer,
    LoadRequest,
    PinAnswer,
    PinRequest,
    UnloadAnswer,
    UnloadRequest,
)
from cortex.contract.node import (
    Device,
    HarnessDetail,
    HarnessHealth,
    MaintenanceAnswer,
    MaintenanceRequest,
    RestartAnswer,
    RestartRequest,
)
from cortex.kit.task import TaskOwner
from cortex.kit.work import phase
from cortex.neuron.adoption import Found
from cortex.neuron.clearing import Outcome
from cortex.neuron.cycle import CycleBook
from cortex.neuron.endpoint import Reach
from cortex.neuron.failure import Failures
from cortex.neuron.foreign import ForeignModels
from cortex.neuron.harness.interface import Engine, Harness, Launch, ListedModel, Prepared
from cortex.neuron.harness_restart import HarnessRestart
from cortex.neuron.instance import Instance
from cortex.neuron.life import Life, LifeSupport
from cortex.neuron.load_check import as_measured, check_request, check_same, completed, essence, pick_harness
from cortex.neuron.load_plan import LoadPlanner
from cortex.neuron.maintenance import MaintenanceSwitch
from cortex.neuron.pin import PinBook
from cortex.neuron.process.log_follow import LogReaders
from cortex.neuron.process.log_tail import tail, trim
from cortex.neuron.refusal import Busy, NotLoaded, NotManaged
from cortex.neuron.relief import Relief
from cortex.neuron.shared_model import SharedModels
from cortex.neuron.state_dir import Handle, unwritable
from cortex.neuron.steward import StewardFence
from cortex.neuron.turnover import Limits, Turnover
from cortex.residency.eviction import ASK_AGAIN_S, Admitted, Wish

log = logging.getLogger(__name__)

ENDING_WAIT_S = 5.0
"""How long a load waits for what is left of the model's last life."""
ADOPTION_WAIT_S = 5.0
"""How long adopted engines have to say that they serve before the neuron opens; slower ones are still loading."""


class Supervisor:
    """The instances of this node; the only one to start and end lives."""

    def __init__(
        self,
        harnesses: Sequence[Harness],
        details: Iterable[HarnessDetail],
        devices: tuple[Device, ...],
        instances: dict[str, Instance],
        support: LifeSupport,
        limits: Limits,
    ) -> None:
        self._harnesses = tuple(harnesses)
        self._details = {detail.name: detail for detail in details}
        self._instances = instances
        self._failures = Failures()
        self._cycles = CycleBook([harness.name for harness in harnesses], support.state)
        self._support = support._replace(unloaded=self._cycles.count, changed=self._changed)
        self._tell = support.changed
        self.limits = limits
        self._planner = LoadPlanner(devices, support.admission, support.sampler, support.state)
        self._tasks = TaskOwner()
        self._lives: dict[str, Life] = {}
        self._turnover = Turnover(instances, self._lives, self._support, limits, self._tasks)
        self._relief = Relief(instances, support.admission, support.sampler, support.holders, support.clock)
        self._steward = StewardFence(support.state)
        self._maintenance = MaintenanceSwitch(support.state)
        self._pins = PinBook(support.state, instances)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        by_name = {harness.name: harness for harness in harnesses}
        self._restarts = HarnessRestart(by_name, self._cycles, self._clear, support.changed)
        self._foreign = ForeignModels(harnesses, support.changed)
        self._shared = SharedModels(harnesses, support.changed)
        self._log_readers = LogReaders()
        self._looking: asyncio.Task[None] | None = None
        self._is_stopping = False

    def renew(self, devices: tuple[Device, ...], details: Iterable[HarnessDetail]) -> None:
        """Note what devices there are from now on, and what can be said of the harnesses."""
        self._planner.renew(devices)
        self._support.admission.renew(devices)
        self._details = {detail.name: detail for detail in details}

    def is_used(self, device: int) -> bool:
        """Tell whether something is on a device, or on its way there."""
        book = self._support.admission.book
        shares = [*(r.shares for r in book.residents), *(r.shares for r in book.reservations)]
        return any(share.device == device for each in shares for share in each)

    def reports(self) -> list[InstanceReport]:
        """Return ``GET /models``."""
        now_s, usage = self._support.clock.now_s(), self._support.holders.usage
        own = {key: instance.report(now_s, usage(key)) for key, instance in self._instances.items()}
        foreign = {key: report for key, report in self._foreign.reports().items() if not self._is_up(key)}
        return list((self._shared.completed(own) | foreign).values())

    def health(self) -> tuple[HarnessHealth, ...]:
        """Return every harness entry as it is now."""
        return tuple(
            HarnessHealth(
                name=harness.name,
                kind=harness.kind,
                healthy=self._details[harness.name].usable and not self._is_silent(harness.name),
                cycles=self._cycles.of(harness.name).cycles,
                leaking_cycles=self._cycles.of(harness.name).leaking_cycles,
                restart_due=self._is_restart_due(harness),
            )
            for harness in self._harnesses
        )

    def reach(self, model_id: str) -> Reach:
        """Return where a loaded model is reached. Raises: ModelNotFound, NotLoaded with the state."""
        if not self._is_up(model_id) and self._foreign.find(model_id) is not None:
            return self._foreign.reach(model_id)
        if model_id not in self._instances and self._shared.lists(model_id):
            raise NotLoaded(f"{model_id} is unloaded", status="unloaded")
        return self._known(model_id).reach()

    def route(self, nonce: str) -> str | None:
        """Return the base URL that a relay's nonce stands for; None when that generation is gone, or going."""
        for instance in self._instances.values():
            if instance.launch is not None and instance.engine is not None and instance.launch.nonce == nonce:
                return instance.engine.handle.url if instance.status in ("loading", "loaded") else None
        return self._foreign.route(nonce)

    def credential(self, nonce: str) -> str | None:
        """Return the key that what a relay's nonce stands for asks for; None when it asks for none."""
        for instance in self._instances.values():
            if instance.launch is not None and instance.engine is not None and instance.launch.nonce == nonce:
                return instance.engine.handle.credential
        return self._foreign.credential(nonce)

    def log_tail(self, model_id: str, lines: int) -> tuple[str, ...]:
        """Return the last lines that the engine of the newest life wrote. Raises: ModelNotFound, NotManaged."""
        launch = self._logged(model_id).launch
        return tail(launch.log, lines) if launch is not None else ()

    def log_follow(self, model_id: str, lines: int) -> AsyncIterator[bytes]:
        """Return them and what follows, until that life ends. Raises: ModelNotFound, NotManaged, Busy."""
        instance = self._logged(model_id)
        launch = instance.launch

        def is_over() -> bool:
            return self._is_stopping or instance.launch is not launch or instance.status in ("unloaded", "failed")

        return self._log_readers.follow(launch.log if launch is not None else None, is_over, lines)

    async def load(self, request: LoadRequest) -> LoadAnswer:
        """Start a load, or join one that is under way. Raises: CortexError that says why not."""
        check_request(request)
        self._steward.check(request.steward)
        async with self._lock(request.model_id):
            harness = pick_harness(request.harness, self._harnesses, self._details)
            await self._foreign.ask_again(request.model_id)
            await self._last_life_over(request.model_id)
            joined = self._joined(request, harness)
            if joined is not None:
                return joined
            self._maintenance.check()
            wanted = completed(request, harness, self._instances.get(request.model_id))
            self._failures.check(essence(wanted), self._instances.get(wanted.model_id), self._support.clock.now_s())
            return await self._begin(wanted, harness)

    async def unload(self, request: UnloadRequest) -> UnloadAnswer:
        """Unload a model. Raises: ModelNotFound, NotManaged, Stale, Busy when it stays."""
        self._steward.check(request.steward)
        if request.model_id not in self._lives:
            await self._take_up_seen()
        async with self._lock(request.model_id):
            outcome = self._begin_unload(request)
        if outcome is not None:
            if not request.wait:
                return UnloadAnswer(status="draining")
            refusal = await asyncio.shield(outcome)
            if refusal is not None:
                raise refusal
            self._forget_failure(request.model_id)
        return UnloadAnswer(status="unloaded")

    async def restart(self, harness: str, request: RestartRequest) -> RestartAnswer:
        """Restart the engines of a harness. Raises: UnknownHarness, NotManaged, Stale, Busy, UpstreamError."""
        self._steward.check(request.steward)
        return await self._restarts.restart(harness, request)

    def pin(self, request: PinRequest) -> PinAnswer:
        """Pin a model, or free it. Raises: ModelNotFound, NotManaged, CortexError when that cannot be written down."""
        key = request.model_id
        if key not in self._instances and self._foreign.find(key) is not None:
            raise NotManaged(f"{key} is served by a server that runs by itself: nothing evicts it")
        instance = self._known(key)
        self._pins.put(instance, request.pinned)
        self._changed()
        return PinAnswer(pinned=instance.is_pinned)

    def is_in_maintenance(self) -> bool:
        """Tell whether nothing new is loaded here."""
        return self._maintenance.is_on

    def maintain(self, request: MaintenanceRequest) -> MaintenanceAnswer:
        """Begin maintenance, or end it. Raises: Stale, CortexError when that cannot be written down."""
        self._steward.check(request.steward)
        if self._maintenance.put(request.on):
            self._changed()
        return MaintenanceAnswer(maintenance=self._maintenance.is_on)

    async def adopt(self, found: Iterable[Found]) -> None:
        """Go on with engines that run; returns once it is known of each whether it serves, or after a while."""
        lives = [self._go_on(engine) for engine in found]
        waiting = [self._tasks.start(life.decided.wait(), "adoption") for life in lives]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=ADOPTION_WAIT_S)
            for task in late:
                task.cancel()
        await self._foreign.refresh()
        await self._take_up_seen()

    def sampled(self) -> None:
        """Take in a new sample of the devices, and ask the engines what they are doing."""
        self._support.admission.observe()
        for instance in self._instances.values():
            if instance.engine is not None and instance.launch is not None:
                measured = self._support.admission.measured_mb(instance.model_id)
                instance.vram_used_mb = sum(measured.values()) if measured else None
                trim(instance.launch.log)
        if (self._looking is None or self._looking.done()) and not self._is_stopping:
            self._looking = self._tasks.start(self.look(), "look at the engines")

    async def look(self) -> None:
        """Ask every engine what it is doing, and every server that we do not have to ourselves what it serves."""
        await asyncio.gather(*(life.look() for life in self._lives.values()), self._foreign.refresh())
        await self._take_up_seen()
        for model_id, reason in () if self._is_stopping else self._relief.leavers().items():
            self._turnover.suggest(model_id, reason)

    async def stop(self, *, keep_engines: bool) -> None:
        """End every life: with its engine left running, or drained and stopped."""
        self._is_stopping = True
        if not keep_engines:
            lives = tuple(self._lives.values())
            await asyncio.gather(*(life.leave(drain_s=self.limits.drain_s, force=True) for life in lives))
        await self._tasks.stop()
        await self._restarts.stop()

    def hurry(self) -> None:
        """Make a stop that is under way cut what still runs."""
        for life in self._lives.values():
            life.leave(drain_s=0, force=True)

    def _joined(self, request: LoadRequest, harness: Harness) -> LoadAnswer | None:
        """Return the answer for a model that is loaded or loading; None when it must be loaded first."""
        instance = self._instances.get(request.model_id)
        if instance is not None and instance.status in ("loading", "loaded"):
            assert instance.launch is not None
            assert instance.harness is not None
            check_same(request, instance.harness, instance.launch)
            return _answer(instance.launch, "loaded" if instance.status == "loaded" else "loading")
        return self._foreign.joined(request, harness)

    async def _begin(self, request: LoadRequest, harness: Harness) -> LoadAnswer:
        if self._foreign.is_silent(harness.name):
            raise UpstreamUnreachable(f"the server of harness '{harness.name}' does not answer")
        with phase("prepare"):
            devices, prepared = await self._planner.prepare(request, harness)
        if harness.capabilities.process_model == "shared":
            instance = self._instances.get(request.model_id)
            prepared = as_measured(request, prepared, instance.vram_used_mb if instance else None, devices)
        wish = Wish(key=request.model_id, need_mb=prepared.need_mb, devices=devices, victims=request.evict)
        admitted = await self._turnover.admit(wish, request.basis_event, request.basis_start_id)
        # From here to the life's begin nothing waits, but for victims: no other load comes in between.
        launch: Launch | None = None
        try:
            self._check_wanted(harness)
            launch = self._planner.launch(essence(request), prepared, devices)
            life = Life(self._instances.get(wish.key) or Instance(wish.key), harness, launch, self._support)
            self._support.state.write_record(life.record(Handle()))
            await self._make_room(wish, admitted, life, harness)
        except BaseException as error:
            self._turnover.give_back(wish, launch)
            if isinstance(error, OSError):
                raise unwritable(error) from error
            raise
        log.info("%s: loading on devices %s, %d MiB", wish.key, list(devices), prepared.need_mb)
        self._lead(life, life.instance, harness, launch)
        with suppress(OSError):
            self._support.state.prune_logs(wish.key)
        return _answer(launch, "loading")

    async def _make_room(self, wish: Wish, admitted: Admitted, life: Life, harness: Harness) -> None:
        """Have the victims go; the load waits here until it is decided whether they do. Raises: Busy, ShuttingDown."""
        life.clearing = self._turnover.clear(wish, admitted, lambda: self._is_wanted(harness))
        if life.clearing is not None and not admitted.is_due:
            with phase("drain victims"):
                goes = await life.clearing.drain()
            self._check_wanted(harness)
            if not goes:
                raise self._turnover.stayed(wish, admitted.victims)
        self._turnover.settle(wish)

    def _is_wanted(self, harness: Harness) -> bool:
        return not (self._is_stopping or self._maintenance.is_on or self._restarts.is_under_way(harness.name))

    def _check_wanted(self, harness: Harness) -> None:
        """Raise Busy, Maintenance or ShuttingDown when nothing is to be loaded now."""
        self._restarts.check_not_under_way(harness.name)
        self._maintenance.check()
        if self._is_stopping:
            raise ShuttingDown("the neuron is stopping")

    def _go_on(self, found: Found) -> Life:
        """Begin the life of an engine that runs already; it is there, so nothing is asked."""
        record, harness, engine = found
        prepared = Prepared(
            need_mb=record.need_mb, is_estimate=record.is_estimate, parallel=record.parallel, context=record.context
        )
        launch = self._planner.relaunch(record, prepared)
        devices = tuple(device.index for device in launch.devices)
        self._support.admission.book.adopt(record.model_id, record.need_mb, devices)
        instance = self._instances.get(record.model_id) or Instance(record.model_id)
        life = Life(instance, harness, launch, self._support)
        self._lead(life, instance, harness, launch, engine)
        return life

    async def _take_up_seen(self) -> None:
        """Go on with what shared servers have loaded by themselves: it holds memory, whoever asked for it."""
        await self._shared.refresh()
        for harness, listed in tuple(self._shared.present()):
            lock = self._lock(listed.id)
            if not lock.locked():  # else somebody decides about it right now: the next look comes soon
                async with lock:
                    await self._take_up(harness, listed)

    async def _take_up(self, harness: Harness, listed: ListedModel) -> None:
        if listed.id in self._lives or self._is_stopping or self._restarts.is_under_way(harness.name):
            return
        bare = LoadRequest(model_id=listed.id, harness=harness.name)
        try:
            wanted = completed(bare, harness, self._instances.get(listed.id))
            record = self._planner.seen(wanted, harness, listed)
        except OSError as error:
            log.warning("%s is loaded, and the state directory cannot be written: %s", listed.id, error.strerror)
            return
        engine = await harness.recover(record, self._support.state.log_path(listed.id, record.generation))
        if engine is not None and self._is_stopping:
            engine.let_go()
        elif engine is not None:
            log.info("%s: harness %s has loaded it by itself", listed.id, harness.name)
            self._go_on(Found(record, harness, engine))

    def _lead(
        self, life: Life, instance: Instance, harness: Harness, launch: Launch, engine: Engine | None = None
    ) -> None:
        key = instance.model_id
        self._instances[key], self._lives[key] = instance, life
        instance.begin(harness, launch)
        self._support.changed()
        self._tasks.start(self._live(key, life, engine), f"life of {key}")
        self._tasks.start(self._sample_when_decided(life), f"first sample of {key}")

    async def _live(self, key: str, life: Life, engine: Engine | None) -> None:
        try:
            await life.run(engine)
        finally:
            del self._lives[key]
            self._failures.note(life.instance, self._support.clock.now_s())

    async def _sample_when_decided(self, life: Life) -> None:
        """Let a new engine's memory be seen at once, not only at the next turn of the sampler."""
        await life.decided.wait()
        await self._support.sampler.refresh()
        self.sampled()

    async def _last_life_over(self, model_id: str) -> None:
        """Wait a moment for what is left of the model's last life. Raises: Busy."""
        life, instance = self._lives.get(model_id), self._instances.get(model_id)
        if life is None or instance is None or instance.status in ("loading", "loaded"):
            return
        if instance.status != "draining":
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_WAIT_S):
                    await life.ended.wait()
        if not life.ended.is_set():
            words = f"{model_id} is {instance.status}: ask again when that is over"
            raise Busy(words, status=instance.status, retry_in_s=ASK_AGAIN_S)

    def _is_restart_due(self, harness: Harness) -> bool:
        """Tell whether a restart would bring back what is lost otherwise: memory, or a model."""
        is_stuck = any(life.is_stuck_in_server for life in self._lives.values() if life.instance.harness is harness)
        leaking = self._cycles.of(harness.name).leaking_cycles
        return leaking > 0 or is_stuck or self._shared.is_restart_due(harness.name)

    async def _clear(self, harness: Harness, force: bool) -> None:
        """Unload all that a harness has. Raises: the refusal of the first that stays.

        What a shared server does not unload stays for no reason: it goes with the server. A load is not broken off.
        """
        mine = [life for key, life in self._lives.items() if self._instances[key].harness is harness]
        loading = [life.instance.model_id for life in mine if life.instance.status == "loading"]
        if loading and not force:
            raise Busy(f"{' and '.join(loading)} is being loaded: ask again when that is over", model_id=loading[0])
        leaving = [life.leave(drain_s=self.limits.drain_s, force=force, reason="restart") for life in mine]
        outcomes = await asyncio.gather(*map(asyncio.shield, leaving))
        refusals = [
            refusal
            for life, refusal in zip(mine, outcomes, strict=True)
            if refusal is not None and not life.is_stuck_in_server
        ]
        if refusals:
            raise refusals[0]

    def _begin_unload(self, request: UnloadRequest) -> Outcome | None:
        """Ask a life to end; None when there is none."""
        key = request.model_id
        if not self._is_up(key) and self._foreign.find(key) is not None:
            raise NotManaged(f"{key} is served by a server that runs by itself: it cannot be unloaded from here")
        if key not in self._instances and self._shared.lists(key):
            return None
        self._known(key)
        life = self._lives.get(key)
        if life is not None:
            return life.leave(drain_s=self.limits.drain_s, force=request.force)
        self._forget_failure(key)
        return None

    def _forget_failure(self, model_id: str) -> None:
        self._failures.forget(model_id)
        instance = self._instances.get(model_id)
        if instance is not None and instance.status == "failed" and model_id not in self._lives:
            instance.move("unload_requested")
            instance.error = None
            self._support.changed()

    def _logged(self, model_id: str) -> Instance:
        if model_id not in self._instances and self._foreign.find(model_id) is not None:
            raise NotManaged(f"{model_id} is served by a server that runs by itself: its log is there")
        return self._known(model_id)

    def _known(self, model_id: str) -> Instance:
        instance = self._instances.get(model_id)
        if instance is None:
            raise ModelNotFound(f"no model '{model_id}' on this node", model_id=model_id)
        return instance

    def _is_up(self, model_id: str) -> bool:
        instance = self._instances.get(model_id)
        return instance is not None and instance.status not in ("unloaded", "failed")

    def _is_silent(self, harness: str) -> bool:
        return self._foreign.is_silent(harness) or self._shared.is_silent(harness)

    def _changed(self) -> None:
        """Tell of a change, and remember when what changed."""
        self._tell()
        self._turnover.note()

    def _lock(self, model_id: str) -> asyncio.Lock:
        return self._locks.setdefault(model_id, asyncio.Lock())


def _answer(launch: Launch, status: Literal["loaded", "loading"]) -> LoadAnswer:
    prepared = launch.prepared
    return LoadAnswer(
        status=status,
        generation=launch.generation,
        estimated_mb=prepared.need_mb if prepared.is_estimate else None,
    )
