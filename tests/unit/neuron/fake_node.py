"""A node whose engines do what a test says; admission, sampler, state directory and books are the real ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cortex.contract.error import CallerError
from cortex.contract.instance import InstanceError, LoadRequest
from cortex.contract.node import Device, DeviceKind, HarnessDetail
from cortex.neuron.admission import Admission
from cortex.neuron.discovery.host import HostReader
from cortex.neuron.discovery.interface import FoundDevice, ProcessUse, Reading, Scan
from cortex.neuron.event import EventCounter
from cortex.neuron.harness.interface import Activity, Capabilities, EngineExit, Launch, ListedModel, Prepared
from cortex.neuron.holder import Holders
from cortex.neuron.instance import Instance, pids_of
from cortex.neuron.lease import Leases, engine_counts, serving_now
from cortex.neuron.life import LifeSupport
from cortex.neuron.sampler import Sampler
from cortex.neuron.state_dir import Handle, Record, StateDir
from cortex.neuron.supervisor import Supervisor
from cortex.neuron.turnover import Limits
from cortex.residency.lease_book import LeaseBook
from cortex.residency.leased_generation import Usage
from cortex.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from cortex.neuron.inventory import Inventory

MODEL = "lab/model"
LEASE_TTL_S = 40.0
CRASH = EngineExit(error=InstanceError(code="engine_failed", message="engine ended with code 1", log_tail=("bang",)))
LIMITS = Limits(drain_s=5, grace_s=2, max_wait_s=60)
PORT_TAKEN = EngineExit(error=InstanceError(code="engine_failed", message="port taken"), is_port_taken=True)


def a_request(model_id: str = MODEL, **more: object) -> LoadRequest:
    return LoadRequest(**{"model_id": model_id, "harness": "fake", "vram_mb": 100, **more})


class FakeEngine:
    """Serves and ends when told to; ``is_stubborn``: not even SIGKILL ends it."""

    def __init__(self, pid: int = 1 << 23) -> None:
        self.handle = Handle(pid=pid, start_ticks=1, port=9000, url=f"http://127.0.0.1:9000/i/{pid}", engine_model="m")
        self.serves = asyncio.Event()
        self.end: asyncio.Future[EngineExit] = asyncio.get_running_loop().create_future()
        self.activity_now: Activity | None = Activity(in_flight=0, work=0)
        self.is_stubborn = False
        self.is_let_go = False
        self.stops = 0

    async def ready(self) -> None:
        await self.serves.wait()

    async def exited(self) -> EngineExit:
        return await asyncio.shield(self.end)

    async def activity(self) -> Activity | None:
        return self.activity_now

    async def stop(self, grace_s: float) -> bool:
        self.stops += 1
        if not self.is_stubborn:
            self.crash()
        return self.end.done()

    def let_go(self) -> None:
        self.is_let_go = True

    def crash(self, how: EngineExit = CRASH) -> None:
        if not self.end.done():
            self.end.set_result(how)


class FakeHarness:
    """``starts`` holds what the next starts bring; an engine that serves at once when it is empty."""

    def __init__(
        self,
        name: str = "fake",
        *,
        kind: str = "fake",
        model: str = "per_model",
        device_kinds: Iterable[DeviceKind] = ("cuda", "cpu"),
        reports_in_flight: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.capabilities = Capabilities(
            process_model=model,  # type: ignore[arg-type]
            is_fenced=True,
            reports_in_flight=reports_in_flight,
        )
        self.device_kinds = frozenset(device_kinds)
        self.detail = HarnessDetail(name=name, kind=kind, usable=True)
        self.starts: list[FakeEngine | EngineExit] = []
        self.start_gate = asyncio.Event()
        self.start_gate.set()
        self.prepare_gate = asyncio.Event()
        self.prepare_gate.set()
        self.is_preparing = asyncio.Event()
        self.launches: list[Launch] = []
        self.engines: list[FakeEngine] = []
        self.refusal: Exception | None = None
        self.models: tuple[ListedModel, ...] | None = ()

    async def probe(self) -> HarnessDetail:
        return self.detail

    async def prepare(self, request: LoadRequest, devices: tuple[Device, ...]) -> Prepared:
        self.is_preparing.set()
        await self.prepare_gate.wait()
        if isinstance(self.refusal, CallerError):
            raise self.refusal
        need_mb = 50 + 10 * len(devices) if request.vram_mb is None else request.vram_mb
        return Prepared(need_mb=need_mb, is_estimate=request.vram_mb is None, parallel=request.parallel or 4)

    async def start(self, launch: Launch) -> FakeEngine | EngineExit:
        self.launches.append(launch)
        await self.start_gate.wait()
        if self.refusal is not None:
            raise self.refusal
        if self.starts:
            started = self.starts.pop(0)
        else:
            started = FakeEngine((1 << 23) + len(self.launches))
            started.serves.set()
        if isinstance(started, FakeEngine):
            self.engines.append(started)
        return started

    async def recover(self, record: Record, log: Path) -> FakeEngine | None:
        return next((engine for engine in self.engines if engine.handle == record.handle), None)

    async def listed(self) -> tuple[ListedModel, ...] | None:
        return self.models


class FakeProbe:
    """Devices of one kind; ``uses`` says what processes hold, by device and pid. Nothing else is in use."""

    def __init__(self, totals_mb: Iterable[int] = (1000,), kind: DeviceKind = "cuda") -> None:
        self.devices = tuple(FoundDevice(name=f"{kind} device", kind=kind, vram_total_mb=mb) for mb in totals_mb)
        self.uses: dict[int, dict[int, int]] = {}

    def scan(self) -> Scan:
        return Scan(devices=self.devices)

    def read(self, pids: frozenset[int]) -> tuple[Reading, ...]:
        return tuple(self._reading(index, pids) for index in range(len(self.devices)))

    def _reading(self, index: int, pids: frozenset[int]) -> Reading:
        held = self.uses.get(index, {})
        return Reading(
            vram_used_mb=sum(held.values()),
            vram_free_mb=self.devices[index].vram_total_mb - sum(held.values()),
            processes={pid: ProcessUse(mb, mb) for pid, mb in held.items() if pid in pids},
        )


class FakeHolders:
    """The gateways of a node, and more that have in flight what a test says and are as deaf as it says."""

    def __init__(self, known: Holders) -> None:
        self.counts: dict[str, int] = {}
        self.deaf: set[str] = set()
        self._known = known

    def in_flight(self, model_id: str, generation: int, now_s: float) -> int:
        return self._known.in_flight(model_id, generation, now_s) + self.counts.get(model_id, 0)

    def has_all_acknowledged(self, model_id: str, generation: int, now_s: float) -> bool:
        return model_id not in self.deaf and self._known.has_all_acknowledged(model_id, generation, now_s)

    def usage(self, model_id: str) -> Usage:
        return self._known.usage(model_id)


class FakeNode:
    """The parts around a supervisor, and one supervisor on them."""

    def __init__(self, tmp_path: Path, probe: FakeProbe, harnesses: tuple[FakeHarness, ...]) -> None:
        self.probe = probe
        self.harnesses = harnesses
        self.harness = harnesses[0]
        self.clock = VirtualClock()
        self.events = EventCounter("start-1")
        self.instances: dict[str, Instance] = {}
        self.leases = Leases(
            LeaseBook(ttl_s=LEASE_TTL_S, cancel_settle_s=10, known_from_s=0),
            self.events,
            self.clock,
            lambda: serving_now(self.instances, lambda _: frozenset()),
            lambda: engine_counts(self.instances),
        )
        self.holders = FakeHolders(self.leases)
        self.state = StateDir(tmp_path / "state")
        self.sampler = Sampler(
            (probe,),
            HostReader(tmp_path, str(tmp_path / "nvcc")),
            self.clock,
            lambda: frozenset(pids_of(self.instances).values()),
        )
        self.inventory: Inventory
        self.admission: Admission
        self.support: LifeSupport
        self.supervisor: Supervisor

    async def open(self, *, load_timeout_s: float = 60, limits: Limits = LIMITS, headroom_mb: int = 0) -> None:
        self.inventory = await self.sampler.discover()
        await self.sampler.refresh()
        self.admission = Admission(
            self.inventory.devices, headroom_mb, lambda: self.sampler.latest, lambda: pids_of(self.instances)
        )
        self.support = LifeSupport(
            admission=self.admission,
            sampler=self.sampler,
            state=self.state,
            clock=self.clock,
            changed=self.events.bump,
            event=lambda: self.events.event,
            load_timeout_s=load_timeout_s,
            start_id=self.events.start_id,
            sleep=self.clock.sleep,
            holders=self.holders,
        )
        self.supervisor = Supervisor(
            self.harnesses,
            [harness.detail for harness in self.harnesses],
            self.inventory.devices,
            self.instances,
            self.support,
            limits,
        )

    async def load(self, model_id: str = MODEL, **more: object) -> None:
        """Load a model and wait until it is decided whether it serves."""
        loading = asyncio.create_task(self.supervisor.load(a_request(model_id, **more)))
        await self.let_pass(loading.done)
        loading.result()
        await self.until(model_id, "loaded", "failed")

    async def until(self, model_id: str, *statuses: str) -> None:
        """Let time pass until a model is in one of these states."""
        await self.let_pass(lambda: self.status(model_id) in statuses)

    async def let_pass(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until something is so; it stands still while the sampler, a real thread, is at work."""
        while not is_so():
            if self.clock.sleepers() and not self.sampler.is_at_work():
                self.clock.advance(0.1)
            await asyncio.sleep(0)

    def status(self, model_id: str = MODEL) -> str:
        return next((report.status for report in self.supervisor.reports() if report.id == model_id), "")

    def booked(self) -> tuple[list[str], list[str]]:
        """Return who has memory reserved and who holds it."""
        book = self.admission.book
        return [entry.key for entry in book.reservations], [entry.key for entry in book.residents]


@contextlib.asynccontextmanager
async def a_node(
    tmp_path: Path,
    *harnesses: FakeHarness,
    probe: FakeProbe | None = None,
    load_timeout_s: float = 60,
    limits: Limits = LIMITS,
    headroom_mb: int = 0,
) -> AsyncIterator[FakeNode]:
    """Yield a node that has started; its lives are ended and its directory unlocked afterwards."""
    node = FakeNode(tmp_path, probe or FakeProbe(), harnesses or (FakeHarness(),))
    await node.open(load_timeout_s=load_timeout_s, limits=limits, headroom_mb=headroom_mb)
    try:
        yield node
    finally:
        await node.supervisor.stop(keep_engines=True)
        node.sampler.close()
        node.state.close()
